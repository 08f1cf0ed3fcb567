//! What the bank survives, and what stops it: torn and damaged journals, lost and damaged indexes, kills at any moment.

mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use site::{Site, open, secret, sled_store};
use tycoon_bank::audit::audit;
use tycoon_bank::journal::{Check, JournalError};
use tycoon_bank::ledger::{AccountKind, Answer, Operation};
use tycoon_bank::store::{MemoryStore, Store};
use tycoon_bank::{Bank, BankError, Options, Registration};
use tycoon_market::{AccountId, Credits, TimeSpan, Timestamp, TransferId};
use tycoon_rpc::{FixedClock, Signer as _};

const ISSUER: u8 = 2;
const JANE: u8 = 3;
const JOE: u8 = 4;

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)))
}

fn id(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

fn open_account(bank: &Bank, party: u8) {
    let key = secret(party).public_key();
    bank.commit(Operation::OpenAccount { key, kind: AccountKind::User, label: String::new(), opener: None }, None)
        .unwrap();
}

fn transfer(number: u8) -> Operation {
    Operation::Transfer {
        id: TransferId::from_bytes([number; 16]),
        payer: id(JANE),
        payee: id(JOE),
        amount: Credits::from_micros(1),
        memo: String::new(),
        by: secret(JANE).public_key(),
    }
}

fn balance(bank: &Bank, party: u8) -> i64 {
    bank.read(|store| store.account(&id(party))).unwrap().unwrap().balance.micros()
}

/// Two accounts, 100 micro-credits with Jane.
fn furnish(bank: &Bank) {
    open_account(bank, JANE);
    open_account(bank, JOE);
    let issue = Operation::Issue {
        id: TransferId::from_bytes([0; 16]),
        to: id(JANE),
        amount: Credits::from_micros(100),
        memo: String::new(),
        by: secret(ISSUER).public_key(),
    };
    bank.commit(issue, None).unwrap();
}

/// A closed bank with `transfers` transfers, its journal in segments of about `segment_bytes`.
fn written(folder: &Path, segment_bytes: u64, transfers: u8) -> PathBuf {
    let journal = folder.join("journal");
    let options = Options { segment_bytes, ..Options::new(journal.clone()) };
    let (bank, _) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    furnish(&bank);
    for number in 1..=transfers {
        bank.commit(transfer(number), None).unwrap();
    }
    journal
}

fn segments(journal: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(journal).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "journal")).collect();
    files.sort();
    files
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn reopen(journal: &Path) -> Result<(Arc<Bank>, tycoon_bank::Recovery), BankError> {
    open(Options::new(journal.to_owned()), Arc::new(MemoryStore::new()), &clock())
}

#[test]
fn a_record_cut_off_anywhere_is_removed_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let journal = written(folder.path(), u64::MAX, 3);
    let file = segments(&journal).remove(0);
    let whole = fs::read(&file).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in last..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        let (bank, recovery) = reopen(&journal).unwrap();
        let cut = recovery.cut.map(|cut| (cut.file, cut.offset, cut.bytes));
        let expected = (length > last).then(|| (file.clone(), last as u64, (length - last) as u64));
        assert_eq!(cut, expected);
        assert_eq!(balance(&bank, JOE), 2, "the third transfer was never told to anybody");
        bank.commit(transfer(3), None).unwrap();
        assert_eq!(balance(&bank, JOE), 3);
        drop(bank);
        assert_eq!(fs::read(&file).unwrap(), whole, "what is written again is the same");
    }
}

#[test]
fn a_changed_bit_anywhere_stops_the_start_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let journal = written(folder.path(), u64::MAX, 2);
    let file = segments(&journal).remove(0);
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, &changed).unwrap();
        let refused = reopen(&journal).map(|_| ()).unwrap_err();
        let BankError::Journal(error) = &refused else { panic!("byte {at}: {refused}") };
        let JournalError::Damaged { file: named, offset, .. } = &**error else { panic!("byte {at}: {refused}") };
        assert_eq!(*named, file);
        let line = whole[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        assert_eq!(*offset, line as u64, "byte {at}: {refused}");
        assert_eq!(fs::read(&file).unwrap(), changed, "nothing was repaired behind anybody's back");
    }
}

/// Changes the lines of a file.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(file).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(file, lines.join("\n") + "\n").unwrap();
}

