//! Several calls at once, and slow hosts.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tycoon_xen::hypervisor::{Hypervisor as _, HypervisorError};
use tycoon_xen::remote::{Patience, RemoteHypervisor, Session, SessionLimits};

use super::gate::gate;
use super::pipe::{Pipes, at, patience, serve};

#[test]
fn what_is_quick_does_not_wait_for_what_is_slow() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let remote = Arc::new(pipes.hypervisor());
    let starts: Vec<_> = (0..3)
        .map(|number| {
            let remote = remote.clone();
            thread::spawn(move || remote.start(&format!("slow.{number}"), at(0)))
        })
        .collect();
    gate.wait_for(3);
    assert!(remote.facts().is_ok());
    gate.open();
    for start in starts {
        assert_eq!(start.join().unwrap(), Ok(true));
    }
    assert_eq!(pipes.opened(), 1);
}

#[test]
fn more_calls_than_fit_wait_for_their_turn() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let remote = Arc::new(pipes.hypervisor());
    let starts: Vec<_> = (0..100)
        .map(|number| {
            let remote = remote.clone();
            thread::spawn(move || remote.start(&format!("slow.{number}"), at(0)))
        })
        .collect();
    gate.wait_for(4);
    gate.open();
    for start in starts {
        assert_eq!(start.join().unwrap(), Ok(true));
    }
    assert_eq!(pipes.opened(), 1);
}

#[test]
fn a_client_with_more_calls_than_the_host_takes_is_cut_off() {
    let gate = gate();
    let limits = SessionLimits { calls_max: 2, workers: 1, ..SessionLimits::default() };
    let session = Session::new(gate.clone()).with_limits(limits);
    let pipes = Pipes::to(move |_, socket| drop(serve(&session, socket)));
    let remote = Arc::new(pipes.hypervisor());
    let starts: Vec<_> = (0..3)
        .map(|number| {
            let remote = remote.clone();
            thread::spawn(move || remote.start(&format!("slow.{number}"), at(0)))
        })
        .collect();
    let first_cut = starts.into_iter();
    // Two fit. The third ends the stream, and what is under way then is finished first.
    gate.wait_for(1);
    gate.open();
    for start in first_cut {
        let result = start.join().unwrap();
        let is_cut_off =
            matches!(&result, Err(HypervisorError::Failed { reason, .. }) if reason.contains("more than 2"));
        assert!(result == Ok(true) || is_cut_off, "{result:?}");
    }
}

#[test]
fn a_call_that_takes_too_long_is_given_up_and_the_connection_stays() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let short = Patience { long: Duration::from_millis(50), ..patience() };
    let remote = RemoteHypervisor::over(pipes.clone()).with_patience(short);
    let error = remote.start("slow", at(0)).unwrap_err().to_string();
    assert_eq!(error, "starting the domain failed: host pipe1: no answer within 0.05 s; the host may still be at it");
    assert!(remote.facts().is_ok());
    gate.open();
    assert!(remote.facts().is_ok());
    assert_eq!(pipes.opened(), 1);
}

#[test]
fn pings_keep_a_connection_alive_while_a_call_takes_long() {
    let gate = gate();
    let session = Session::new(gate.clone());
    let pipes = Pipes::to(move |_, socket| drop(serve(&session, socket)));
    let eager = Patience { ping: Duration::from_millis(5), silence: Duration::from_millis(400), ..patience() };
    let remote = Arc::new(RemoteHypervisor::over(pipes.clone()).with_patience(eager));
    let start = {
        let remote = remote.clone();
        thread::spawn(move || remote.start("slow", at(0)))
    };
    gate.wait_for(1);
    // Longer than the silence that is borne; only time itself can show that time does not matter.
    thread::sleep(Duration::from_millis(1_000));
    gate.open();
    assert_eq!(start.join().unwrap(), Ok(true));
    assert_eq!(pipes.opened(), 1);
}

#[test]
fn a_host_that_goes_silent_is_given_up() {
    let session = Session::new(gate());
    // It serves, and what it says after its greeting never arrives.
    let pipes = Pipes::to(move |_, socket| {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let greeting = 200;
        let mut from_host = super::pipe::Ration { socket: far, left: greeting };
        let session = session.clone();
        let (reader, writer) = (socket.try_clone().unwrap(), near);
        thread::spawn(move || drop(session.serve(reader, writer)));
        let mut piece = [0; 1];
        while std::io::Read::read(&mut from_host, &mut piece).is_ok_and(|count| count > 0) {
            if std::io::Write::write_all(&mut &socket, &piece).is_err() {
                return;
            }
        }
    });
    let short = Patience { ping: Duration::from_millis(10), silence: Duration::from_millis(100), ..patience() };
    let error = RemoteHypervisor::over(pipes).with_patience(short).start("slow", at(0)).unwrap_err().to_string();
    assert!(error.contains("the connection broke twice (nothing was heard for"), "{error}");
}

#[test]
fn a_driver_that_panics_fails_its_call_only() {
    let pipes = Pipes::to_host(gate());
    let remote = pipes.hypervisor();
    let error = remote.domain("panic", at(0)).unwrap_err().to_string();
    assert!(error.contains("a fault of the host's Tycoon; please report it"), "{error}");
    assert_eq!(remote.domain("web", at(0)), Ok(None));
    assert_eq!(pipes.opened(), 1);
}

#[test]
fn a_closed_connection_says_so() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let remote = Arc::new(pipes.hypervisor());
    let start = {
        let remote = remote.clone();
        thread::spawn(move || remote.start("slow", at(0)))
    };
    gate.wait_for(1);
    remote.close();
    let error = start.join().unwrap().unwrap_err().to_string();
    assert!(error.ends_with("host pipe1: the connection was closed here"), "{error}");
    assert!(remote.facts().is_err());
    gate.open();
}
