//! Operations that wait together are written together, and whatever becomes of a write, nobody waits for ever.

mod site;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use site::secret;
use tycoon_bank::bank::{Backend, BankError};
use tycoon_bank::evidence::Written;
use tycoon_bank::journal::Record;
use tycoon_bank::ledger::{AccountKind, Answer, Operation, TransferOrder};
use tycoon_bank::store::{MemoryStore, SledStore, Store, StoreError};
use tycoon_bank::{Bank, Options};
use tycoon_market::{AccountId, Credits, Timestamp, TransferId};
use tycoon_rpc::{FixedClock, Signer as _};

/// Books that note how many operations came at a time, and stop with a panic where they are told to.
struct Watched {
    books: tycoon_bank::journal_books::JournalBooks,
    batches: Arc<Mutex<Vec<usize>>>,
    panics_at: usize,
    writes: Arc<AtomicUsize>,
    /// The second write waits here until all others have come.
    all_there: Arc<Barrier>,
}

impl Backend for Watched {
    fn read(&self, read: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>) -> Result<(), BankError> {
        self.books.read(read)
    }

    fn write(&self, at: Timestamp, payloads: &[&Written]) -> Result<Vec<Result<Answer, BankError>>, BankError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        self.batches.lock().unwrap().push(payloads.len());
        if number == 1 {
            self.all_there.wait();
        }
        assert_ne!(number, self.panics_at, "this write stops half-way");
        self.books.write(at, payloads)
    }

    fn flush(&self) -> Result<(), BankError> {
        self.books.flush()
    }

    fn check(&self) -> Result<(), BankError> {
        self.books.check()
    }

    fn records(&self, visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>) -> Result<(), BankError> {
        self.books.records(visit)
    }
}

const OTHERS: u8 = 20;

fn open_account(bank: &Bank, party: u8) -> Result<Answer, BankError> {
    let key = secret(party).public_key();
    bank.commit(Operation::OpenAccount { key, kind: AccountKind::User, label: String::new(), opener: None }, None)
}

/// Lets one operation be written while all others come, and returns how many came at a time, and who failed.
fn batches(panics_at: usize) -> (Vec<usize>, usize) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("journal"));
    let (books, _) = tycoon_bank::journal_books::JournalBooks::open(&options, Arc::new(MemoryStore::new())).unwrap();
    let (batches, all_there) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Barrier::new(2)));
    let writes = Arc::new(AtomicUsize::new(0));
    let watched =
        Watched { books, batches: batches.clone(), panics_at, writes: writes.clone(), all_there: all_there.clone() };
    let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
    let (bank, _) = Bank::over(Box::new(watched), Arc::new(secret(1)), clock, secret(2).public_key()).unwrap();
    let failed = std::thread::scope(|scope| {
        let bank = &bank;
        let first = scope.spawn(move || open_account(bank, 9));
        while writes.load(Ordering::SeqCst) < 2 {
            std::thread::yield_now();
        }
        let others = (0..OTHERS).map(|party| scope.spawn(move || open_account(bank, party + 10)));
        let people: Vec<_> = std::iter::once(first).chain(others).collect();
        while bank.waiting() < usize::from(OTHERS) {
            std::thread::yield_now();
        }
        all_there.wait();
        people.into_iter().filter_map(|person| person.join().ok()).filter(|outcome| outcome.is_err()).count()
    });
    open_account(&bank, 100).expect("the next one is done");
    let batches = batches.lock().unwrap().clone();
    (batches, failed)
}

#[test]
fn who_comes_while_another_writes_is_written_with_all_that_wait() {
    assert_eq!(batches(usize::MAX), (vec![1, 1, usize::from(OTHERS), 1], 0));
}

#[test]
fn a_write_that_is_interrupted_holds_nobody_up() {
    // The first of the people is told that it is not known; the others are written after her.
    assert_eq!(batches(1), (vec![1, 1, usize::from(OTHERS), 1], 1));
    // All others are told so, because they were written together.
    assert_eq!(batches(2), (vec![1, 1, usize::from(OTHERS), 1], usize::from(OTHERS)));
}

#[test]
fn whoever_pays_and_reads_while_the_index_is_written_sees_everything() {
    const BATCHES: u64 = 60;
    const EACH: u64 = 256;
    let folder = tempfile::tempdir().unwrap();
    let (payer, payee) = (AccountId::of(&secret(9).public_key()), AccountId::of(&secret(10).public_key()));
    let id = |number: u64| TransferId::from_bytes((u128::from(number) << 64 | 1).to_be_bytes());
    let open = || {
        let store = SledStore::open_folder(&folder.path().join("index")).unwrap();
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
        let options = Options::new(folder.path().join("journal"));
        Bank::open(options, Arc::new(store), Arc::new(secret(1)), clock, secret(2).public_key()).unwrap()
    };
    let (bank, _) = open();
    [9, 10].into_iter().for_each(|party| drop(open_account(&bank, party).unwrap()));
    let amount = Credits::from_micros(1_000_000);
    let by = secret(2).public_key();
    bank.commit(Operation::Issue { id: id(u64::MAX), to: payer, amount, memo: String::new(), by }, None).unwrap();
    for batch in 0..BATCHES {
        let order = |number| TransferOrder {
            id: id(number),
            payer,
            payee,
            amount: Credits::from_micros(1),
            memo: String::new(),
        };
        let orders = (batch * EACH..(batch + 1) * EACH).map(order).collect();
        bank.commit(Operation::Transfers { orders, linked: true, by: secret(9).public_key() }, None).unwrap();
        // Some of these are in the index by now, some on their way there, and the last ones are not.
        for earlier in 0..=batch {
            let found = bank.read(|store| store.transfer(&payer, &id(earlier * EACH))).unwrap();
            assert!(found.is_some(), "transfer {} after batch {batch}", earlier * EACH);
        }
        let account = bank.read(|store| store.account(&payee)).unwrap().unwrap();
        assert_eq!(account.balance.micros().unsigned_abs(), (batch + 1) * EACH);
    }
    let is_whole = |bank: &Bank| {
        let entries = bank.read(|store| store.entries(&payee, u64::MAX, usize::MAX)).unwrap();
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=BATCHES * EACH).rev().collect::<Vec<_>>());
    };
    is_whole(&bank);
    drop(bank);
    let (bank, recovery) = open();
    assert_eq!((recovery.replayed, recovery.rebuilt), (0, None), "the index has everything");
    is_whole(&bank);
}
