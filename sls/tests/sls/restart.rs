//! A restarted SLS is useful at once, and holds its own absence against nobody.

use std::sync::Arc;

use tycoon_rpc::FixedClock;
use tycoon_sls::store::{Groups, Store};
use tycoon_sls::{Policy, Registry};

use super::scene::{Site, at, id, record, sign, tree, verified};

fn registered(tree: &sled::Tree, seconds: &[i64]) {
    let site = Site::new(Policy::default(), Some(Store::new(tree.clone())));
    for &second in seconds {
        site.clock.set(at(second));
        let _: tycoon_sls::service::Registered =
            site.caller(2).post("/v1/hosts", &sign(&record(2, second), 2)).unwrap();
    }
    site.service.flush().unwrap();
}

fn restore(tree: &sled::Tree, second: i64) -> Registry {
    let restored = Store::new(tree.clone()).restore(Policy::default(), at(second)).unwrap();
    assert_eq!(restored.damaged, 0);
    restored.registry
}

#[test]
fn what_was_live_is_live_after_the_restart_for_as_long_as_it_had() {
    let tree = tree();
    registered(&tree, &[0, 30]);
    let registry = restore(&tree, 3630);
    assert_eq!(registry.live(at(3630)).count(), 1);
    assert_eq!(registry.live(at(3630 + 119)).count(), 1);
    assert_eq!(registry.live(at(3630 + 120)).count(), 0);
    let entry = registry.get(&id(2)).unwrap();
    assert_eq!(entry.last_seen, at(30), "when it was seen is not embellished");
    assert!(entry.uptime(at(3630)).hour > 0.9999, "the service's own absence counts against nobody");
}

#[test]
fn a_host_that_left_does_not_come_back_with_the_clock() {
    let tree = tree();
    registered(&tree, &[0]);
    let site = Site::at(Arc::new(FixedClock::new(at(10))), Policy::default(), Some(Store::new(tree.clone())));
    let path = format!("/v1/hosts/{}", id(2));
    let _: tycoon_sls::service::Withdrawn =
        site.caller(2).call::<(), _>(http::Method::DELETE, &path, &[], None).unwrap();
    drop(site);
    assert_eq!(restore(&tree, 5).live(at(5)).count(), 0);
}

#[test]
fn after_a_day_nothing_is_taken_for_live() {
    let tree = tree();
    registered(&tree, &[0]);
    assert_eq!(restore(&tree, 86_400 + 1).live(at(86_401)).count(), 0);
}

#[test]
fn what_was_dead_stays_dead_and_old_records_stay_old() {
    let tree = tree();
    registered(&tree, &[0]);
    let site = Site::at(Arc::new(FixedClock::new(at(200))), Policy::default(), Some(Store::new(tree.clone())));
    let _: tycoon_sls::service::Registered = site.caller(3).post("/v1/hosts", &sign(&record(3, 200), 3)).unwrap();
    site.service.maintain(10).unwrap();
    drop(site);
    let mut registry = restore(&tree, 5000);
    // Host 2 was last heard of at 0, and given 120 s from the first restart.
    assert_eq!(registry.live(at(5000)).map(|entry| entry.facts.host).filter(|host| *host == id(3)).count(), 1);
    let mut old = record(2, 5000);
    old.sequence = 0;
    old.images.clear();
    assert!(registry.register(sign(&old, 2).verify().unwrap(), None, at(5000)).is_err());
}

#[test]
fn what_is_damaged_is_left_out_and_counted() {
    let tree = tree();
    registered(&tree, &[0]);
    let (key, stored) = groups(&tree).pop().unwrap();
    assert_eq!(stored.len(), 1);
    let put = |key: &[u8], hosts: &[String]| {
        tree.insert(key, zstd::encode_all(format!("[{}]", hosts.join(",")).as_bytes(), 1).unwrap()).unwrap()
    };
    tree.insert(b"sixteen bytes!!!", "{").unwrap();
    tree.insert(b"\x00\x01", "no group").unwrap();
    // Another's group, a host that was changed, and something that is no host beside one that is good.
    put(b"\x00\x02", &stored);
    put(&key, &[stored[0].replace("host2", "bank"), "7".to_owned(), stored[0].clone()]);
    let restored = Store::new(tree).restore(Policy::default(), at(1)).unwrap();
    assert_eq!((restored.damaged, restored.registry.entries().count()), (5, 1));
}

