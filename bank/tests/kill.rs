//! The bank killed with SIGKILL while many threads transfer, again and again, and the bank on a full disk: what was told
//! is there, and every credit is where it belongs.

mod site;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use site::{open, secret, sled_store};
use tycoon_bank::audit::audit;
use tycoon_bank::journal::Check;
use tycoon_bank::ledger::{AccountKind, Operation};
use tycoon_bank::store::MemoryStore;
use tycoon_bank::{Bank, Options};
use tycoon_market::{AccountId, Credits, Timestamp, TransferId};
use tycoon_rpc::{FixedClock, Signer as _};

/// The variable that tells the workload its folder.
const FOLDER: &str = "TYCOON_BANK_KILL_FOLDER";
/// The variable that tells it the first number to use.
const FIRST: &str = "TYCOON_BANK_KILL_FIRST";
const ISSUED: i64 = 1_000_000;
const JANE: u8 = 3;
const JOE: u8 = 4;

fn id(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

fn transfer_id(number: u64) -> TransferId {
    TransferId::from_bytes((u128::from(number) + 1).to_be_bytes())
}

fn options(folder: &Path) -> Options {
    Options { segment_bytes: 20_000, check: Check::Tail, ..Options::new(folder.join("journal")) }
}

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)))
}

fn transfer(number: u64, memo: &str) -> Operation {
    Operation::Transfer {
        id: transfer_id(number),
        payer: id(JANE),
        payee: id(JOE),
        amount: Credits::from_micros(1),
        memo: memo.to_owned(),
        by: secret(JANE).public_key(),
    }
}

/// Jane and Joe, and a million micro-credits with Jane.
fn furnish(bank: &Bank) {
    for party in [JANE, JOE] {
        let key = secret(party).public_key();
        bank.commit(Operation::OpenAccount { key, kind: AccountKind::User, label: String::new(), opener: None }, None)
            .unwrap();
    }
    let issue = Operation::Issue {
        id: TransferId::from_bytes([0; 16]),
        to: id(JANE),
        amount: Credits::from_micros(ISSUED),
        memo: String::new(),
        by: secret(2).public_key(),
    };
    bank.commit(issue, None).unwrap();
}

fn open_bank(folder: &Path) -> Arc<Bank> {
    open(options(folder), sled_store(&folder.join("index")), &clock()).unwrap().0
}

/// The folder to work in, where this process was started by a test to work for it.
fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Transfers until it is killed.
fn transfer_for_ever(folder: &Path) {
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let bank = open_bank(folder);
    let next = AtomicU64::new(first);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    bank.commit(transfer(number, ""), None).unwrap();
                    // The parent has closed its end when it is about to kill: that is no failure.
                    let _ = writeln!(std::io::stdout(), "told {number}");
                }
            });
        }
    });
}

#[test]
fn what_was_told_before_a_kill_is_there_after_it() {
    if let Some(folder) = folder_of_child() {
        return transfer_for_ever(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    let bank = open_bank(folder.path());
    furnish(&bank);
    drop(bank);

    let mut told = BTreeSet::new();
    for round in 0..5_u64 {
        let first = round * 100_000;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["what_was_told_before_a_kill_is_there_after_it", "--exact", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(FIRST, first.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // The harness writes the test's name without a line feed in front of the first line.
        let numbers = lines.filter_map(|line| line.split_once("told ")?.1.parse::<u64>().ok());
        told.extend(numbers.take(40 + round as usize));
        child.kill().unwrap();
        child.wait().unwrap();

        let bank = open_bank(folder.path());
        let received = check_balances(&bank);
        for number in &told {
            let found = bank.read(|store| store.transfer(&id(JANE), &transfer_id(*number))).unwrap();
            assert!(found.is_some(), "transfer {number} was told and is lost");
        }
        assert!(received >= told.len() as i64);
        drop(bank);
        let audit = audit(&folder.path().join("journal"), Some(&*sled_store(&folder.path().join("index")))).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
    }
    assert!(told.len() >= 200, "{}", told.len());
}

/// Checks that no credit is lost, and returns what Joe has.
fn check_balances(bank: &Bank) -> i64 {
    let balance = |party| bank.read(|store| store.account(&id(party))).unwrap().unwrap().balance.micros();
    assert_eq!(balance(JANE) + balance(JOE), ISSUED);
    balance(JOE)
}

/// Transfers until a write fails.
fn transfer_until_the_disk_is_full(folder: &Path) {
    let options = Options::new(folder.join("journal"));
    let (bank, _) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    furnish(&bank);
    let memo = "x".repeat(200);
    let mut number = 0;
    let error = loop {
        match bank.commit(transfer(number, &memo), None) {
            Ok(_) => println!("told {number}"),
            Err(error) => break error,
        }
        number += 1;
    };
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert!(bank.commit(transfer(number, &memo), None).unwrap_err().to_string().contains("cannot write"));
    let balance = bank.read(|store| store.account(&id(JOE))).unwrap().unwrap().balance.micros();
    assert_eq!(balance as u64, number, "what failed was not done");
}

#[test]
fn on_a_full_disk_a_write_fails_and_is_taken_back() {
    if let Some(folder) = folder_of_child() {
        return transfer_until_the_disk_is_full(&folder);
    }
    let folder = tempfile::tempdir().unwrap();
    // Files of at most 10 blocks; the signal that says so is ignored, so that the write itself fails.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 10; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["on_a_full_disk_a_write_fails_and_is_taken_back", "--exact", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap().matches("told").count() as u64;
    assert!(told > 0);
    let options = Options::new(folder.path().join("journal"));
    let (bank, recovery) = open(options, Arc::new(MemoryStore::new()), &clock()).unwrap();
    assert_eq!(recovery.cut, None, "nothing half-written was left");
    assert_eq!(check_balances(&bank) as u64, told);
    bank.commit(transfer(told, ""), None).unwrap();
}