#[test]
fn missing_moved_and_repeated_records_and_files_stop_the_start() {
    type Change = fn(&[PathBuf]);
    let changes: [(&str, Change); 9] = [
        ("a record is missing", |files| edit(&files[0], |lines| drop(lines.remove(2)))),
        ("a record stands twice", |files| edit(&files[0], |lines| lines.insert(2, lines[2].clone()))),
        ("records are swapped", |files| edit(&files[0], |lines| lines.swap(1, 2))),
        ("an earlier segment is cut", |files| edit(&files[0], |lines| drop(lines.pop()))),
        ("an earlier segment is torn", |files| {
            let text = fs::read(&files[0]).unwrap();
            fs::write(&files[0], &text[..text.len() - 10]).unwrap();
        }),
        ("the first segment is missing", |files| fs::remove_file(&files[0]).unwrap()),
        ("a segment in the middle is missing", |files| fs::remove_file(&files[1]).unwrap()),
        ("a segment is empty", |files| fs::write(&files[1], "").unwrap()),
        ("the last segment is empty", |files| fs::write(files.last().unwrap(), "").unwrap()),
    ];
    for (what, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let journal = written(folder.path(), 1500, 10);
        let files = segments(&journal);
        assert!(files.len() >= 3, "{files:?}");
        change(&files);
        let refused = reopen(&journal).map(|_| ()).unwrap_err();
        assert!(
            matches!(&refused, BankError::Journal(error) if matches!(**error, JournalError::Damaged { .. })),
            "{what}: {refused}"
        );
    }
}

#[test]
fn a_journal_that_lost_its_end_is_found_out_by_the_index() {
    for check in [Check::Everything, Check::Tail] {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let options = Options { segment_bytes: 1500, check, ..Options::new(folder.path().join("journal")) };
        let (bank, _) = open(options.clone(), store.clone(), &clock()).unwrap();
        furnish(&bank);
        for number in 1..=10 {
            bank.commit(transfer(number), None).unwrap();
        }
        drop(bank);
        let files = segments(&options.journal);
        edit(files.last().unwrap(), |lines| drop(lines.pop()));
        let refused = open(options.clone(), store.clone(), &clock()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("records are missing"), "{refused}");
        fs::remove_file(files.last().unwrap()).unwrap();
        let refused = open(options.clone(), store.clone(), &clock()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("records are missing"), "{refused}");
        files.iter().filter(|file| file.exists()).for_each(|file| fs::remove_file(file).unwrap());
        let refused = open(options, store, &clock()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("records are missing"), "{refused}");
    }
}

#[test]
fn a_journal_with_another_history_than_the_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let options = Options::new(folder.path().join("journal"));
    let copy = folder.path().join("copy");
    let (bank, _) = open(options.clone(), store.clone(), &clock()).unwrap();
    furnish(&bank);
    drop(bank);
    copy_folder(&options.journal, &copy);
    let (bank, _) = open(options.clone(), store, &clock()).unwrap();
    bank.commit(transfer(1), None).unwrap();
    drop(bank);
    // The copy is used by mistake, and goes another way.
    let other: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (bank, _) = open(Options::new(copy), other.clone(), &clock()).unwrap();
    bank.commit(transfer(2), None).unwrap();
    drop(bank);
    let refused = open(options, other, &clock()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("another record 5"), "{refused}");
}

#[test]
fn a_segment_is_followed_by_the_next_and_all_are_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let journal = written(folder.path(), 1500, 20);
    assert!(segments(&journal).len() > 5);
    let (bank, recovery) = reopen(&journal).unwrap();
    assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (80, 20));
    assert_eq!(recovery.replayed, 24);
    drop(bank);
    assert!(audit(&journal, None).unwrap().is_clean());
}

#[test]
fn two_processes_cannot_write_one_journal() {
    let site = Site::new(Registration::Open);
    let refused = reopen(&site.journal()).map(|_| ()).unwrap_err();
    assert!(matches!(&refused, BankError::Journal(error) if matches!(**error, JournalError::InUse { .. })));
}

#[test]
fn a_ledger_belongs_to_its_bank() {
    let folder = tempfile::tempdir().unwrap();
    let journal = written(folder.path(), u64::MAX, 0);
    let other = Bank::open(
        Options::new(journal),
        Arc::new(MemoryStore::new()),
        Arc::new(secret(77)),
        clock(),
        secret(ISSUER).public_key(),
    );
    assert!(matches!(other.map(|_| ()), Err(BankError::OtherKey { .. })));
}

