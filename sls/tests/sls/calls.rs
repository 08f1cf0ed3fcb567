//! The service, call by call.

use http::{Method, Request};
use serde_json::Value;
use tycoon_market::TimeSpan;
use tycoon_rpc::{CallError, Caller, Service as _, Signer as _};
use tycoon_sls::service::{Listed, Listing, Registered, Selection, SlsFacts, Withdrawn};
use tycoon_sls::{HostQuery, HostRecord, Policy, SignedRecord, Standing};

use super::scene::{Site, at, changed, id, record, service_key, sign};

fn register(site: &Site, number: u8, seconds: i64) -> Result<Registered, CallError> {
    site.caller(number).post("/v1/hosts", &sign(&record(number, seconds), number))
}

fn list(caller: &Caller, query: &[(&str, &str)]) -> Vec<String> {
    let listing: Listing = caller.get("/v1/hosts", query).unwrap();
    listing.hosts.into_iter().map(|listed| listed.signed.verify().unwrap().record().name.to_string()).collect()
}

fn code(result: Result<Value, CallError>) -> (u16, String) {
    let error = result.unwrap_err();
    let problem = error.problem().unwrap();
    (problem.status, problem.code.clone())
}

#[test]
fn a_registered_host_is_listed_until_it_leaves() {
    let site = Site::new(Policy::default(), None);
    let registered = register(&site, 2, 0).unwrap();
    assert_eq!(
        registered,
        Registered { expires_at: at(120), expiry: TimeSpan::from_seconds(120), standing: Standing::Unverified }
    );
    assert_eq!(list(&site.caller(9), &[]), ["host2"]);
    let path = format!("/v1/hosts/{}", id(2));
    let leave = || site.caller(2).call::<(), Withdrawn>(Method::DELETE, &path, &[], None).unwrap();
    assert!(leave().was_live);
    assert!(!leave().was_live, "leaving again changes nothing");
    assert_eq!(list(&site.caller(9), &[]), Vec::<String>::new());
    let listed: Listed = site.caller(9).get(&path, &[]).unwrap();
    assert!(!listed.is_live, "it is remembered");
}

#[test]
fn hosts_are_found_by_what_they_are() {
    let site = Site::new(Policy::default(), None);
    for number in 1..=6 {
        register(&site, number, 0).unwrap();
    }
    let caller = site.caller(9);
    for (query, expected) in [
        (vec![("name", "host4")], vec!["host4"]),
        (vec![("labels", "rack=1"), ("sort", "name")], vec!["host1", "host4"]),
        (vec![("labels", "rack=1,rack=2")], vec![]),
        (vec![("simulated", "true"), ("sort", "name")], vec!["host1", "host3", "host5"]),
        (vec![("sort", "cpu.price"), ("size", "2")], vec!["host1", "host2"]),
        (vec![("sort", "-cpu.available"), ("size", "2")], vec!["host6", "host5"]),
        (vec![("image", "debian-12")], vec![]),
        (vec![("architecture", "aarch64")], vec![]),
    ] {
        assert_eq!(list(&caller, &query), expected, "{query:?}");
    }
}

#[test]
fn a_query_reads_back_from_its_text() {
    let query = HostQuery {
        filter: Some("cpu.price < 2 or not simulated".parse().unwrap()),
        name: Some("a".into()),
        labels: vec![("rack".into(), "3".into()), ("gpu".into(), "yes & more".into())],
        architecture: Some("x86_64".into()),
        image: Some("std:tiny".into()),
        owner: Some(record(1, 0).owner),
        is_simulated: Some(false),
        with_remembered: true,
        sort: "-cpu.price".parse().unwrap(),
        after: Some(id(1).into()),
        size: Some(7),
    };
    let pairs = query.pairs();
    let text = tycoon_rpc::query::encode(pairs.iter().map(|(name, value)| (*name, value.as_str())));
    assert_eq!(HostQuery::read(&tycoon_rpc::Query::parse(&text).unwrap()).unwrap(), query);
    assert_eq!(HostQuery::default().pairs(), []);
}

#[test]
fn fields_can_be_selected_for_small_scripts() {
    let site = Site::new(Policy::default(), None);
    register(&site, 2, 0).unwrap();
    let selection: Selection = site.caller(9).get("/v1/hosts", &[("fields", "name,architecture,nothing")]).unwrap();
    let fields: Vec<_> = selection.selected[0].iter().map(|(field, value)| (field.as_str(), value.clone())).collect();
    assert_eq!(fields, [("architecture", "x86_64".into()), ("name", "host2".into())]);
}