/// The groups that are stored, with their hosts as JSON.
fn groups(tree: &sled::Tree) -> Vec<(Vec<u8>, Vec<String>)> {
    let groups = tree.iter().map(Result::unwrap).filter(|(key, _)| key.len() == 2);
    let hosts = |group: &[u8]| {
        let listed: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_slice(&zstd::decode_all(group).unwrap()).unwrap();
        listed.iter().map(|host| host.get().to_owned()).collect()
    };
    groups.map(|(key, group)| (key.to_vec(), hosts(&group))).collect()
}

#[test]
fn what_an_earlier_program_stored_host_by_host_is_taken_over() {
    let tree = tree();
    registered(&tree, &[0]);
    let (key, stored) = groups(&tree).pop().unwrap();
    tree.remove(key).unwrap();
    tree.insert(id(2).as_bytes(), stored[0].as_bytes()).unwrap();
    let site = Site::at(Arc::new(FixedClock::new(at(10))), Policy::default(), Some(Store::new(tree.clone())));
    assert_eq!((groups(&tree).len(), tree.contains_key(id(2).as_bytes()).unwrap()), (1, false));
    drop(site);
    assert_eq!(restore(&tree, 20).live(at(20)).count(), 1);
}

#[test]
fn each_group_has_its_turn() {
    let mut groups = Groups::default();
    (1..=20).for_each(|number| groups.add(&id(number)));
    let all = groups.clone().take(usize::MAX).len();
    assert!(all > 15, "hosts of few are alone: {all}");
    let mut taken = std::collections::BTreeSet::new();
    for _ in 0..all.div_ceil(4) {
        let some = groups.take(4);
        assert!(!some.is_empty() && some.len() <= 4);
        taken.extend(some);
        // They register all the time.
        (1..=20).for_each(|number| groups.add(&id(number)));
    }
    assert_eq!(taken.len(), all, "none is left behind by those that come again");
    assert!(Groups::default().take(4).is_empty());
}

#[test]
fn a_restored_registry_keeps_its_rules() {
    let tree = tree();
    registered(&tree, &[0]);
    let mut registry = restore(&tree, 60);
    let mut squatter = record(3, 60);
    squatter.name = "host2".parse().unwrap();
    assert!(registry.register(sign(&squatter, 3).verify().unwrap(), None, at(60)).is_err());
    assert!(registry.register(verified(2, 60), None, at(60)).is_ok());
}

#[test]
fn who_had_to_make_room_is_not_on_disk_any_more() {
    let tree = tree();
    let policy = Policy { hosts_max: 2, ..Policy::default() };
    let site = Site::new(policy, Some(Store::new(tree.clone())));
    let keys = |tree: &sled::Tree| {
        let stored: String = groups(tree).into_iter().flat_map(|(_, hosts)| hosts).collect();
        (1..=3).filter(|number| stored.contains(&id(*number).to_string())).collect::<Vec<u8>>()
    };
    let register = |number: u8, second| {
        let _: tycoon_sls::service::Registered =
            site.caller(number).post("/v1/hosts", &sign(&record(number, second), number)).unwrap();
    };
    for number in [1, 2] {
        register(number, 0);
    }
    site.service.maintain(10).unwrap();
    assert_eq!(keys(&tree), [1, 2]);
    site.clock.set(at(600));
    register(3, 600);
    site.service.maintain(10).unwrap();
    let left = keys(&tree);
    assert!(left.contains(&3) && left.len() == 2, "{left:?}");
    // A service that keeps fewer forgets the rest, on disk too.
    let fewer = Policy { hosts_max: 1, ..Policy::default() };
    let site = Site::at(site.clock.clone(), fewer, Some(Store::new(tree.clone())));
    site.service.maintain(10).unwrap();
    assert_eq!(keys(&tree), [3]);
}
