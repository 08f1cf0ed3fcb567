//! The bank on disks that are full, can only be read, or do not hold what was written: it refuses with a clear message,
//! and what was told stays.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tycoon_bank::BankClient;
use tycoon_bank::api::{IssueRequest, TransferRequest};
use tycoon_bank::audit::audit;
use tycoon_bank::ledger::AccountKind;
use tycoon_market::{AccountId, Credits, TransferId};
use tycoon_rpc::{CallError, Caller, HttpSettings, HttpTransport, Problem, SecretKey, Signer as _};

use crate::bank_service::{ServedBank, behind, user};
use crate::environment::Environment;

const ISSUER: u8 = 1;
const JANE: u8 = 2;
const JOE: u8 = 3;
const ISSUED: i64 = 1_000_000;
/// The disk of the bank; its journal alone would soon need more.
const DISK_BYTES: u64 = 2 << 20;

fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party.wrapping_add(50); 32])
}

fn account(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

/// The words before a command that let it run with mounts of its own, which end with it; none where this machine lets
/// nobody have them.
fn own_mounts() -> Option<Vec<&'static str>> {
    let ways = [vec!["unshare", "--mount"], vec!["unshare", "--map-root-user", "--mount"]];
    ways.into_iter().find(|way| {
        let tried = Command::new(way[0]).args(&way[1..]).args(["mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// A bank on a small disk of its own, and people who call it.
struct SmallBank {
    bank: ServedBank,
    /// The disk as others see it while the bank runs.
    disk: PathBuf,
    next: AtomicI64,
}

impl SmallBank {
    fn start(environment: &Environment, own_mounts: &[&str]) -> Self {
        let disk = environment.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let (issuer, store) = (secret(ISSUER).public_key().to_string(), format!("sled:{}/bank", disk.display()));
        let mount = format!("mount -t tmpfs -o size={DISK_BYTES} tmpfs \"$0\" && exec \"$@\"");
        let disk_text = disk.display().to_string();
        let before = [own_mounts, &["sh", "-c", &mount, &disk_text]].concat();
        // A log on a pipe that nobody reads would hold it up.
        let more = ["--issuer", &issuer, "--registration", "open", "--log-level", "error"];
        let bank = ServedBank::start_behind(environment, &before, &store, &more);
        let disk = PathBuf::from(format!("/proc/{}/root{disk_text}", bank.pid()));
        let small = Self { bank, disk, next: AtomicI64::new(0) };
        for party in [JANE, JOE] {
            small.client(party).open_account(secret(party).public_key(), AccountKind::User, "").unwrap();
        }
        let (id, amount) = (TransferId::from_bytes([9; 16]), Credits::from_micros(ISSUED));
        small.client(ISSUER).issue(&IssueRequest { id, to: account(JANE), amount, memo: String::new() }).unwrap();
        small
    }

    fn client(&self, party: u8) -> BankClient {
        let way = HttpTransport::new(&self.bank.url, &HttpSettings::default()).unwrap();
        BankClient::new(Caller::new(Arc::new(secret(party)), self.bank.key.parse().unwrap(), Arc::new(way)))
    }

    /// Jane pays Joe one micro-credit.
    fn pay(&self, jane: &BankClient) -> Result<(), CallError> {
        let number = self.next.load(Ordering::SeqCst);
        let order = TransferRequest {
            id: TransferId::from_bytes((u128::from(number.unsigned_abs()) + 1).to_be_bytes()),
            payer: account(JANE),
            payee: account(JOE),
            amount: Credits::from_micros(1),
            memo: "m".repeat(200),
        };
        jane.transfer(&order)?;
        self.next.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Pays until the bank refuses, and returns why it does.
    fn pay_until_refused(&self) -> Problem {
        let jane = self.client(JANE);
        loop {
            match self.pay(&jane) {
                Ok(()) => assert!(self.next.load(Ordering::SeqCst) < 20_000, "the disk is not full"),
                Err(CallError::Refused(problem)) => return problem,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What Joe has in the journal at `folder`, after counting all money anew.
fn received(folder: &Path) -> i64 {
    let audit = audit(&folder.join("bank/journal"), None).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.in_accounts.micros(), ISSUED);
    // The founding, two accounts, one issue; all others are transfers.
    i64::try_from(audit.head.record).unwrap() - 4
}

#[test]
fn a_bank_on_a_full_disk_refuses_says_so_and_goes_on_when_there_is_room() {
    let Some(own_mounts) = own_mounts() else {
        eprintln!("SKIPPED: this machine gives nobody mounts of her own, so that there is no small disk");
        return;
    };
    let environment = Environment::new();
    let bank = SmallBank::start(&environment, &own_mounts);
    std::fs::write(bank.disk.join("ballast"), vec![1; 1 << 20]).unwrap();
    let refused = bank.pay_until_refused();
    assert_eq!(refused.status, 503, "{refused}");
    assert!(["bank.not-written", "call.unmarked"].contains(&refused.code.as_str()), "{refused:?}");
    assert!(refused.detail.contains("its disk is full"), "{refused}");
    assert!(refused.detail.contains("nothing was"), "{refused}");
    let (status, why) = bank.bank.page("/healthz");
    assert_eq!(status, 503, "{why}");
    assert!(why.contains("No space left"), "{why}");
    let told = bank.next.load(Ordering::SeqCst);
    assert!(told > 0);
    assert_eq!(received(&bank.disk), told, "nothing that was told is lost, and nothing that was refused is there");
    // What it says while the disk is full is still true.
    for _ in 0..5 {
        assert_eq!(bank.pay(&bank.client(JANE)).unwrap_err().problem().map(|problem| problem.status), Some(503));
    }

    std::fs::remove_file(bank.disk.join("ballast")).unwrap();
    let (status, why) = bank.bank.page("/healthz");
    assert_eq!(status, 200, "it finds out by itself that there is room: {why}");
    for _ in 0..20 {
        bank.pay(&bank.client(JANE)).unwrap();
    }
    assert_eq!(received(&bank.disk), told + 20);
    // As after a power cut, on another disk.
    std::fs::create_dir(environment.path().join("copy")).unwrap();
    let copied = Command::new("cp").arg("-r").arg(bank.disk.join("bank")).arg(environment.path().join("copy")).status();
    assert!(copied.unwrap().success());
    let store = format!("sled:{}/copy/bank", environment.path().display());
    drop(bank);
    ServedBank::start_with(&environment, &store, &[]).stop();
    assert_eq!(received(&environment.path().join("copy")), told + 20);
}

#[test]
fn a_bank_whose_store_can_only_be_read_or_is_damaged_does_not_start_and_says_why() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "books", &["--registration", "open"]);
    for name in ["jane", "joe", "mia"] {
        let which = ["--bank", &bank.url, "--bank-key", &bank.key];
        user(&environment, name, &[&["bank", "create-account"][..], &which].concat()).ok();
    }
    bank.stop();
    let copy = |name: &str| {
        let to = environment.path().join(name);
        assert!(
            Command::new("cp").arg("-r").arg(environment.path().join("books")).arg(&to).status().unwrap().success()
        );
        (format!("sled:{}", to.display()), to)
    };
    let refusal = |store: &str| {
        let ran = user(&environment, "issuer", &["bank", "serve", "--store", store, "--listen", "127.0.0.1:0"]);
        ran.ends_with(1).stderr
    };
    let segment = "journal/00000000000000000001.journal";

    let (store, folder) = copy("flipped");
    let mut bytes = std::fs::read(folder.join(segment)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(folder.join(segment), &bytes).unwrap();
    let told = refusal(&store);
    assert!(told.contains("the journal is damaged") && told.contains(segment) && told.contains("byte"), "{told}");
    assert!(told.contains("restore this file from a copy"), "{told}");
    assert_eq!(std::fs::read(folder.join(segment)).unwrap(), bytes, "nothing is repaired");
    let audit = user(&environment, "issuer", &["bank", "audit", "--store", &store]).ends_with(1);
    assert!(audit.stderr.contains("the journal is damaged"), "{audit}");

    let (store, folder) = copy("cut");
    let lines = std::fs::read_to_string(folder.join(segment)).unwrap();
    let kept: String = lines.lines().take(3).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join(segment), kept).unwrap();
    let told = refusal(&store);
    assert!(told.contains("records are missing") && told.contains("latest copy"), "{told}");

    let (store, folder) = copy("index");
    std::fs::write(folder.join("index/conf"), "no configuration").unwrap();
    let told = refusal(&store);
    assert!(told.contains("no money is in it") && told.contains("remove the index"), "{told}");
    std::fs::remove_dir_all(folder.join("index")).unwrap();
    ServedBank::start_with(&environment, &store, &[]).stop();

    let (store, _) = copy("mark");
    environment.write("mark/replay-mark", "soon\n");
    let told = refusal(&store);
    assert!(told.contains("replay mark") && told.contains("remove it"), "{told}");

    let Some(own_mounts) = own_mounts() else {
        eprintln!("SKIPPED: this machine gives nobody mounts of her own, so that there is no disk that is only read");
        return;
    };
    let mount = "mount --bind books books && mount -o remount,bind,ro books && exec \"$@\"";
    let before = [&own_mounts[..], &["sh", "-c", mount, "sh"]].concat();
    let read_only = |arguments: &[&str]| environment.ran(arguments, behind(&before, environment.command(arguments)));
    let told = read_only(&["bank", "serve", "--store", "sled:books", "--listen", "127.0.0.1:0"]).ends_with(1).stderr;
    assert!(told.contains("Read-only file system") && told.contains("the disk can only be read"), "{told}");
    read_only(&["bank", "audit", "--store", "sled:books"]).ok();
    read_only(&["bank", "export", "--store", "sled:books", "--to", "books.export"]).ok();
}
