//! Answers that go on, over the network.

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};

use http::{Request, Response, StatusCode};
use tycoon_rpc::events::{self, Event, EventSender};
use tycoon_rpc::http_transport::StreamError;
use tycoon_rpc::{
    HttpSettings, HttpTransport, Limits, PeerAddress, Problem, Published, Receiver, ReplayPolicy, SecretKey, Server,
    ServerSettings, Service, SystemClock,
};

/// Hands the sender of every stream to the test.
struct Streams {
    receiver: Receiver,
    senders: mpsc::SyncSender<(EventSender, PeerAddress)>,
}

impl Service for Streams {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.receiver.serve(
            request,
            |_| true,
            |call| {
                if call.request.uri().path() != "/v1/events" {
                    return Err(Problem::new(StatusCode::NOT_FOUND, "test.nothing", "There is nothing"));
                }
                let (sender, response) = events::stream(8);
                let from = *call.request.extensions().get::<PeerAddress>().expect("the server says from where");
                self.senders.send((sender, from)).unwrap();
                Ok(response)
            },
        )
    }
}

fn served(settings: impl FnOnce(&mut ServerSettings)) -> (Server, mpsc::Receiver<(EventSender, PeerAddress)>) {
    let key = Arc::new(SecretKey::from_seed(&[1; 32]));
    let receiver = Receiver::new(key, Arc::new(SystemClock), ReplayPolicy::NETWORK, Limits::DEFAULT);
    let (senders, streams) = mpsc::sync_channel(8);
    let mut chosen = ServerSettings::on(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings(&mut chosen);
    (Server::start(chosen, Published::new(Arc::new(Streams { receiver, senders }))).unwrap(), streams)
}

fn ask(server: &Server, path: &str) -> Result<tycoon_rpc::http_transport::EventReader, StreamError> {
    let transport = HttpTransport::new(&format!("http://{}", server.address()), &HttpSettings::default()).unwrap();
    transport.events(Request::get(path).header("x-forwarded-for", "198.51.100.7, 192.0.2.9").body(Vec::new()).unwrap())
}

fn event(id: u64) -> Event {
    Event { name: "tick".into(), id: Some(id), data: "{}".into() }
}

#[test]
fn events_arrive_as_they_happen_and_end_with_the_server() {
    let (server, streams) = served(|_| {});
    let mut reader = ask(&server, "/v1/events").unwrap();
    let (sender, from) = streams.recv().unwrap();
    assert!(from.0.is_loopback());
    for id in 1..=3 {
        sender.send(&event(id)).unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), event(id));
    }
    server.stop();
    assert!(reader.next().is_none_or(|next| next.is_err()));
}

#[test]
fn a_stream_ends_with_its_sender_or_its_reader() {
    let (server, streams) = served(|_| {});
    let mut reader = ask(&server, "/v1/events").unwrap();
    drop(streams.recv().unwrap());
    assert!(reader.next().is_none());
    let reader = ask(&server, "/v1/events").unwrap();
    let (sender, _) = streams.recv().unwrap();
    drop(reader);
    // The server notices as soon as it writes; the sender at the latest when its queue is full.
    while !sender.is_gone() {
        let _ = sender.send(&event(1));
        std::thread::yield_now();
    }
}

#[test]
fn what_is_refused_is_told_and_streams_are_counted() {
    let (server, streams) = served(|settings| settings.streams_max = 1);
    match ask(&server, "/v1/nothing") {
        Err(StreamError::Refused(problem)) => assert_eq!(problem.code, "test.nothing"),
        other => panic!("{:?}", other.err()),
    }
    let _first = ask(&server, "/v1/events").unwrap();
    match ask(&server, "/v1/events") {
        Err(StreamError::Refused(problem)) => assert_eq!(problem.code, "call.too-many-streams"),
        other => panic!("{:?}", other.err()),
    }
    drop(streams);
}

#[test]
fn behind_a_proxy_its_word_counts_for_where_a_call_came_from() {
    let (server, streams) = served(|settings| settings.behind_proxy = true);
    let _reader = ask(&server, "/v1/events").unwrap();
    assert_eq!(streams.recv().unwrap().1, PeerAddress([192, 0, 2, 9].into()));
}
