//! What follows from calling hosts back: who is shown, who gives way, and who is refused.

use std::net::IpAddr;

use tycoon_market::TimeSpan;
use tycoon_sls::reach::{Connection, Standing};
use tycoon_sls::registry::{Callback, Judgement, RECHECK, RECHECK_UNVERIFIED, What};
use tycoon_sls::{HostRecord, Policy, RegisterError, Registry};

use super::scene::{at, id, record, sign};

fn registry() -> Registry {
    Registry::new(Policy { verifies: true, ..Policy::default() })
}

fn register(
    registry: &mut Registry,
    number: u8,
    seconds: i64,
    change: impl FnOnce(&mut HostRecord),
) -> Result<Standing, RegisterError> {
    let mut said = record(number, seconds);
    change(&mut said);
    let outside: IpAddr = [198, 51, 100, number].into();
    registry
        .register(sign(&said, number).verify().unwrap(), Some(outside), at(seconds))
        .map(|entry| entry.reach.standing)
}

fn due(registry: &mut Registry, seconds: i64) -> Vec<Callback> {
    registry.callbacks_due(at(seconds), 100)
}

fn found(standing: Standing, addresses: &[&str]) -> Judgement {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    Judgement::Accept { standing, connection: Some(Connection::Direct), addresses }
}

fn verified() -> Judgement {
    found(Standing::Verified, &[])
}

fn judge(registry: &mut Registry, number: u8, judgement: Judgement, seconds: i64) {
    let asked = due(registry, seconds).into_iter().find(|callback| callback.host == id(number)).expect("its turn");
    registry.judge(&asked, judgement, at(seconds));
}

fn told(registry: &mut Registry) -> Vec<(What, String)> {
    registry.take_changes().into_iter().map(|change| (change.what, change.name.to_string())).collect()
}

fn shown(registry: &Registry, seconds: i64) -> Vec<tycoon_market::HostId> {
    let mut shown: Vec<_> = registry.live(at(seconds)).map(|entry| entry.facts.host).collect();
    shown.sort();
    shown
}

#[test]
fn a_host_is_asked_at_once_then_now_and_then_and_when_it_has_moved() {
    let mut registry = registry();
    assert_eq!(register(&mut registry, 1, 0, |_| {}), Ok(Standing::Pending));
    judge(&mut registry, 1, verified(), 0);
    assert_eq!(register(&mut registry, 1, 30, |_| {}), Ok(Standing::Verified));
    assert_eq!(due(&mut registry, 30), []);
    for second in (60..RECHECK.seconds_f64() as i64).step_by(60) {
        register(&mut registry, 1, second, |_| {}).unwrap();
    }
    let again = RECHECK.seconds_f64() as i64;
    assert_eq!(due(&mut registry, again - 1), []);
    judge(&mut registry, 1, found(Standing::Unverified, &[]), again);
    register(&mut registry, 1, again + 50, |_| {}).unwrap();
    let unverified = again + RECHECK_UNVERIFIED.seconds_f64() as i64;
    assert_eq!(due(&mut registry, unverified - 1), []);
    judge(&mut registry, 1, verified(), unverified);
    register(&mut registry, 1, unverified + 1, |said| said.addresses = vec!["http://new.example.org:1".into()])
        .unwrap();
    assert_eq!(due(&mut registry, unverified + 1).len(), 1);
    use What::{Appeared, Changed, Unverified, Verified};
    let whats: Vec<What> = told(&mut registry).into_iter().map(|(what, _)| what).collect();
    assert_eq!(whats, [Appeared, Verified, Unverified, Verified, Changed]);
}

#[test]
fn a_verdict_on_an_address_that_was_left_meanwhile_counts_for_nothing() {
    let mut registry = registry();
    register(&mut registry, 1, 0, |_| {}).unwrap();
    let asked = due(&mut registry, 0).remove(0);
    register(&mut registry, 1, 10, |said| said.addresses = vec!["http://bank.example.org:80".into()]).unwrap();
    registry.judge(&asked, verified(), at(11));
    assert_eq!(registry.get(&id(1)).unwrap().reach.standing, Standing::Pending);
    assert_eq!(due(&mut registry, 11).len(), 1, "it is asked at the new one");
}

