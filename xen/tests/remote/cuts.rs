//! Connections that break, at any byte, in either direction.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use tycoon_xen::hypervisor::{Hypervisor as _, HypervisorError};
use tycoon_xen::memory::{MemoryHost, TINY_IMAGE};
use tycoon_xen::remote::frame::{self, PREAMBLE};
use tycoon_xen::remote::message::Hello;
use tycoon_xen::remote::{Patience, RemoteHypervisor, Session};

use super::pipe::{Pipes, Ration, at, memory_host, patience, serve};

/// Serves, and breaks after so many bytes from the client or to it.
fn serve_with(session: &Session, socket: UnixStream, from_client: usize, to_client: usize) {
    let reader = Ration { socket: socket.try_clone().unwrap(), left: from_client };
    let writer = Ration { socket: socket.try_clone().unwrap(), left: to_client };
    drop(session.serve(reader, writer));
    drop(socket.shutdown(Shutdown::Both));
}

/// The bytes of a whole conversation, in either direction, are less than this.
const ALL: usize = 1_500;

fn cut_everywhere(host: &Arc<MemoryHost>, ration: fn(usize) -> (usize, usize)) {
    for bytes in 0..ALL {
        let session = Session::new(host.clone());
        let pipes = Pipes::to(move |number, socket| match number {
            0 => {
                let (from_client, to_client) = ration(bytes);
                serve_with(&session, socket, from_client, to_client);
            }
            _ => drop(serve(&session, socket)),
        });
        let remote = pipes.hypervisor();
        let facts = remote.facts();
        assert_eq!(facts, host.facts(), "the stream was cut after {bytes} bytes");
        assert_eq!(remote.domains(at(0)), Ok(Vec::new()), "the stream was cut after {bytes} bytes");
        drop(remote);
        assert!(pipes.opened() <= 2, "cut after {bytes} bytes, {} streams were opened", pipes.opened());
        pipes.wait();
    }
}

#[test]
fn whatever_is_cut_off_on_the_way_to_the_host_is_asked_again() {
    cut_everywhere(&memory_host(), |bytes| (bytes, usize::MAX));
}

#[test]
fn whatever_is_cut_off_on_the_way_back_is_asked_again() {
    cut_everywhere(&memory_host(), |bytes| (usize::MAX, bytes));
}

#[test]
fn a_change_whose_answer_was_lost_is_asked_again_and_made_once() {
    let host = memory_host();
    let session = Session::new(host.clone());
    let greeting = PREAMBLE.len() + frame::of_message(&Hello::ours()).unwrap().len();
    let pipes = Pipes::to(move |number, socket| match number {
        0 => serve_with(&session, socket, usize::MAX, greeting),
        _ => drop(serve(&session, socket)),
    });
    // The host had it done before the connection broke, so that nothing was left to do the second time.
    assert_eq!(pipes.hypervisor().ensure_image(TINY_IMAGE), Ok(false));
    assert_eq!(pipes.opened(), 2);
}

#[test]
fn a_host_that_breaks_every_time_is_given_up_by_name() {
    let session = Session::new(memory_host());
    let pipes = Pipes::to(move |_, socket| serve_with(&session, socket, 100, usize::MAX));
    let error = pipes.hypervisor().facts().unwrap_err();
    let HypervisorError::Failed { operation, reason } = &error else { panic!("{error:?}") };
    assert_eq!(operation, "asking for the host's facts");
    assert!(reason.starts_with("host pipe1: "), "{reason}");
}

#[test]
fn a_host_that_says_nothing_is_given_up_in_time() {
    let pipes = Pipes::to(|_, socket| drop(std::io::copy(&mut &socket, &mut std::io::sink())));
    let short = Patience { greeting: Duration::from_millis(20), pauses: Vec::new(), ..patience() };
    let remote = RemoteHypervisor::over(pipes.clone()).with_patience(short);
    let error = remote.facts().unwrap_err().to_string();
    assert_eq!(error, "asking for the host's facts failed: host pipe1: no session began within 0.02 s");
}
