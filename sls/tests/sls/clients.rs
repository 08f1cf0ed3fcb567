//! One client, several services: the newest record wins, and nobody is believed who need not be.

use std::sync::Arc;

use http::{Request, Response};
use tycoon_market::HostId;
use tycoon_rpc::{FixedClock, Limits, Receiver, ReplayPolicy, Service, receiver};
use tycoon_sls::client::{NamedCaller, SlsError};
use tycoon_sls::service::{Listed, Listing};
use tycoon_sls::uptime::UptimeFractions;
use tycoon_sls::{HostQuery, Policy, RecordError, SignedRecord, SlsClient};

use super::scene::{Site, at, caller, changed, id, record, service_key, sign};

#[test]
fn a_host_registers_with_all_and_is_found_with_one_left() {
    let (one, two) = (Site::new(Policy::default(), None), Site::new(Policy::default(), None));
    let client = SlsClient::new(vec![one.named("one", 2), two.named("two", 2)]);
    let registered = client.register(&sign(&record(2, 0), 2));
    assert!(registered.iter().all(Result::is_ok), "{registered:?}");
    // The second service loses its state and comes up empty; a third does not answer at all.
    let empty = Site::new(Policy::default(), None);
    let silent = NamedCaller { name: "silent".into(), caller: caller(2, Arc::new(Silent), &one.clock) };
    let client = SlsClient::new(vec![silent, one.named("one", 2), empty.named("two", 2)]);
    let hosts = client.hosts(&HostQuery::default()).unwrap();
    assert_eq!(hosts.hosts.len(), 1);
    assert_eq!(hosts.problems.len(), 1);
    assert_eq!(hosts.problems[0].sls, "silent");
    assert_eq!(client.host(&id(2)).unwrap().unwrap().record().host, id(2));
    assert_eq!(client.host(&id(3)).unwrap(), None);
    assert!(client.facts()[1].is_ok());
    assert!(client.withdraw(&id(2))[1].as_ref().unwrap().was_live);
}

#[test]
fn the_newest_record_wins_whichever_service_has_it() {
    let (one, two) = (Site::new(Policy::default(), None), Site::new(Policy::default(), None));
    let register = |site: &Site, seconds| {
        site.clock.set(at(seconds));
        SlsClient::new(vec![site.named("sls", 2)]).register(&sign(&record(2, seconds), 2)).remove(0).unwrap();
    };
    register(&one, 0);
    register(&two, 30);
    for services in [[&one, &two], [&two, &one]] {
        let client = SlsClient::new(services.map(|site| site.named("sls", 9)).into());
        let host = client.hosts(&HostQuery::default()).unwrap().hosts.remove(0);
        assert_eq!((host.record().sequence, host.first_seen, host.last_seen), (30, at(0), at(30)));
    }
}

#[test]
fn many_pages_are_read_to_the_end() {
    let site = Site::new(Policy { page_bytes_max: 3000, ..Policy::default() }, None);
    for number in 1..=30 {
        SlsClient::new(vec![site.named("sls", number)]).register(&sign(&record(number, 0), number)).remove(0).unwrap();
    }
    let client = SlsClient::new(vec![site.named("sls", 99)]);
    assert_eq!(client.hosts(&HostQuery::default()).unwrap().hosts.len(), 30);
    let rack = HostQuery { labels: vec![("rack".into(), "1".into())], ..HostQuery::default() };
    assert_eq!(client.hosts(&rack).unwrap().hosts.len(), 10);
}

#[test]
fn no_service_and_no_answer_are_errors() {
    let none = SlsClient::new(vec![]).hosts(&HostQuery::default()).unwrap_err();
    assert!(matches!(none.source, SlsError::NoService), "{none:?}");
    let clock = Arc::new(FixedClock::new(at(0)));
    let silent = NamedCaller { name: "silent".into(), caller: caller(9, Arc::new(Silent), &clock) };
    let error = SlsClient::new(vec![silent]).hosts(&HostQuery::default()).unwrap_err();
    assert!(matches!(error.source, SlsError::Call(_)), "{error:?}");
}

#[test]
fn a_service_that_lists_forgeries_is_reported_and_the_rest_is_used() {
    let forged = changed(&sign(&record(2, 0), 2), "host2", "bank");
    let liar = Liar::new(vec![forged, sign(&record(4, 0), 4)], None);
    let hosts = liar.client().hosts(&HostQuery::default()).unwrap();
    assert_eq!(hosts.hosts.len(), 1);
    assert_eq!(hosts.hosts[0].record().host, id(4));
    assert!(matches!(hosts.problems[0].source, SlsError::Record(RecordError::BadSignature { .. })));
}

#[test]
fn a_service_that_does_not_filter_does_not_get_through() {
    let liar = Liar::new(vec![sign(&record(2, 0), 2), sign(&record(4, 0), 4)], None);
    let query = HostQuery { name: Some("host4".into()), ..HostQuery::default() };
    assert_eq!(liar.client().hosts(&query).unwrap().hosts.len(), 1);
}

#[test]
fn a_listing_without_end_is_given_up() {
    let error = Liar::new(vec![], Some(id(2))).client().hosts(&HostQuery::default()).unwrap_err();
    assert!(matches!(error.source, SlsError::Endless), "{error:?}");
}

/// A service that does not sign.
struct Silent;

impl Service for Silent {
    fn handle(&self, _: Request<Vec<u8>>) -> Response<Vec<u8>> {
        Response::builder().status(503).body(Vec::new()).unwrap()
    }
}

/// A service that answers every call with the same listing.
struct Liar {
    clock: Arc<FixedClock>,
    receiver: Receiver,
    listing: Listing,
}

impl Liar {
    fn new(records: Vec<SignedRecord>, next_page: Option<HostId>) -> Arc<Self> {
        let clock = Arc::new(FixedClock::new(at(0)));
        let receiver = Receiver::new(Arc::new(service_key()), clock.clone(), ReplayPolicy::IN_PROCESS, Limits::DEFAULT);
        let uptime = UptimeFractions { hour: 1.0, day: 1.0, week: 1.0 };
        let listed = |signed| Listed {
            signed,
            first_seen: at(0),
            last_seen: at(0),
            is_live: true,
            reach: Default::default(),
            uptime,
        };
        let hosts: Vec<Listed> = records.into_iter().map(listed).collect();
        Arc::new(Self {
            clock,
            receiver,
            listing: Listing { total: hosts.len(), hosts, next_page: next_page.map(|host| host.to_string()) },
        })
    }

    fn client(self: &Arc<Self>) -> SlsClient {
        let caller = caller(9, self.clone(), &self.clock);
        SlsClient::new(vec![NamedCaller { name: "liar".into(), caller }])
    }
}

impl Service for Liar {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.receiver.serve(request, |_| true, |_| receiver::json(&self.listing))
    }
}
