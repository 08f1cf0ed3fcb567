//! The bank is ended as if by a power cut at every point of every write that a host and its users have it make: what they
//! were at comes about all the same, once, and no credit is lost or made.

use std::time::{Duration, Instant};

use serde_json::Value;
use tycoon_bank::audit::audit;

use crate::bank_service::{ServedBank, json, user};
use crate::environment::{Environment, Ran};
use crate::host_service::{ServedHost, town, write_site};

/// What the bank has issued, in micro-credits.
const ALL: i64 = 1_000_000_000;
/// More points than one call has the bank pass.
const POINTS_MAX: u64 = 40;
/// A write is interrupted before and after it goes into the journal and is synced; the index follows in its own time.
const POINTS_OF_A_WRITE: u64 = 4;

/// A bank that can be ended, and a host and people who go on without it.
struct Town {
    environment: Environment,
    bank: ServedBank,
    host: ServedHost,
}

/// What the host and the bank say of Jane's money at one time, in micro-credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Money {
    /// What came into her host account.
    funded: i64,
    /// What went back.
    released: i64,
    /// What the host has charged her and others since ever.
    earned: i64,
    /// What she has at the bank.
    jane: i64,
    /// What the host's owner has there.
    owner: i64,
}

impl Town {
    fn new() -> Self {
        let environment = Environment::new();
        let bank = town(&environment);
        // The host repeats at every interval what the bank has not heard.
        environment.write("policy.kdl", "interval \"1s\"\n");
        let host = ServedHost::start(&environment, "host1", &bank, &["--policy", "policy.kdl"]);
        write_site(&environment, &[&host]);
        Self { environment, bank, host }
    }

    /// A command of `tycoon host` on the host.
    fn ran(&self, who: &str, arguments: &[&str]) -> Ran {
        user(&self.environment, who, &[&["--site", "hosts.kdl", "host"], arguments].concat())
    }

    fn told(&self, who: &str, arguments: &[&str]) -> Value {
        json(&self.environment, who, &[&["--site", "hosts.kdl", "host"], arguments].concat())
    }

    /// What a user has at the bank; `None` where that is not there any more.
    fn balance(&self, who: &str) -> Option<i64> {
        let ran = user(&self.environment, who, &["bank", "balance", "--json"]);
        serde_json::from_str::<Value>(&ran.stdout).ok()?["balance_micro"].as_i64()
    }

    /// `None` where the bank is not there any more.
    fn money(&self) -> Option<Money> {
        let micros = |value: &Value, name: &str| value[name].as_i64().expect("an amount");
        let accounts = &self.told("jane", &["accounts", "all"])[0]["accounts"];
        let its = |name: &str| if accounts[0][name].is_null() { 0 } else { micros(&accounts[0], name) };
        let owned = self.told("owner", &["set", "host1"]);
        Some(Money {
            funded: its("funded_micro"),
            released: its("funded_micro") - its("charged_micro") - its("balance_micro"),
            earned: micros(&owned[0], "ever_charged_micro"),
            jane: self.balance("jane")?,
            owner: self.balance("owner")?,
        })
    }

    /// Starts the bank again where it was; it is ended at a point, where one is given.
    fn start_bank(&mut self, crash_at: Option<u64>) {
        let listen = self.bank.listen().to_owned();
        self.bank.kill();
        // Whatever it was at: its books add up.
        let found = audit(&self.environment.path().join("bank/journal"), None).expect("an audit");
        assert!(found.is_clean(), "{found:?}");
        assert_eq!(found.in_accounts.micros() + found.in_escrow.micros(), ALL, "credits were lost or made: {found:?}");
        let store = format!("sled:{}", self.environment.path().join("bank").display());
        self.bank = match crash_at {
            None => ServedBank::start_at(&self.environment, &store, &listen),
            Some(point) => ServedBank::start_to_crash(&self.environment, &store, &listen, point),
        };
    }

