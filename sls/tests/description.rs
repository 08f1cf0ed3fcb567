//! `/openapi.json` against the service: every call that is described is answered, and no other.

use std::sync::Arc;

use http::Request;
use serde_json::Value;
use tycoon_market::Timestamp;
use tycoon_rpc::{FixedClock, ReplayPolicy, SecretKey, Service as _};
use tycoon_sls::service::openapi;
use tycoon_sls::{HostQuery, Policy, SlsService};

fn service() -> SlsService {
    let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_000_000_000)));
    let key = Arc::new(SecretKey::from_seed(&[1; 32]));
    SlsService::open(key, clock, ReplayPolicy::IN_PROCESS, Policy::default(), None).unwrap()
}

fn code(service: &SlsService, method: &str, path: &str) -> String {
    let request = Request::builder().method(method).uri(path).body(b"{}".to_vec()).unwrap();
    let answer: Value = serde_json::from_slice(service.handle(request).body()).unwrap_or_default();
    answer["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_described_call_is_answered_and_no_other() {
    let (service, description) = (service(), openapi());
    let mut calls = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.replace("{id}", "0123456789abcdef0123456789abcdef");
        for (method, call) in methods.as_object().unwrap() {
            let code = code(&service, &method.to_uppercase(), &path);
            assert_ne!(code, "call.not-found", "{method} {path}");
            let is_open = call["security"][0].as_object().is_some_and(serde_json::Map::is_empty);
            assert_eq!(code == "call.unsigned", !is_open, "{method} {path}: {code}");
            calls += 1;
        }
        assert_eq!(code(&service, "PATCH", &path), "call.not-found", "{path}");
    }
    assert_eq!(calls, 8);
    assert_eq!(code(&service, "GET", "/v1/nothing"), "call.not-found");
}

#[test]
fn every_name_that_a_query_has_is_described() {
    let description = openapi();
    let described: Vec<&str> = description["paths"]["/v1/hosts"]["get"]["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    let all = HostQuery {
        filter: Some("verified".parse().unwrap()),
        name: Some("a".into()),
        labels: vec![("a".into(), "b".into())],
        architecture: Some("a".into()),
        image: Some("a".into()),
        owner: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
        is_simulated: Some(true),
        with_remembered: true,
        sort: "-name".parse().unwrap(),
        after: Some("0123456789abcdef0123456789abcdef".parse().unwrap()),
        size: Some(1),
    };
    for (name, _) in all.pairs() {
        assert!(described.contains(&name), "{name}");
    }
}

#[test]
fn every_schema_that_is_named_is_described_and_every_other_is_named() {
    let description = openapi();
    let text = description.to_string();
    for name in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nothing names {name}");
    }
    for part in text.split("\"#").skip(1) {
        let place = part.split('"').next().unwrap();
        assert!(description.pointer(place).is_some(), "{place}");
    }
}