#[test]
fn an_index_that_is_lost_lags_or_is_damaged_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { check: Check::Tail, ..Options::new(folder.path().join("journal")) };
    let index = folder.path().join("index");
    let store = sled_store(&index);
    let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
    assert!(recovery.founded);
    furnish(&bank);
    drop((bank, store));

    let store = sled_store(&index);
    let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
    assert_eq!(recovery, tycoon_bank::Recovery::default(), "an index that is current is used as it is");
    drop((bank, store));
    let old = folder.path().join("old");
    copy_tree(&index, &old);

    let store = sled_store(&index);
    let (bank, _) = open(options.clone(), store.clone(), &clock()).unwrap();
    bank.commit(transfer(1), None).unwrap();
    bank.commit(transfer(2), None).unwrap();
    drop((bank, store));

    let store = sled_store(&old);
    let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
    assert_eq!((recovery.replayed, recovery.rebuilt.clone()), (2, None), "the old index lacks two records");
    assert_eq!(balance(&bank, JOE), 2);
    drop((bank, store));

    let store = sled_store(&folder.path().join("new"));
    let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
    assert_eq!(recovery.replayed, 6, "a lost index lacks all");
    assert_eq!(balance(&bank, JOE), 2);
    drop(bank);
    assert!(audit(&options.journal, Some(&*store)).unwrap().is_clean());
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            copy_tree(&file.path(), &to.join(file.file_name()));
        } else {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

#[test]
fn every_damaged_row_of_the_index_is_found_and_the_index_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { check: Check::Tail, ..Options::new(folder.path().join("journal")) };
    let database = sled::Config::new().temporary(true).flush_every_ms(None).open().unwrap();
    let tree = database.open_tree("bank").unwrap();
    let store: Arc<dyn Store> = Arc::new(tycoon_bank::store::SledStore::in_tree(tree.clone()));
    let (bank, _) = open(options.clone(), store.clone(), &clock()).unwrap();
    furnish(&bank);
    bank.commit(transfer(1), None).unwrap();
    bank.flush().unwrap();
    let keys: Vec<_> = tree.iter().keys().map(Result::unwrap).collect();
    assert!(keys.len() > 10, "{keys:?}");
    for key in &keys {
        let row = tree.get(key).unwrap().unwrap();
        for damage in [&b""[..], b"xx", b"not a row at all"] {
            tree.insert(key, damage).unwrap();
            assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (99, 1));
            let Answer::Transfer(earlier) = bank.commit(transfer(1), None).unwrap() else { panic!() };
            assert_eq!(earlier.record, 5);
        }
        tree.insert(key, row).unwrap();
    }
    drop(bank);
    for key in [&b"h"[..], b"b"] {
        tree.insert(key, b"damaged").unwrap();
        let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
        assert!(recovery.rebuilt.is_some(), "{recovery:?}");
        assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (99, 1));
    }
    // An index as an older program left it.
    let form = b"2";
    tree.insert("v", [&crc32fast::hash(form).to_be_bytes()[..], form].concat()).unwrap();
    let (bank, recovery) = open(options.clone(), store.clone(), &clock()).unwrap();
    assert!(recovery.rebuilt.is_some_and(|reason| reason.contains("the form of another version")));
    assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (99, 1));
    drop(bank);
    assert!(audit(&options.journal, Some(&*store)).unwrap().is_clean());
}

#[test]
fn a_kill_at_any_write_loses_nothing_that_was_told_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let (copies, from) = (Arc::new(Mutex::new(Vec::new())), journal.clone());
    let (keep, parent) = (copies.clone(), folder.path().to_owned());
    // What is on disk at each place where the process may be killed.
    let hook = move |place: &str| {
        let mut copies = keep.lock().unwrap();
        let copy = parent.join(format!("copy{}", copies.len()));
        copy_folder(&from, &copy);
        copies.push((place.to_owned(), copy));
    };
    let options = Options { segment_bytes: 1500, hook: Some(Arc::new(hook)), ..Options::new(journal) };
    let (bank, _) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    furnish(&bank);
    let mut told = Vec::new();
    for number in 1..=5 {
        bank.commit(transfer(number), None).unwrap();
        told.push((copies.lock().unwrap().len(), number));
    }
    drop(bank);
    let copies = copies.lock().unwrap();
    assert!(copies.iter().any(|(place, _)| place == "bank:before-segment"), "a new segment was begun too");
    for (index, (place, copy)) in copies.iter().enumerate() {
        let (bank, recovery) = reopen(copy).unwrap();
        assert_eq!(recovery.cut, None, "a write is whole or not there when a process is killed around it");
        if bank.books().unwrap().accounts < 3 || bank.books().unwrap().issued.is_zero() {
            continue;
        }
        let told = told.iter().filter(|(after, _)| *after <= index).count() as i64;
        assert!((told..=told + 1).contains(&balance(&bank, JOE)), "killed at {place} {index}");
        // The client does not know whether it was done, and asks again.
        for number in 1..=5 {
            bank.commit(transfer(number), None).unwrap();
        }
        assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (95, 5), "killed at {place} {index}");
        drop(bank);
        assert!(audit(copy, None).unwrap().is_clean());
    }
}

#[test]
fn a_bank_whose_write_was_interrupted_writes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let armed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_armed = armed.clone();
    let hook = move |place: &str| {
        assert!(place != "bank:after-write" || !is_armed.load(std::sync::atomic::Ordering::SeqCst), "stopped here");
    };
    let options = Options { hook: Some(Arc::new(hook)), ..Options::new(folder.path().join("journal")) };
    let (bank, _) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    furnish(&bank);
    armed.store(true, std::sync::atomic::Ordering::SeqCst);
    let stopped = bank.commit(transfer(1), None).unwrap_err();
    assert!(stopped.to_string().contains("interrupted"), "{stopped}");
    armed.store(false, std::sync::atomic::Ordering::SeqCst);
    let refused = bank.commit(transfer(2), None).unwrap_err();
    assert!(refused.to_string().contains("restart the bank"), "{refused}");
}

