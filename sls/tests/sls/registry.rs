//! Who may register what, how long it lasts, and how it is found.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use tycoon_market::{HostId, ResourceKind, TimeSpan};
use tycoon_sls::registry::Entry;
use tycoon_sls::{HostQuery, Policy, RegisterError, Registry, Sort, VerifiedRecord};

use super::scene::{at, id, record, sign, verified};

fn ids(page: &[&Entry]) -> Vec<HostId> {
    page.iter().map(|entry| entry.facts.host).collect()
}

/// A policy to which no record is too old or too new.
fn patient() -> Policy {
    let ever = TimeSpan::from_seconds(1_000_000);
    Policy { record_age_max: ever, skew: ever, ..Policy::default() }
}

/// The record of host `number` under the name `n<name>`. Made once, for signing takes most of a test's time.
fn named(number: u8, name: u8, sequence: u64) -> VerifiedRecord {
    static MADE: Mutex<BTreeMap<(u8, u8, u64), VerifiedRecord>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap();
    let make = || {
        let mut said = record(number, 0);
        (said.name, said.sequence) = (format!("n{name}").parse().unwrap(), sequence);
        sign(&said, number).verify().unwrap()
    };
    made.entry((number, name, sequence)).or_insert_with(make).clone()
}

#[test]
fn a_host_is_live_for_two_minutes_after_each_registration() {
    let mut registry = Registry::new(Policy::default());
    registry.register(verified(1, 0), None, at(0)).unwrap();
    for (second, live) in [(0, 1), (119, 1), (120, 0)] {
        assert_eq!(registry.live(at(second)).count(), live, "second {second}");
    }
    registry.register(verified(1, 100), None, at(100)).unwrap();
    assert_eq!(registry.live(at(219)).count(), 1);
    registry.register(verified(1, 100), None, at(200)).unwrap();
    assert_eq!(registry.live(at(319)).count(), 1, "the same record again keeps a host live");
    assert!(registry.withdraw(&id(1), at(250)));
    assert!(!registry.withdraw(&id(1), at(250)));
    assert_eq!(registry.live(at(250)).count(), 0);
}

#[test]
fn refusals_leave_the_registry_as_it_was() {
    let policy = Policy { hosts_max: 2, ..Policy::default() };
    let mut registry = Registry::new(policy);
    registry.register(verified(1, 100), None, at(100)).unwrap();
    registry.register(verified(2, 100), None, at(100)).unwrap();
    let with = |number: u8, seconds, change: fn(&mut tycoon_sls::HostRecord)| {
        let mut said = record(number, seconds);
        change(&mut said);
        sign(&said, number).verify().unwrap()
    };
    let stale = |offered| RegisterError::Stale { host: id(1), current: 100, offered };
    let cases = [
        ("an older sequence", with(1, 110, |r| r.sequence = 99), stale(99)),
        ("another record of the same sequence", with(1, 110, |r| r.sequence = 100), stale(100)),
        (
            "the name of a live host",
            with(1, 110, |r| r.name = "host2".parse().unwrap()),
            RegisterError::NameTaken { name: "host2".parse().unwrap(), holder: id(2) },
        ),
        (
            "a clock that is fast",
            with(1, 141, |_| {}),
            RegisterError::FromTheFuture { ahead: TimeSpan::from_seconds(31), skew: TimeSpan::from_seconds(30) },
        ),
        (
            "an old record",
            with(1, -191, |r| r.sequence = 1000),
            RegisterError::TooOld { age: TimeSpan::from_seconds(301), most: TimeSpan::from_seconds(300) },
        ),
        ("one host too many", with(3, 110, |_| {}), RegisterError::Full { hosts_max: 2 }),
    ];
    registry.settle(at(110));
    let before = registry.clone();
    for (why, record, refusal) in cases {
        assert_eq!(registry.register(record, None, at(110)), Err(refusal), "{why}");
        assert_eq!(registry, before, "{why}");
    }
    assert!(registry.register(verified(3, 230), None, at(230)).is_ok(), "what has expired makes room");
}

