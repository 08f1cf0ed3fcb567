//! `/openapi.json` against the host: every call that is described is answered and takes the example that is given, and
//! there is no other.

use http::Request;
use serde_json::Value;
use tycoon_rpc::{Caller, InProcess, Service as _};
use tycoon_xen::daemon::openapi;

use crate::daemon::scene::{ALICE, HOST, OWNER, Party, Scene};

const ID: &str = "0123456789abcdef0123456789abcdef";

fn schema<'a>(description: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            description.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} is not described"))
        }
        None => schema,
    }
}

fn ask(scene: &Scene, party: Party, method: &str, path: &str, body: Option<&Value>) -> (u16, String) {
    use std::sync::Arc;
    let caller = Caller::new(Arc::new(party.secret()), HOST.key(), Arc::new(InProcess(scene.daemon().clone())))
        .with_clock(scene.clock.clone());
    let request = caller.signed(method.to_uppercase().parse().unwrap(), path, &[], body).unwrap();
    let response = scene.daemon().handle(request);
    // A stream begins with nothing.
    let answer: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    (response.status().as_u16(), answer["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn every_described_call_is_answered_and_no_other() {
    let scene = Scene::new();
    let description = openapi();
    let paths = description["paths"].as_object().unwrap();
    let mut calls = 0;
    for (path, methods) in paths {
        for (method, call) in methods.as_object().unwrap() {
            calls += 1;
            let path = path.replace("{pool}", "hello");
            let body = call.get("requestBody").map(|body| {
                let described = schema(&description, &body["content"]["application/json"]["schema"]);
                described["examples"][0].clone()
            });
            let is_of_owner = path.starts_with("/v1/owner");
            let party = if is_of_owner { OWNER } else { ALICE };
            let (_, code) = ask(&scene, party, method, &path, body.as_ref());
            assert_ne!(code, "call.not-found", "{method} {path}");
            // These need more than an example can have: a signed receipt, or a query.
            let needs_more = path.ends_with("/funds")
                || path == "/v1/offers"
                || (method == "delete" && path == "/v1/accounts/hello");
            assert_eq!(code == "call.malformed", needs_more, "{method} {path} with {body:?}: {code}");
            if is_of_owner {
                let (status, code) = ask(&scene, ALICE, method, &path, body.as_ref());
                assert_eq!((status, code.as_str()), (403, "host.not-owner"), "{method} {path}");
            }
            let unsigned = Request::builder().method(method.to_uppercase().as_str()).uri(path.as_str());
            let unsigned = scene.daemon().handle(unsigned.body(b"{}".to_vec()).unwrap());
            let is_open = call["security"][0].as_object().is_some_and(serde_json::Map::is_empty);
            assert_eq!(unsigned.status() == 401, !is_open, "{method} {path}");
        }
    }
    assert_eq!(calls, 22);
    assert_eq!(ask(&scene, ALICE, "get", "/v1/nothing", None).1, "call.not-found");
    assert_eq!(ask(&scene, ALICE, "put", "/v1/host", None).1, "call.not-found");
    assert_eq!(ask(&scene, ALICE, "get", &format!("/v1/accounts/{ID}/bid"), None).1, "call.not-found");
}

#[test]
fn every_schema_that_is_named_is_described() {
    let description = openapi();
    let text = description.to_string();
    for (place, _) in text.match_indices("\"#/components/schemas/") {
        let name = text[place + 22..].split('"').next().unwrap();
        assert!(description["components"]["schemas"][name].is_object(), "{name}");
    }
    for name in description["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{name}\"")), "nothing names {name}");
    }
}