    /// Waits until `is_so`, or the bank has ended; true where it is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if self.bank.has_ended() {
                return false;
            }
            if is_so(self) {
                return true;
            }
            assert!(Instant::now() < deadline, "{what} does not come about: {:?}", self.money());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has `who` make the host do `step` with the bank ended at each point of its writes in turn, each time from what
    /// `prepare` makes. After each it comes about: `is_done` by the money before and now.
    fn at_every_point(
        &mut self,
        who: &str,
        step: &[&str],
        prepare: impl Fn(&Self),
        is_done: impl Fn(&Money, &Money) -> bool,
    ) {
        for point in 1..POINTS_MAX {
            prepare(self);
            let before = self.money().expect("the bank is there");
            let is_done = |town: &Self| town.money().is_some_and(|now| is_done(&before, &now));
            self.start_bank(Some(point));
            let at = format!("{step:?} with a bank that ends at point {point}");
            let ran = self.ran(who, step);
            let has_crashed = ran.code != Some(0) || !self.until(&at, is_done);
            if !has_crashed {
                assert!(point > POINTS_OF_A_WRITE, "{at}: it was never ended; are the points still there?");
                // It would be ended by what comes next.
                self.start_bank(None);
                return;
            }
            self.until(&at, |_| false);
            self.start_bank(None);
            if ran.code != Some(0) {
                self.ran(who, step).ok();
            }
            assert!(self.until(&at, is_done), "{at}: the bank ends again");
        }
        panic!("{step:?} has the bank pass more than {POINTS_MAX} points");
    }

    /// Closes what is open: then the owner has just what was charged, and Jane has the rest.
    fn end(mut self) {
        let is_over = |town: &Self| {
            town.money().is_some_and(|money| (money.jane, money.owner) == (ALL - money.earned, money.earned))
        };
        self.ran("jane", &["close-account", "host1", "--yes"]);
        assert!(self.until("that everybody has what is hers", is_over));
        assert!(self.money().is_some_and(|money| money.earned > 0), "nothing was charged");
        self.host.stop();
        self.bank.stop();
    }
}

/// Opens an account and bids, so that it is charged.
fn open(town: &Town) {
    town.ran("jane", &["create-account", "host1", "--amount", "10"]).ok();
    town.ran("jane", &["bid", "host1", "10h", "CPU:1,0.5CPU,2CPU,0.1"]).ok();
}

#[test]
fn what_is_funded_and_refunded_is_so_once_wherever_the_bank_crashes() {
    let mut town = Town::new();
    open(&town);
    let is_funded = |before: &Money, now: &Money| {
        (now.funded - before.funded, before.jane - now.jane, now.released) == (1_000_000, 1_000_000, before.released)
    };
    town.at_every_point("jane", &["fund", "host1", "--amount", "1"], |_| {}, is_funded);
    // What the host gives back has to come from the bank.
    let is_back = |before: &Money, now: &Money| {
        let back = now.released - before.released;
        back > 0 && now.jane - before.jane == back && now.funded == before.funded
    };
    let fund = |town: &Town| drop(town.ran("jane", &["fund", "host1", "--amount", "1"]).ok());
    town.at_every_point("jane", &["refund", "host1", "--leave", "5"], fund, is_back);
    town.end();
}

#[test]
fn what_is_earned_and_what_is_left_is_paid_once_wherever_the_bank_crashes() {
    let mut town = Town::new();
    open(&town);
    let is_paid = |before: &Money, now: &Money| now.owner >= before.earned && now.owner > before.owner;
    // Something is charged in every interval.
    let wait = |town: &Town| {
        let due = |town: &Town| town.money().is_some_and(|money| money.earned > money.owner);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !due(town) {
            assert!(Instant::now() < deadline, "nothing is charged");
        }
    };
    town.at_every_point("owner", &["withdraw", "host1"], wait, is_paid);
    let is_settled = |_: &Money, now: &Money| (now.jane, now.owner, now.funded) == (ALL - now.earned, now.earned, 0);
    let open_again = |town: &Town| {
        if town.told("jane", &["accounts", "all"])[0]["accounts"][0].is_null() {
            open(town);
        }
    };
    town.at_every_point("jane", &["close-account", "host1", "--yes"], open_again, is_settled);
    town.end();
}
