//! The door over SSH: whose a key is, and what that account may bring.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use tycoon_market::ResourceKind;
use tycoon_xen::entry::{Answer, EntryServer, Question, ask};

use super::scene::*;

#[test]
fn keys_of_accounts_are_told_and_strangers_are_told_apart_and_held_off() {
    let scene = Scene::new();
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("keys.sock");
    let door = EntryServer::start(&socket, Vec::new(), scene.daemon().clone()).unwrap();
    let account = |party: Party| ask(&socket, &Question::Key(party.key())).unwrap();
    assert_eq!(account(ALICE), Answer::Account(ALICE.account()));
    assert_eq!(account(BOB), Answer::Stranger);
    // What is no question gets no answer, and ends nothing.
    for nonsense in ["\n", "ban everybody\n", "key ssh-rsa AAAA\n", &format!("key {}\n", "x".repeat(9_000)), "half"] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let _ = stream.write_all(nonsense.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said);
        assert_eq!(said, "", "{nonsense:?}");
    }
    // A flood of keys that nobody knows holds off strangers, and not those who have accounts.
    let answers: Vec<Answer> = (0..60).map(|_| account(BOB)).collect();
    assert!(answers.contains(&Answer::Busy), "{answers:?}");
    assert_eq!(account(ALICE), Answer::Account(ALICE.account()));
    drop(door);
    assert!(!socket.exists(), "the door is closed with the host");
    assert!(ask(&socket, &Question::Key(ALICE.key())).is_err());
}

#[test]
fn an_account_may_bring_as_much_as_its_bids_reserve_of_the_disk() {
    let scene = Scene::new();
    let may = |party: Party| scene.daemon().upload_bytes(&party.account());
    assert_eq!(may(ALICE), 0, "who has no account pays for nothing");
    scene.fund(ALICE, "hello", "10");
    assert_eq!(may(ALICE), 0, "who bids for nothing pays for nothing");
    scene.bring_up(ALICE, "hello", "10", HOUR);
    let minimum = bid(HOUR, 1).preferences()[&ResourceKind::Disk].min;
    let reserved = minimum.of(scene.host(ALICE).offers(&pool("hello")).unwrap().offers[&ResourceKind::Disk].capacity);
    assert!(reserved.amount() > 0);
    assert_eq!(may(ALICE), reserved.amount());
    assert_eq!(may(BOB), 0);
    // The account runs dry: nothing more is brought, and the way in stays.
    scene.pass_hours(300);
    assert_eq!(may(ALICE), 0);
    assert_eq!(scene.daemon().account_of_key(&ALICE.key()).unwrap(), Some(ALICE.account()));
}
