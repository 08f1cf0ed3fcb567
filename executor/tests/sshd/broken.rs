//! Connections that end, or go silent, in the middle.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use tycoon_executor::ssh::{RunLimits, SshConnection, SshError, SshTarget, SshTimes};

use super::server::Server;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_connection_that_is_cut_ends_its_channels_and_says_so() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let mut channel = connection.exec("cat").unwrap();
    channel.writer.write_all(b"hello").unwrap();
    let mut text = [0; 5];
    channel.reader.read_exact(&mut text).unwrap();
    server.signal_children("-KILL");
    assert_eq!(channel.reader.read(&mut text).unwrap(), 0);
    let end = channel.status.wait(LONG).unwrap();
    let Err(SshError::Closed { host, .. }) = &end else { panic!("{end:?}") };
    assert_eq!(host, "127.0.0.1");
    let error = connection.exec("true").unwrap_err();
    assert!(matches!(error, SshError::Closed { .. }), "{error}");
    assert!(!connection.is_open());
    // The server is still there: another connection works.
    server.connect().run_well("true", b"", RunLimits::default()).unwrap();
}

#[test]
fn a_transfer_that_is_cut_is_no_success() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let path = server.path("file");
    let content = vec![b'x'; 20 << 20];
    let mut cut = |sent| {
        if sent > 5 << 20 {
            server.signal_children("-KILL");
        }
        std::ops::ControlFlow::Continue(())
    };
    let result =
        connection.upload(&mut content.as_slice(), content.len() as u64, path.to_str().unwrap(), 0o644, &mut cut);
    assert!(matches!(result, Err(SshError::Closed { .. })), "{result:?}");
    assert!(!path.exists());
}

#[test]
fn a_host_that_stands_still_is_given_up_after_its_silence() {
    let Some(server) = Server::start("") else { return };
    let seconds = Duration::from_secs;
    let times = SshTimes { keep_alive: seconds(2), silence: seconds(5), ..SshTimes::default() };
    let connection = SshConnection::connect(&SshTarget { times, ..server.target() }).unwrap();
    let mut channel = connection.exec("sleep 1000").unwrap();
    // Quiet, and answering signs of life: it stays, for longer than its silence may be.
    let end = channel.status.wait(seconds(7));
    assert_eq!(end, None);
    server.signal_children("-STOP");
    let since = Instant::now();
    assert_eq!(channel.reader.read(&mut [0; 1]).unwrap(), 0);
    let error = channel.status.wait(LONG).unwrap().unwrap_err().to_string();
    assert!(error.contains("nothing was heard of it for"), "{error}");
    assert!(since.elapsed() >= seconds(4) && since.elapsed() < seconds(30), "{:?}", since.elapsed());
    server.signal_children("-CONT");
}

#[test]
fn a_quiet_connection_without_channels_stays_and_notices_its_end() {
    let Some(server) = Server::start("") else { return };
    let times = SshTimes { keep_alive: Duration::from_secs(2), ..SshTimes::default() };
    let connection = SshConnection::connect(&SshTarget { times, ..server.target() }).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    connection.run_well("true", b"", RunLimits::default()).unwrap();
    server.signal_children("-KILL");
    let deadline = Instant::now() + LONG;
    while connection.is_open() {
        assert!(Instant::now() < deadline, "the end went unnoticed");
        std::thread::yield_now();
    }
}

#[test]
fn an_end_leaves_nothing_behind_on_the_host() {
    let Some(server) = Server::start("") else { return };
    let connection = server.connect();
    let channel = connection.exec("cat").unwrap();
    drop(connection);
    assert!(channel.status.wait(Duration::ZERO).is_none());
    drop(channel);
    let deadline = Instant::now() + LONG;
    while server.has_children() {
        assert!(Instant::now() < deadline, "the host still serves a connection that nobody has");
        std::thread::yield_now();
    }
}
