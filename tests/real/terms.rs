//! What a host said and what it charges: a price that rises after the quote, a quote that has run out, and a host that claims
//! more than it may have.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tycoon_bank::BankClient;
use tycoon_market::{Credits, HostId, PublicKey, Statement, StatementTerms};
use tycoon_rpc::{Caller, HttpSettings, HttpTransport, SecretKey, Signer as _};

use crate::lab::{Ran, wait};
use crate::town::Town;

const UP: &str = "tycoon up pool.kdl --yes";
const DOWN: &str = "tycoon down physics --yes";
/// How long a quote holds, and an interval, with what slow machines need besides.
const QUOTE: Duration = Duration::from_secs(65);
const INTERVAL: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(400);
/// A budget of 20 credits for an hour; a bank lets hosts draw twice as fast, at most.
const MOST_PER_SECOND: f64 = 2.0 * 20.0 / 3_600.0;

/// The journal of the pool of physics, in bytes.
fn journal(town: &Town) -> u64 {
    let found = Command::new("find").arg(town.lab.path().join("physics")).args(["-name", "physics.journal"]).output();
    let found = String::from_utf8(found.expect("find starts").stdout).expect("a path");
    found.lines().map(|path| fs::metadata(PathBuf::from(path)).map_or(0, |data| data.len())).sum()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill starts").success());
}

/// Brings the pool up, and has everything stand still between the quotes and the bids while `meanwhile` happens.
fn held_up(town: &Town, meanwhile: impl FnOnce()) -> Ran {
    let before = journal(town);
    let child = town.begin("physics", UP);
    let begun = Instant::now();
    // The plan is in the journal when all hosts hold what they offered, and before anything is bid.
    while journal(town) == before {
        assert!(begun.elapsed() < PATIENCE, "`{UP}` does not begin");
        thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "-STOP");
    meanwhile();
    signal(&child, "-CONT");
    let ran = Ran::of(&format!("physics: {UP}, held up"), &wait(child, PATIENCE));
    println!("{ran}");
    ran
}

fn set_price(town: &Town, what: &str) {
    town.run("operator", &format!("tycoon host set xen1 xen2 {what}")).ok();
    thread::sleep(INTERVAL);
}

/// The pool is not up, and is not up when this is done.
pub fn a_quote_holds_its_price_and_no_longer_than_it_says(town: &Town) {
    // Twenty times the price, which the quotes keep from her.
    let ran = held_up(town, || set_price(town, "memory-price=2")).ok();
    assert!(!ran.stderr.contains("does not hold"), "{ran}");
    town.is_up("physics", 2);
    town.run("physics", DOWN).ok();
    set_price(town, "--reset memory-price");

    // After the quotes have run out a host may ask what it likes. It gets no more than she has allowed the bank to pay.
    let (before, begun) = (town.money("physics").0, Instant::now());
    let ran = held_up(town, || {
        set_price(town, "memory-price=2000");
        thread::sleep(QUOTE.saturating_sub(INTERVAL));
    });
    assert!(matches!(ran.code, Some(0 | 1 | 3 | 4)), "{ran}");
    town.run("physics", DOWN).ok();
    let (left, set_aside) = town.money("physics");
    let (paid, most) = ((before - left) as f64 / 1e6, begun.elapsed().as_secs_f64() * MOST_PER_SECOND);
    println!("she paid {paid:.4} credits of {most:.4} at most");
    assert!(set_aside == 0 && paid <= most, "{paid} of {most}, and {set_aside} set aside");
    set_price(town, "--reset memory-price");
}

/// The owner of a host of the pool, which is up, has its key sign a statement of all that she has set aside for it.
pub fn a_host_gets_no_more_than_it_may_and_she_is_told(town: &Town) {
    let key = SecretKey::from_openssh(&town.lab.on(1, "cat /var/lib/tycoon-host/host_key")).expect("the host's key");
    let bank: PublicKey = town.here("ssh-ed25519 AAAA…bank").parse().expect("the bank's key");
    let url = town.here("https://bank.example.org:7401");
    let way = HttpTransport::new(&url, &HttpSettings::default()).expect("a way to the bank");
    let host = HostId::of(&key.public_key());
    let client = BankClient::new(Caller::new(Arc::new(key.clone()), bank, Arc::new(way)));
    let escrows = client.escrows(None, Some(&host)).expect("its escrows");
    let escrow = escrows.into_iter().find(|escrow| escrow.end.is_none()).expect("an open escrow");
    let before = town.money("physics");
    let terms = StatementTerms {
        escrow: escrow.order.id,
        sequence: escrow.statement.map_or(0, |last| last.terms.sequence) + 1_000,
        drawn_total: escrow.order.amount,
        released_total: Credits::ZERO,
        closed: false,
    };
    let refused = client.settle(&Statement::sign(terms, |bytes| key.sign(bytes)));
    let refused = format!("{:?}", refused.expect_err("it is refused"));
    assert!(refused.contains("bank.too-fast"), "{refused}");
    town.run("physics", "tycoon status physics").ok().says(&["warning", "xen1 claimed", "the bank refused that (once"]);
    let after = town.money("physics");
    assert_eq!(before.0, after.0);
    // What it draws by right goes on, and is checked line by line.
    town.run("physics", "tycoon bank statement").ok();
}