#[test]
fn a_name_is_free_again_when_its_host_has_expired_or_taken_another() {
    let mut registry = Registry::new(Policy::default());
    let named = |number: u8, seconds, name: &str| {
        let mut said = record(number, seconds);
        said.name = name.parse().unwrap();
        sign(&said, number).verify().unwrap()
    };
    registry.register(named(1, 0, "a"), None, at(0)).unwrap();
    assert!(registry.register(named(2, 10, "a"), None, at(10)).is_err());
    registry.register(named(1, 20, "b"), None, at(20)).unwrap();
    registry.register(named(2, 30, "a"), None, at(30)).unwrap();
    assert!(registry.register(named(1, 40, "a"), None, at(40)).is_err(), "and it is not taken back");
    registry.register(named(1, 160, "a"), None, at(160)).unwrap();
    assert_eq!(registry.holder(&"a".parse().unwrap(), at(160)), Some(id(1)));
    assert!(registry.register(named(2, 170, "a"), None, at(170)).is_err());
}

#[test]
fn an_expired_host_is_remembered_for_a_week() {
    let mut registry = Registry::new(Policy::default());
    registry.register(verified(1, 100), None, at(100)).unwrap();
    assert_eq!(registry.tidy(at(86_400)), []);
    let mut older = record(1, 86_400);
    older.sequence = 99;
    assert!(registry.register(sign(&older, 1).verify().unwrap(), None, at(86_400)).is_err(), "an old count never wins");
    assert_eq!(registry.tidy(at(8 * 86_400)), [id(1)]);
    assert_eq!(registry.entries().count(), 0);
}

#[test]
fn a_clock_that_was_put_back_keeps_nobody_live_for_longer() {
    let mut registry = Registry::new(Policy::default());
    registry.register(verified(1, 0), None, at(0)).unwrap();
    registry.tidy(at(-86_400));
    assert_eq!(registry.live(at(-86_400 + 119)).count(), 1);
    assert_eq!(registry.live(at(-86_400 + 120)).count(), 0);
}

#[test]
fn a_host_that_left_does_not_come_back_with_the_clock() {
    let mut registry = Registry::new(Policy::default());
    registry.register(verified(1, 0), None, at(0)).unwrap();
    registry.withdraw(&id(1), at(10));
    let time = registry.settle(at(5));
    assert_eq!((time, registry.live(time).count()), (at(5), 0));
}

#[test]
fn uptime_knows_absences() {
    let mut registry = Registry::new(patient());
    let record = verified(1, 0);
    for second in (0..=7200).step_by(30) {
        registry.register(record.clone(), None, at(second)).unwrap();
    }
    assert!(registry.get(&id(1)).unwrap().uptime(at(7200)).hour > 0.9999);
    registry.register(record, None, at(10_800)).unwrap();
    let uptime = registry.get(&id(1)).unwrap().uptime(at(10_800));
    assert!(uptime.hour < 0.6, "{uptime:?}");
    assert!(uptime.hour < uptime.day && uptime.day < uptime.week + 1e-2, "{uptime:?}");
}