#[test]
fn the_ledger_s_time_never_goes_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = clock();
    let (bank, _) = open(Options::new(folder.path().join("journal")), Arc::new(MemoryStore::new()), &clock).unwrap();
    furnish(&bank);
    let Answer::Transfer(first) = bank.commit(transfer(1), None).unwrap() else { panic!() };
    clock.set(Timestamp::from_seconds(5));
    let Answer::Transfer(second) = bank.commit(transfer(2), None).unwrap() else { panic!() };
    assert_eq!(second.at, first.at);
    clock.set(first.at.plus(TimeSpan::from_seconds(1)));
    let Answer::Transfer(third) = bank.commit(transfer(3), None).unwrap() else { panic!() };
    assert!(third.at > second.at);
}

#[test]
fn many_threads_share_syncs_and_every_credit_stays() {
    let folder = tempfile::tempdir().unwrap();
    let syncs = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = syncs.clone();
    let hook = move |place: &str| {
        if place == "bank:after-sync" {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    };
    let options = Options { hook: Some(Arc::new(hook)), ..Options::new(folder.path().join("journal")) };
    let store = sled_store(&folder.path().join("index"));
    let (bank, _) = open(options.clone(), store.clone(), &clock()).unwrap();
    furnish(&bank);
    let refused = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (bank, refused) = (&bank, &refused);
            scope.spawn(move || {
                for number in 0..20 {
                    // Every transfer is asked for by two threads.
                    match bank.commit(transfer(number + (thread / 2) * 20 + 1), None) {
                        Ok(_) => {}
                        Err(BankError::Refused(_)) => {
                            refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!((balance(&bank, JANE), balance(&bank, JOE)), (20, 80));
    assert_eq!(refused.into_inner(), 0, "what one thread did is the answer of the other");
    let head = bank.read(|store| store.head()).unwrap().record;
    assert_eq!(head, 4 + 80, "each transfer is recorded once");
    assert!(syncs.load(std::sync::atomic::Ordering::SeqCst) <= 84);
    drop(bank);
    let audit = audit(&options.journal, Some(&*store)).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
}

#[test]
fn segments_that_were_put_away_are_read_and_copied_with_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let journal = written(folder.path(), 600, 20);
    let before = segments(&journal).len();
    let old = folder.path().join("old");
    let head = audit(&journal, None).unwrap().head;
    let away = tycoon_bank::journal::archive(&journal, &old, 3).unwrap();
    assert_eq!((away, segments(&journal).len()), (before - 3, 3));
    assert_eq!(tycoon_bank::journal::archive(&journal, &old, 3).unwrap(), 0, "again puts nothing away");
    assert_eq!(audit(&journal, None).unwrap().head, head);

    // One that a stop left in both places counts once.
    let twice = segments(&old).pop().unwrap();
    fs::copy(&twice, journal.join(twice.file_name().unwrap())).unwrap();
    assert_eq!(audit(&journal, None).unwrap().head, head);

    let copy = folder.path().join("copy");
    assert_eq!(tycoon_bank::journal::copy(&journal, &copy).unwrap(), head);
    assert_eq!(audit(&copy, None).unwrap().head, head);
    assert!(tycoon_bank::journal::copy(&journal, &copy).is_err(), "a copy never overwrites another");

    let (bank, _) = open(Options::new(journal.clone()), Arc::new(MemoryStore::new()), &clock()).unwrap();
    assert_eq!(balance(&bank, JOE), 20);
    drop(bank);
    fs::rename(&old, folder.path().join("unmounted")).unwrap();
    let missing = open(Options::new(journal), Arc::new(MemoryStore::new()), &clock()).err().unwrap().to_string();
    assert!(missing.contains("put away in"), "{missing}");
}

#[test]
fn a_copy_of_a_journal_that_is_written_meanwhile_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let options = Options { segment_bytes: 2_000, ..Options::new(journal.clone()) };
    let (bank, _) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    furnish(&bank);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| (1..=100).for_each(|number| drop(bank.commit(transfer(number), None).unwrap())));
        let mut number = 0;
        while !writing.is_finished() {
            let told = bank.last_record();
            let copy = folder.path().join(format!("copy{number}"));
            let head = tycoon_bank::journal::copy(&journal, &copy).unwrap();
            assert!(head.record >= told, "what was told before the copy began is in it");
            assert!(audit(&copy, None).unwrap().is_clean());
            number += 1;
        }
    });
}