#[test]
fn anybody_may_look_without_a_key() {
    let site = Site::new(Policy::default(), None);
    register(&site, 2, 0).unwrap();
    for path in ["/v1/hosts", "/v1/sls", &format!("/v1/hosts/{}", id(2))] {
        let response = site.service.handle(Request::get(path).body(Vec::new()).unwrap());
        assert_eq!(response.status(), 200, "{path}");
    }
    let facts: SlsFacts = site.caller(9).get("/v1/sls", &[]).unwrap();
    assert_eq!((facts.live_hosts, facts.known_hosts, facts.key), (1, 1, service_key().public_key()));
}

#[test]
fn what_is_wrong_is_refused_with_its_code() {
    let site = Site::new(Policy::default(), None);
    register(&site, 2, 0).unwrap();
    let post = |number: u8, body: &SignedRecord| code(site.caller(number).post("/v1/hosts", body));
    let get = |path: &str, query: &[(&str, &str)]| code(site.caller(9).get(path, query));
    let signed = |number: u8, change: fn(&mut HostRecord)| {
        let mut said = record(number, 10);
        change(&mut said);
        sign(&said, number)
    };
    let forged = changed(&signed(2, |_| {}), "host2", "bank");
    let too_long = changed(&signed(2, |_| {}), "std:tiny", &"x".repeat(70_000));

    let cases = [
        ("another's record", post(3, &signed(2, |_| {})), 403, "sls.not-yours"),
        ("a changed record", post(2, &forged), 403, "sls.record-signature"),
        ("a record that is too long", post(2, &too_long), 413, "sls.record-too-large"),
        ("no record at all", code(site.caller(2).post("/v1/hosts", &7)), 400, "call.malformed"),
        ("an old sequence", post(2, &signed(2, |r| r.sequence = 0)), 409, "sls.stale"),
        ("a name that is held", post(3, &signed(3, |r| r.name = "host2".parse().unwrap())), 409, "sls.name-taken"),
        ("a fast clock", post(2, &signed(2, |r| r.issued_at = at(31))), 400, "sls.clock"),
        ("a host that is not known", get(&format!("/v1/hosts/{}", id(9)), &[]), 404, "sls.no-host"),
        ("no id", get("/v1/hosts/me", &[]), 400, "sls.host-id"),
        ("no such call", get("/v1/nothing", &[]), 404, "call.not-found"),
        ("no order", get("/v1/hosts", &[("sort", "beauty")]), 400, "sls.query"),
        ("no size", get("/v1/hosts", &[("size", "0")]), 400, "sls.query"),
        ("no label", get("/v1/hosts", &[("labels", "rack")]), 400, "sls.query"),
        ("no page", get("/v1/hosts", &[("sort", "name"), ("page", "7")]), 400, "sls.query"),
        ("no filter", get("/v1/hosts", &[("filter", "cpu.prise < 3")]), 400, "sls.query"),
        ("no field", get("/v1/hosts", &[("fields", "cpu.prise")]), 400, "sls.query"),
    ];
    for (what, found, status, code) in cases {
        assert_eq!(found, (status, code.to_owned()), "{what}");
    }
    let path = format!("/v1/hosts/{}", id(2));
    let refusal = code(site.caller(3).call::<(), Value>(Method::DELETE, &path, &[], None));
    assert_eq!(refusal, (403, "sls.not-yours".to_owned()), "only the host itself leaves");
    let body = serde_json::to_vec(&sign(&record(2, 20), 2)).unwrap();
    let unsigned = site.service.handle(Request::post("/v1/hosts").body(body).unwrap());
    assert_eq!(unsigned.status(), 200, "a record that is newer than all before speaks for itself");
}

#[test]
fn a_stolen_record_registers_nobody() {
    let site = Site::new(Policy::default(), None);
    register(&site, 2, 0).unwrap();
    site.clock.set(at(119));
    let listed: Listed = site.caller(9).get(&format!("/v1/hosts/{}", id(2)), &[]).unwrap();
    let thief = code(site.caller(3).post("/v1/hosts", &listed.signed));
    assert_eq!(thief, (403, "sls.not-yours".to_owned()));
    let unsigned = code(site.caller(3).post_unsigned("/v1/hosts", &listed.signed));
    assert_eq!(unsigned, (409, "sls.stale".to_owned()));
    site.clock.set(at(120));
    assert_eq!(list(&site.caller(9), &[]), Vec::<String>::new(), "nobody keeps a dead host alive");
    assert_eq!(site.now(), at(120));
}