#[test]
fn whoever_is_rejected_is_gone_and_refused_for_a_while() {
    let mut registry = registry();
    register(&mut registry, 1, 0, |_| {}).unwrap();
    judge(&mut registry, 1, Judgement::Reject { reason: "somebody else answers there".into() }, 1);
    assert!(shown(&registry, 1).is_empty());
    let refused = register(&mut registry, 1, 10, |_| {}).unwrap_err();
    let wait = TimeSpan::from_seconds(21);
    assert_eq!(refused, RegisterError::NotThere { reason: "somebody else answers there".into(), wait });
    assert_eq!(register(&mut registry, 1, 32, |_| {}), Ok(Standing::Pending), "then it is asked anew");
    assert_eq!(told(&mut registry)[..2], [(What::Appeared, "host1".into()), (What::Rejected, "host1".into())]);
}

#[test]
fn a_verified_host_takes_its_name_from_whoever_only_claims_it() {
    let mut registry = registry();
    let host1 = |said: &mut HostRecord| said.name = "host1".parse().unwrap();
    register(&mut registry, 2, 0, host1).unwrap();
    judge(&mut registry, 2, found(Standing::Unverified, &[]), 0);
    assert_eq!(register(&mut registry, 1, 10, |_| {}), Ok(Standing::Pending));
    assert_eq!(shown(&registry, 10), [id(2)], "until it is verified it is not shown");
    judge(&mut registry, 1, verified(), 11);
    assert_eq!(shown(&registry, 11), [id(1)]);
    assert_eq!(registry.holder(&"host1".parse().unwrap(), at(11)), Some(id(1)));
    let taken = register(&mut registry, 2, 20, host1).unwrap_err();
    assert_eq!(taken, RegisterError::NameTaken { name: "host1".parse().unwrap(), holder: id(1) });
}

#[test]
fn whoever_cannot_be_verified_gets_no_name_that_another_has() {
    let mut registry = registry();
    let host1 = |said: &mut HostRecord| said.name = "host1".parse().unwrap();
    register(&mut registry, 1, 0, |_| {}).unwrap();
    judge(&mut registry, 1, found(Standing::Unverified, &[]), 0);
    register(&mut registry, 2, 10, host1).unwrap();
    judge(&mut registry, 2, found(Standing::Unverified, &[]), 11);
    assert_eq!(shown(&registry, 11), [id(1)]);
    let refused = register(&mut registry, 2, 20, host1).unwrap_err();
    assert!(refused.to_string().contains("`host1` is held"), "{refused}");
}

#[test]
fn a_verified_host_takes_its_address_from_whoever_only_claims_it() {
    const PLACE: &str = "http://host1.example.org:7700";
    let mut registry = registry();
    register(&mut registry, 2, 0, |said| said.addresses = vec!["http://HOST1.example.org:7700/".into()]).unwrap();
    judge(&mut registry, 2, found(Standing::Unverified, &[]), 0);
    register(&mut registry, 1, 10, |_| {}).unwrap();
    assert_eq!(shown(&registry, 10).len(), 2, "two hosts behind two gateways may have one private address");
    judge(&mut registry, 1, found(Standing::Verified, &[PLACE]), 11);
    assert_eq!(shown(&registry, 11), [id(1)]);
    assert!(told(&mut registry).contains(&(What::Superseded, "host2".into())));
    // It comes back while the owner is silent, and nobody answers: the owner stays.
    register(&mut registry, 2, 20, |said| said.addresses = vec![PLACE.into()]).unwrap();
    judge(&mut registry, 2, found(Standing::Unverified, &[]), 21);
    assert_eq!(shown(&registry, 21), [id(1)]);
    // A new key at the same address: whoever answers there now has it, and the old one is asked.
    register(&mut registry, 3, 30, |said| said.addresses = vec![PLACE.into()]).unwrap();
    judge(&mut registry, 3, found(Standing::Verified, &[PLACE]), 31);
    assert_eq!(due(&mut registry, 31).iter().map(|callback| callback.host).collect::<Vec<_>>(), [id(1)]);
}

#[test]
fn hosts_behind_gateways_with_one_private_address_do_not_displace_each_other() {
    const PRIVATE: &str = "http://10.0.0.5:7700";
    let mut registry = registry();
    for (number, outside) in [(1, "http://198.51.100.1:7700"), (2, "http://198.51.100.2:7700")] {
        register(&mut registry, number, 0, |said| said.addresses = vec![PRIVATE.into()]).unwrap();
        judge(&mut registry, number, found(Standing::Verified, &[outside]), 1);
    }
    assert_eq!(shown(&registry, 2).len(), 2);
    assert_eq!(due(&mut registry, 2), []);
}
