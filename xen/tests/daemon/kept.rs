//! Volumes that stay when their domain goes: unpaid and for a while, found by their owner and by nobody else.

use tycoon_market::ResourceKind;
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::spec::{DomainSpec, KeepVolumes};
use tycoon_xen::status::DomainStatus;

use super::scene::*;

fn keeping() -> DomainSpec {
    DomainSpec { keep_volumes: KeepVolumes::Always, ..spec("web.0") }
}

fn absent(keep: &[&str]) -> Request {
    let keep = keep.iter().map(|name| (*name).to_owned()).collect();
    Request::EnsureAbsent { pool: pool("hello"), generation: 1, path: keeping().path, keep }
}

fn nothing_kept() -> Request {
    Request::EnsureNothingKept { pool: pool("hello"), path: keeping().path }
}

/// Alice's pool came up and went down, and her root volume was kept.
fn kept_scene() -> (Scene, DomainStatus) {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &keeping());
    let answer = scene.ask(ALICE, absent(&["root"])).unwrap();
    let Answer::Ensured { changed: true, domain: Some(left) } = answer else { panic!("{answer:?}") };
    scene.close(ALICE, "hello").unwrap();
    (scene, left)
}

#[test]
fn what_is_kept_stays_unpaid_for_the_grace_of_disks_and_no_longer() {
    let (scene, left) = kept_scene();
    let kept = left.kept.clone().unwrap();
    assert_eq!(kept.until, scene.now().plus(scene.config.disk_grace));
    assert_eq!(kept.volumes, keeping().volumes);
    let balance = scene.balance(ALICE);
    scene.pass_hours(6 * 24);
    assert_eq!(scene.domain(ALICE, "hello"), Some(left), "a closed account does not end it");
    scene.pass_hours(25);
    assert_eq!(scene.domains(), []);
    assert_eq!(scene.balance(ALICE), balance);
    scene.check_money();
}

#[test]
fn the_next_domain_of_the_name_takes_it_up() {
    let (scene, _) = kept_scene();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &keeping());
    let domain = scene.domain(ALICE, "hello").unwrap();
    assert_eq!((domain.kept, domain.adopted), (None, vec!["root".to_owned()]));
    assert_eq!(scene.account(ALICE, "hello").unwrap().pool, pool("hello"));
    scene.pass_hours(2);
    assert!(scene.domain(ALICE, "hello").is_some(), "its time is not counted any more");
}

#[test]
fn what_is_kept_takes_nothing_of_what_is_paid_for_other_domains() {
    let (scene, _) = kept_scene();
    scene.fund(ALICE, "hello", "10");
    // For one domain, and that is another.
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &spec("web.1"));
    let refusal = scene.ask(ALICE, making("hello", &keeping()).swap_remove(1));
    assert!(matches!(refusal, Err(HostError::BeyondReservation { .. })), "two are not paid for: {refusal:?}");
}

#[test]
fn nobody_else_reaches_what_is_kept() {
    let (scene, left) = kept_scene();
    for request in [absent(&[]), absent(&["root"]), nothing_kept(), Request::Inspect { pool: None }] {
        let answer = scene.ask(BOB, request);
        let is_empty = match &answer {
            Ok(Answer::Domains { domains }) => domains.is_empty(),
            Ok(Answer::Ensured { changed, domain }) => !changed && domain.is_none(),
            Err(_) => true,
        };
        assert!(is_empty, "{answer:?}");
    }
    scene.bring_up(BOB, "hello", "10", HOUR);
    assert_eq!(scene.domain(BOB, "hello").unwrap().adopted, Vec::<String>::new());
    assert_eq!(scene.domain(ALICE, "hello"), Some(left));
}

#[test]
fn the_space_of_what_is_kept_is_offered_to_its_owner_alone() {
    let (scene, _) = kept_scene();
    let available = |party| scene.host(party).offers(&pool("hello")).unwrap().offers[&ResourceKind::Disk].available;
    assert_eq!(available(ALICE).amount() - available(BOB).amount(), 4 * GIB);
}

#[test]
fn it_is_removed_when_its_owner_says_so_and_a_domain_is_not() {
    let (scene, _) = kept_scene();
    let gone = Answer::Ensured { changed: true, domain: None };
    assert_eq!(scene.ask(ALICE, nothing_kept()), Ok(gone));
    assert_eq!(scene.ask(ALICE, nothing_kept()), Ok(Answer::Ensured { changed: false, domain: None }));
    assert_eq!(scene.domains(), []);
    scene.bring_up(ALICE, "hello", "10", HOUR);
    assert!(matches!(scene.ask(ALICE, nothing_kept()), Err(HostError::BadRequest { .. })));
    assert!(scene.domain(ALICE, "hello").unwrap().state.is_active());
}

#[test]
fn an_account_that_is_closed_keeps_what_the_description_says() {
    let scene = Scene::new();
    scene.fund(ALICE, "hello", "10");
    scene.bid(ALICE, "hello", bid(HOUR, 1)).unwrap();
    scene.start(ALICE, "hello", &keeping());
    scene.close(ALICE, "hello").unwrap();
    scene.pass(10);
    assert!(scene.domain(ALICE, "hello").unwrap().kept.is_some());
}
