//! What libvirt tells by itself.

use std::time::Duration;

use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::libvirt::{DomainEventKind, Subscription, Waited};

use super::scene::{NOW, Scene, spec};

/// The next events of the domain, as many as are expected.
fn next(events: &Subscription, name: &str, count: usize) -> Vec<DomainEventKind> {
    let mut kinds = Vec::new();
    while kinds.len() < count {
        match events.wait(Duration::from_secs(20)) {
            Waited::Event(event) if event.name == name => kinds.push(event.kind),
            Waited::Event(_) => {}
            other => panic!("{other:?} after {kinds:?}"),
        }
    }
    kinds
}

#[test]
fn starts_and_ends_are_told_in_their_order() {
    use DomainEventKind::{Defined, Started, Stopped, Undefined};
    let scene = Scene::new();
    let events = scene.host.events().unwrap();
    let name = scene.define(&spec("web.0"));
    scene.host.start(&name, NOW).unwrap();
    scene.host.stop(&name, 0, NOW).unwrap();
    scene.host.remove(&name, NOW).unwrap();
    // It is defined again with its disks when it starts.
    assert_eq!(next(&events, &name, 5), [Defined, Defined, Started, Stopped, Undefined]);
    assert_eq!(events.wait(Duration::from_millis(1)), Waited::Nothing);
}

#[test]
fn there_is_one_subscription_and_another_after_it() {
    let scene = Scene::new();
    let first = scene.host.events().unwrap();
    assert!(scene.host.events().is_err());
    drop(first);
    let second = scene.host.events().unwrap();
    let name = scene.define(&spec("web.0"));
    assert_eq!(next(&second, &name, 1), [DomainEventKind::Defined]);
}
