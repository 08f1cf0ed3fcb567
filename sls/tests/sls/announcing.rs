//! A host that announces itself to several services, some of which fail.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use tycoon_market::TimeSpan;
use tycoon_rpc::{Caller, Clock as _, Transport, TransportError};
use tycoon_sls::announce::{AnnouncePolicy, Announcing, Round};
use tycoon_sls::client::NamedCaller;
use tycoon_sls::{HostQuery, Policy, SlsClient};

use super::scene::{Site, at, id, key, record, service_key, sign};
use tycoon_rpc::Signer as _;

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, TransportError> {
        Err(TransportError::Unreachable { service: "b".into(), reason: "the cable is out".into() })
    }
}

#[test]
fn a_host_registers_with_all_goes_on_when_one_is_down_and_withdraws_at_the_end() {
    let site = Site::new(Policy::default(), None);
    let dead = Caller::new(Arc::new(key(2)), service_key().public_key(), Arc::new(Nowhere));
    let client = SlsClient::new(vec![site.named("a", 2), NamedCaller { name: "b".into(), caller: dead }]);
    let hourly = AnnouncePolicy {
        retry: TimeSpan::from_seconds(3600),
        interval: TimeSpan::from_seconds(3600),
        pause_min: TimeSpan::ZERO,
    };
    let (told, rounds) = mpsc::channel();
    let clock = site.clock.clone();
    let mut failing = false;
    let next = move || {
        failing = !failing;
        let seconds = clock.now().since(at(0)).seconds_f64() as i64;
        if failing { Ok(sign(&record(2, seconds), 2)) } else { Err("the hypervisor is silent".to_owned()) }
    };
    let announcing = Announcing::start(client, hourly, id(2), next, move |round| {
        told.send(match round {
            Round::Made(reports) => reports.iter().map(|report| (report.sls.clone(), report.outcome.is_ok())).collect(),
            Round::NoRecord(reason) => vec![(reason.clone(), false)],
        })
        .unwrap();
    })
    .unwrap();
    let wait = || rounds.recv_timeout(Duration::from_secs(60)).expect("a round");
    assert_eq!(wait(), [("a".to_owned(), true), ("b".to_owned(), false)]);
    announcing.now();
    assert_eq!(wait(), [("the hypervisor is silent".to_owned(), false)]);
    site.clock.set(at(60));
    announcing.now();
    assert_eq!(wait().len(), 2);
    let ask = SlsClient::new(vec![site.named("a", 9)]);
    assert_eq!(ask.hosts(&HostQuery::default()).unwrap().hosts[0].record().sequence, 60);
    announcing.stop();
    assert!(ask.hosts(&HostQuery::default()).unwrap().hosts.is_empty(), "it has left");
}
