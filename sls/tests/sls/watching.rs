//! Who watches is told what changes; who comes back is told what she missed.

use std::net::SocketAddr;

use http::Request;
use tycoon_rpc::http_transport::EventReader;
use tycoon_rpc::{HttpSettings, HttpTransport, Published, Server, ServerSettings};
use tycoon_sls::service::HostEvent;
use tycoon_sls::{Policy, SignedRecord};

use super::scene::{Site, at, record, sign};

fn watch(server: &Server, target: &str, last: Option<u64>) -> EventReader {
    let transport = HttpTransport::new(&format!("http://{}", server.address()), &HttpSettings::default()).unwrap();
    let mut request = Request::get(target);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    transport.events(request.body(Vec::new()).unwrap()).unwrap()
}

fn next(reader: &mut EventReader) -> (Option<u64>, String) {
    let event = reader.next().unwrap().unwrap();
    match serde_json::from_str::<HostEvent>(&event.data) {
        Ok(told) => {
            assert_eq!(told.what.word(), event.name);
            (event.id, format!("{} {}", event.name, told.name))
        }
        Err(_) => (event.id, event.name),
    }
}

fn register(site: &Site, number: u8, seconds: i64, change: impl FnOnce(&mut tycoon_sls::HostRecord)) {
    site.clock.set(at(seconds));
    let mut said = record(number, seconds);
    change(&mut said);
    let signed: SignedRecord = sign(&said, number);
    let _: tycoon_sls::service::Registered = site.caller(number).post("/v1/hosts", &signed).unwrap();
}

#[test]
fn changes_are_told_to_whom_they_concern_and_again_to_who_missed_them() {
    let site = Site::new(Policy::default(), None);
    let server =
        Server::start(ServerSettings::on(SocketAddr::from(([127, 0, 0, 1], 0))), Published::new(site.service.clone()))
            .unwrap();
    let mut all = watch(&server, "/v1/events", None);
    let mut real = watch(&server, "/v1/events?filter=not%20simulated", None);
    register(&site, 1, 0, |_| {});
    register(&site, 2, 0, |_| {});
    register(&site, 2, 30, |said| said.offers.clear());
    register(&site, 2, 60, |said| {
        said.offers.clear();
        said.load = tycoon_market::Quantity::from_cpus(1);
    });
    let (first, told) = next(&mut all);
    assert_eq!(told, "appeared host1");
    assert_eq!(next(&mut all).1, "appeared host2");
    let (seen, told) = next(&mut all);
    assert_eq!(told, "changed host2");
    site.clock.set(at(150));
    site.service.maintain(0).unwrap();
    assert_eq!(next(&mut all).1, "expired host1", "what passes by, such as load, is no change");
    assert_eq!([next(&mut real).1, next(&mut real).1], ["appeared host2", "changed host2"]);

    let mut back = watch(&server, "/v1/events", seen);
    assert_eq!(next(&mut back).1, "expired host1");
    let mut early = watch(&server, "/v1/events", first.map(|first| first - 5));
    assert_eq!(next(&mut early).1, "missed");
    assert_eq!(site.service.numbers().watchers, 4);
    server.stop();
}