#[test]
fn pages_show_every_match_once_in_order() {
    let mut registry = Registry::new(Policy { page_bytes_max: 1500, ..Policy::default() });
    for number in 1..=20 {
        registry.register(verified(number, 0), None, at(0)).unwrap();
    }
    for sort in ["id", "name", "price", "-cpu.available", "-name", "label.rack", "-uptime.day", "network-in.price"] {
        let sort: Sort = sort.parse().unwrap();
        let query = HostQuery { is_simulated: Some(true), sort, size: Some(4), ..HostQuery::default() };
        let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = registry.query(at(1), &HostQuery { after, ..query.clone() });
            assert!(page.total == 10 && (1..=4).contains(&page.hosts.len()));
            seen.extend(ids(&page.hosts));
            pages += 1;
            // A cursor travels as a text.
            after = page.next.map(|next| next.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        assert!(pages > 3, "pages are bounded in bytes too");
        let mut unique = seen.clone();
        unique.sort();
        unique.dedup();
        assert_eq!((seen.len(), unique.len()), (10, 10), "{query:?}");
        let facts = |id: &HostId| registry.get(id).unwrap().facts.clone();
        let offer = |id: &HostId| *facts(id).offer(ResourceKind::Cpu).unwrap();
        assert!(match query.sort.to_string().as_str() {
            "name" => seen.is_sorted_by_key(|id| facts(id).name),
            "-name" => seen.iter().rev().is_sorted_by_key(|id| facts(id).name),
            "cpu.price" => seen.is_sorted_by_key(|id| offer(id).bids),
            "-cpu.available" => seen.iter().rev().is_sorted_by_key(|id| offer(id).available),
            "label.rack" => seen.is_sorted_by_key(|id| facts(id).label("rack").unwrap().to_owned()),
            // All are equal in the rest.
            _ => seen.is_sorted(),
        });
    }
}

#[test]
fn a_page_has_its_place_though_the_host_before_it_has_gone() {
    let mut registry = Registry::new(Policy::default());
    for number in 1..=9 {
        registry.register(verified(number, 0), None, at(0)).unwrap();
    }
    let query = HostQuery { sort: "name".parse().unwrap(), size: Some(3), ..HostQuery::default() };
    let names = |page: &[&Entry]| page.iter().map(|entry| entry.facts.name.to_string()).collect::<Vec<_>>();
    let first = registry.query(at(1), &query);
    assert_eq!(names(&first.hosts), ["host1", "host2", "host3"]);
    let after = first.next;
    registry.withdraw(&id(3), at(2));
    let second = registry.query(at(3), &HostQuery { after, ..query });
    assert_eq!((names(&second.hosts), second.total), (["host4", "host5", "host6"].map(str::to_owned).into(), 8));
}

proptest! {
    /// Hosts 0 to 3 register under three names, with small sequences, while time goes on and now and then back.
    #[test]
    fn names_expiry_and_sequences_hold_whatever_happens(
        steps in proptest::collection::vec((0_u8..4, 0_u8..3, 0_u64..12, -5_i64..90, 0_u8..10), 1..60),
    ) {
        let mut registry = Registry::new(patient());
        let mut now = 1000_i64;
        // The model: each host's largest accepted sequence, and when it was accepted last.
        let mut accepted = BTreeMap::new();
        for (number, name, sequence, seconds, action) in steps {
            // A second back is one call that another overtook; more is a clock that was put back.
            let time = registry.settle(at(now + seconds));
            now = time.since(at(0)).micros() as i64 / 1_000_000;
            registry.tidy(time);
            if action == 0 {
                registry.withdraw(&id(number), at(now));
                accepted.entry(number).and_modify(|(_, seen)| *seen = i64::MIN);
            } else {
                let signed = named(number, name, sequence);
                let holder = registry.holder(&signed.record().name, at(now));
                let result = registry.register(signed, None, at(now)).map(drop);
                let current = accepted.get(&number).map(|(sequence, _)| *sequence);
                if current.is_some_and(|current| sequence < current) {
                    prop_assert!(matches!(result, Err(RegisterError::Stale { .. })), "an older sequence won");
                } else if holder.is_some_and(|holder| holder != id(number)) && current != Some(sequence) {
                    let is_refused = matches!(result, Err(RegisterError::NameTaken { .. }));
                    prop_assert!(is_refused, "a live host lost its name");
                } else if current != Some(sequence) {
                    prop_assert!(result.is_ok(), "{result:?}");
                }
                if result.is_ok() {
                    accepted.insert(number, (sequence, now));
                }
            }
            let mut names: Vec<_> = registry.live(at(now)).map(|entry| entry.facts.name.clone()).collect();
            let live = names.len();
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), live, "two live hosts have one name");
            for entry in registry.live(at(now)) {
                let said = &entry.facts;
                prop_assert_eq!(registry.holder(&said.name, at(now)), Some(said.host));
                let (number, (sequence, seen)) =
                    accepted.iter().find(|(number, _)| id(**number) == said.host).unwrap();
                prop_assert_eq!(said.sequence, *sequence, "host {} has another record", number);
                prop_assert!(now < *seen + 120 || *seen > now, "host {} should have expired", number);
            }
        }
    }
}

