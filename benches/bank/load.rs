//! Clients of an HTTP service, all of them on one thread, as lean as pgbench is: requests are bytes that were made before,
//! connections stay open, and of a reply no more is read than where it ends. Some replies are kept, so that they can be
//! looked at when nothing is measured any more.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustix::event::{Timespec, epoll};

/// Of so many replies one is kept.
const KEPT_EVERY: usize = 64;
/// What a reply must begin with.
const SUCCESS: &[u8] = b"HTTP/1.1 200 ";
/// What stands before the length of a body, as the server writes it.
const LENGTH: &[u8] = b"\r\ncontent-length: ";
/// What stands after the fields of a head.
const END: &[u8] = b"\r\n\r\n";

/// What came of it.
pub struct Load {
    /// How long each request took, from its first byte to the last of its reply.
    pub times: Vec<Duration>,
    /// How long all of them took.
    pub took: Duration,
    /// Some of the replies, each with its request.
    pub kept: Vec<(Vec<u8>, Vec<u8>)>,
}

struct Client<'a> {
    stream: TcpStream,
    requests: std::slice::Iter<'a, Vec<u8>>,
    /// The request that is not answered yet, and since when it is asked.
    asked: Option<(&'a Vec<u8>, Instant)>,
    reply: Vec<u8>,
    filled: usize,
    /// The length of the reply, once its head is there.
    length: Option<usize>,
}

impl<'a> Client<'a> {
    /// Sends the next request, where there is one.
    fn ask(&mut self) {
        self.asked = self.requests.next().map(|request| {
            let began = Instant::now();
            self.stream.write_all(request).expect("the service reads");
            (request, began)
        });
    }

    /// Reads what there is. True once the reply is whole.
    fn read(&mut self) -> bool {
        if self.filled == self.reply.len() {
            self.reply.resize(2 * self.filled, 0);
        }
        // It can be read, so that nothing is waited for.
        let count = self.stream.read(&mut self.reply[self.filled..]).expect("a reply");
        assert!(count > 0, "the service hung up");
        self.filled += count;
        let reply = &self.reply[..self.filled];
        if self.length.is_none() {
            self.length = find(reply, END).map(|end| end + END.len() + length_of(&reply[..end + 2]));
        }
        self.length.is_some_and(|length| self.filled >= length)
    }
}

/// Where `part` begins in `text`.
fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// The length of the body, as the head says.
fn length_of(head: &[u8]) -> usize {
    let place = find(head, LENGTH).expect("the length of the reply");
    let digits = head[place + LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'))
}

/// Lets clients send their requests, each one after the other, for so long. All replies must be successes.
pub fn run(address: &str, requests: &[Vec<Vec<u8>>], duration: Duration) -> Load {
    let waited = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut clients: Vec<Client<'_>> = Vec::with_capacity(requests.len());
    for (number, requests) in requests.iter().enumerate() {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&waited, &stream, data, epoll::EventFlags::IN).expect("epoll takes it");
        let (requests, reply) = (requests.iter(), vec![0; 16 << 10]);
        clients.push(Client { stream, requests, asked: None, reply, filled: 0, length: None });
    }
    let mut load = Load { times: Vec::with_capacity(1 << 20), took: Duration::ZERO, kept: Vec::new() };
    let began = Instant::now();
    clients.iter_mut().for_each(Client::ask);
    let mut busy = clients.iter().filter(|client| client.asked.is_some()).count();
    let mut events = Vec::with_capacity(clients.len());
    let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
    while busy > 0 {
        events.clear();
        epoll::wait(&waited, rustix::buffer::spare_capacity(&mut events), Some(&patience)).expect("epoll");
        assert!(!events.is_empty(), "the service does not answer any more");
        for event in &events {
            let client = &mut clients[event.data.u64() as usize];
            if !client.read() {
                continue;
            }
            let (request, asked_at) = client.asked.take().expect("nothing is answered that was not asked");
            let now = Instant::now();
            load.times.push(now - asked_at);
            let reply = &client.reply[..client.filled];
            assert!(reply.starts_with(SUCCESS), "{}", String::from_utf8_lossy(reply));
            if load.times.len().is_multiple_of(KEPT_EVERY) {
                load.kept.push((request.clone(), reply.to_vec()));
            }
            (client.filled, client.length) = (0, None);
            if now - began < duration {
                client.ask();
            }
            busy -= usize::from(client.asked.is_none());
        }
    }
    load.took = began.elapsed();
    load
}

/// The bytes of a request to `host`.
pub fn bytes_of(request: &Request<Vec<u8>>, host: &str) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", request.body().len()).as_bytes());
    bytes.extend_from_slice(request.body());
    bytes
}

/// A kept request and its reply, read.
pub fn read(request: &[u8], reply: &[u8]) -> (Request<Vec<u8>>, Response<Vec<u8>>) {
    let (line, headers, body) = parts(request);
    let mut words = line.split(' ');
    let (method, target) = (words.next().expect("a method"), words.next().expect("a target"));
    let mut request = Request::builder().method(method).uri(target).body(body).expect("a request");
    *request.headers_mut() = headers;
    let (_, headers, body) = parts(reply);
    let mut reply = Response::new(body);
    *reply.headers_mut() = headers;
    (request, reply)
}

/// The first line of a message, its header fields and its body.
fn parts(message: &[u8]) -> (String, HeaderMap, Vec<u8>) {
    let end = find(message, END).expect("the end of the head");
    let head = std::str::from_utf8(&message[..end]).expect("text");
    let mut lines = head.split("\r\n");
    let first = lines.next().expect("a line").to_owned();
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header field");
        let name: HeaderName = name.parse().expect("a name");
        headers.append(name, HeaderValue::from_str(value).expect("a value"));
    }
    (first, headers, message[end + END.len()..].to_vec())
}
