//! What makes no sense ends the stream with a sentence that says what is wrong.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use tycoon_xen::hypervisor::Hypervisor as _;
use tycoon_xen::remote::frame::{self, DATA_BYTES_MAX, Frame, MESSAGE_BYTES_MAX, PREAMBLE};
use tycoon_xen::remote::message::{Call, FromClient, FromHost, Hello};
use tycoon_xen::remote::{Patience, RemoteHypervisor, Session, SessionLimits};

use super::pipe::{Pipes, memory_host, patience, serve};

/// What a host says, after its greeting, to a client that sends `bytes` and nothing more.
fn told(bytes: &[u8]) -> Vec<FromHost> {
    told_with(Session::new(memory_host()), bytes, true)
}

fn told_with(session: Session, bytes: &[u8], ends: bool) -> Vec<FromHost> {
    let (mut near, far) = UnixStream::pair().unwrap();
    let host = thread::spawn(move || serve(&session, far));
    // A host that has ended takes nothing more.
    let _ = near.write_all(bytes);
    if ends {
        let _ = near.shutdown(Shutdown::Write);
    }
    frame::read_preamble(&mut near).unwrap();
    let mut said = Vec::new();
    let hello = frame::read(&mut near);
    assert!(matches!(hello, Ok(Some(Frame::Message(_)))), "{hello:?}");
    // A host that left something unread resets the stream instead of ending it.
    while let Ok(Some(frame)) = frame::read(&mut near) {
        let Frame::Message(message) = frame else { panic!("{frame:?}") };
        said.push(frame::parse(&message).unwrap());
    }
    drop(host.join().unwrap());
    said
}

fn fault(bytes: &[u8]) -> String {
    match told(bytes).as_slice() {
        [FromHost::Fault(fault)] => fault.message.clone(),
        other => panic!("{other:?}"),
    }
}

fn greeting() -> Vec<u8> {
    let mut greeting = PREAMBLE.to_vec();
    greeting.extend(frame::of_message(&Hello::ours()).unwrap());
    greeting
}

fn after_greeting(bytes: &[u8]) -> Vec<u8> {
    [&greeting(), bytes].concat()
}

#[test]
fn a_client_that_only_greets_is_left_in_peace() {
    assert_eq!(told(&greeting()), []);
}

#[test]
fn what_is_no_session_is_refused() {
    assert_eq!(fault(b"GET / HTTP/1.1\r\n\r\n"), "no session began; instead it says: GET / HTTP/1.1");
    assert_eq!(fault(b""), "no session began; nothing was said");
}

#[test]
fn a_client_of_another_time_is_refused_with_both_versions() {
    let future = Hello { protocol: 9, oldest_protocol: 8, program: "tycoon 9.0.0\u{7}".into() };
    let mut bytes = PREAMBLE.to_vec();
    bytes.extend(frame::of_message(&future).unwrap());
    let message = fault(&bytes);
    assert!(message.contains("there is tycoon 9.0.0 with protocol 8 to 9; install a newer"), "{message}");
}

#[test]
fn frames_that_are_too_long_or_cut_or_of_no_kind_are_refused() {
    let header = |kind: u8, bytes: usize| {
        let length = u32::try_from(bytes).unwrap().to_be_bytes();
        after_greeting(&[&[kind], length.as_slice()].concat())
    };
    assert_eq!(fault(&header(b'm', MESSAGE_BYTES_MAX + 1)), "a frame of 16777217 bytes; 16777216 are allowed");
    assert_eq!(fault(&header(b'd', DATA_BYTES_MAX + 1)), "a frame of 262145 bytes; 262144 are allowed");
    assert_eq!(fault(&header(b'm', 5)), "the stream ended in the middle of a frame");
    assert!(fault(&header(b'?', 0)).starts_with("a frame of the unknown kind 0x3f came"));
}

#[test]
fn messages_that_say_nothing_known_are_refused() {
    for message in ["", "{", "[]", "\"fly\"", "{\"call\":{\"id\":1,\"call\":{\"fly\":{}}}}", "{\"call\":{\"id\":-1}}"] {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let bytes = [b"m".as_slice(), length.as_slice(), message.as_bytes()].concat();
        let said = fault(&after_greeting(&bytes));
        assert!(said.starts_with("a message that makes no sense: "), "{message}: {said}");
    }
    let deep = "[".repeat(100_000);
    let length = u32::try_from(deep.len()).unwrap().to_be_bytes();
    let said = fault(&after_greeting(&[b"m".as_slice(), length.as_slice(), deep.as_bytes()].concat()));
    assert!(said.starts_with("a message that makes no sense: "), "{said}");
}

#[test]
fn data_where_a_call_belongs_is_refused() {
    assert_eq!(fault(&after_greeting(&frame::of_data(b"x").unwrap())), "data came where a call belongs");
}

#[test]
fn any_byte_of_a_conversation_may_be_wrong() {
    let call = frame::of_message(&FromClient::Call { id: 1, call: Call::Facts }).unwrap();
    let good = after_greeting(&call);
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 0x15;
        // Whatever it makes of it: it answers or says what is wrong, and ends.
        let said = told(&bytes);
        assert!(said.len() <= 2, "byte {place}: {said:?}");
    }
}

#[test]
fn a_client_that_says_nothing_is_taken_for_gone() {
    let limits = SessionLimits { silence_max: Duration::from_millis(20), ..SessionLimits::default() };
    let said = told_with(Session::new(memory_host()).with_limits(limits), &greeting(), false);
    assert!(matches!(said.as_slice(), [FromHost::Fault(_)]), "{said:?}");
}

/// What a client says of a host that greets and then answers with `bytes`.
fn heard(bytes: &[u8]) -> String {
    let bytes = bytes.to_vec();
    let pipes = Pipes::to(move |_, mut socket| {
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(Shutdown::Write);
        // What the client still sends has to go somewhere.
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let patience = Patience { pauses: Vec::new(), ..patience() };
    RemoteHypervisor::over(pipes).with_patience(patience).facts().unwrap_err().to_string()
}

#[test]
fn a_host_that_is_none_is_quoted() {
    let said = heard(b"bash: line 1: tycoon: command not found\n");
    assert_eq!(
        said,
        "asking for the host's facts failed: host pipe1: no session began; instead it says: \
         bash: line 1: tycoon: command not found"
    );
}

#[test]
fn a_host_that_makes_no_sense_is_said_to_make_none() {
    for (bytes, expected) in [
        (frame::of_data(b"x").unwrap(), "it sent data where an answer belongs"),
        (frame::of_message(&"fly").unwrap(), "a message that makes no sense"),
        (frame::of_message(&FromHost::Opened).unwrap(), "it sent something of a console"),
        (b"m\xff\xff\xff\xff".to_vec(), "a frame of 4294967295 bytes"),
        (b"x\0\0\0\0".to_vec(), "unknown kind"),
    ] {
        let said = heard(&after_greeting(&bytes));
        assert!(said.contains(expected), "{said}");
    }
}
