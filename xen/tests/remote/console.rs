//! Consoles over streams of their own.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;

use tycoon_xen::hypervisor::{Hypervisor as _, HypervisorError};

use super::gate::gate;
use super::pipe::Pipes;

#[test]
fn what_is_written_and_typed_arrives_and_the_end_too() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let remote = pipes.hypervisor();
    let mut console = remote.open_console("web").unwrap();
    let mut domain = gate.consoles.lock().unwrap().pop().unwrap();
    domain.write_all(b"login: ").unwrap();
    let mut shown = [0; 7];
    console.output.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"login: ");
    // More than one frame holds.
    let typed = vec![b'x'; 1 << 20];
    let sender = std::thread::spawn(move || {
        console.input.write_all(&typed).unwrap();
        console
    });
    let mut arrived = vec![0; 1 << 20];
    domain.read_exact(&mut arrived).unwrap();
    assert!(arrived.iter().all(|byte| *byte == b'x'));
    let mut console = sender.join().unwrap();
    domain.write_all(b"bye").unwrap();
    domain.shutdown(Shutdown::Both).unwrap();
    let mut rest = String::new();
    console.output.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "bye");
    drop(console);
    pipes.wait();
}

#[test]
fn a_client_that_leaves_lets_go_of_the_console() {
    let gate = gate();
    let pipes = Pipes::to_host(gate.clone());
    let console = pipes.hypervisor().open_console("web").unwrap();
    let mut domain = gate.consoles.lock().unwrap().pop().unwrap();
    drop(console);
    pipes.wait();
    // Nobody types any more; once the domain writes, nobody listens either.
    let _ = domain.write_all(b"is anybody there?");
    assert_eq!(domain.read(&mut [0; 1]).unwrap_or(0), 0);
}

#[test]
fn a_refused_console_is_refused_as_the_host_refuses() {
    let pipes = Pipes::to_host(gate());
    let refusal = pipes.hypervisor().open_console("none").map(drop);
    assert_eq!(refusal, Err(HypervisorError::NoDomain("none".into())));
}