#[test]
fn hosts_are_found_by_labels_as_by_looking_at_each() {
    let mut registry = Registry::new(Policy { memory: TimeSpan::from_seconds(300), ..patient() });
    let labelled = |number: u8, sequence: u64, rack: &str, row: Option<&str>| {
        let mut said = record(number, 0);
        said.sequence = sequence;
        said.labels = BTreeMap::from([("rack".to_owned(), rack.to_owned())]);
        said.labels.extend(row.map(|row| ("row".to_owned(), row.to_owned())));
        sign(&said, number).verify().unwrap()
    };
    let find = |registry: &Registry, filter: &str, second| {
        let query = HostQuery { filter: Some(filter.parse().unwrap()), ..HostQuery::default() };
        let page = registry.query(at(second), &query);
        assert_eq!(page.total, page.hosts.len());
        ids(&page.hosts)
    };
    // What stands behind two `not`s is not looked up.
    let compare = |registry: &Registry, second| {
        for filter in [
            "label.rack = 1",
            "label.rack in (1, 2, 2)",
            "label.rack in (1, 3) and label.row = a",
            "label.row = a and cpu.capacity = 8 and label.rack != 2",
            "label.rack = 7",
            "label.rack = 1 and label.rack = 2",
            "label.rack = 1*",
            "label.rack = 1 or label.row = a",
        ] {
            let looked_at = find(registry, &format!("not (not ({filter}))"), second);
            assert_eq!(find(registry, filter, second), looked_at, "{filter} after {second} s");
        }
        let labels = vec![("rack".to_owned(), "1".to_owned())];
        let query = HostQuery { labels, ..HostQuery::default() };
        assert_eq!(ids(&registry.query(at(second), &query).hosts), find(registry, "label.rack = 1", second));
    };
    for number in 1..=12 {
        let (rack, row) = ((number % 4).to_string(), (number % 3 == 0).then_some("a"));
        registry.register(labelled(number, 1, &rack, row), None, at(0)).unwrap();
    }
    compare(&registry, 0);
    assert_eq!(find(&registry, "label.rack in (1, 2)", 0).len(), 6);
    // Two move, one loses a label, and one leaves.
    registry.register(labelled(1, 2, "2", None), None, at(60)).unwrap();
    registry.register(labelled(2, 2, "1", Some("a")), None, at(60)).unwrap();
    registry.register(labelled(3, 2, "3", None), None, at(60)).unwrap();
    registry.withdraw(&id(5), at(60));
    compare(&registry, 60);
    assert_eq!(find(&registry, "label.rack = 1", 60), {
        let mut left = vec![id(2), id(9)];
        left.sort();
        left
    });
    // All but the three have expired, then are forgotten, and one of these comes back.
    compare(&registry, 130);
    assert_eq!(registry.tidy(at(425)).len(), 9);
    compare(&registry, 130);
    registry.register(labelled(4, 9, "1", None), None, at(430)).unwrap();
    compare(&registry, 430);
    assert_eq!(find(&registry, "label.rack = 1", 430), [id(4)]);
}

#[test]
fn who_left_is_forgotten_after_the_memory_and_not_before() {
    let memory = TimeSpan::from_seconds(30);
    let mut registry = Registry::new(Policy { memory, ..patient() });
    registry.register(named(1, 1, 1), None, at(0)).unwrap();
    registry.register(named(2, 2, 1), None, at(0)).unwrap();
    // It leaves long before it would have expired.
    assert!(registry.withdraw(&id(1), at(10)));
    assert_eq!(registry.tidy(at(40)), []);
    assert_eq!(registry.tidy(at(41)), [id(1)]);
    // A clock that was put back: what is live expires by the new time, and is forgotten by it.
    registry.settle(at(-500));
    assert_eq!(registry.live(at(-400)).count(), 1);
    assert_eq!(registry.tidy(at(-380 + 30)), []);
    assert_eq!(registry.live(at(-350)).count(), 0);
    assert_eq!(registry.tidy(at(-380 + 31)), [id(2)]);
}
