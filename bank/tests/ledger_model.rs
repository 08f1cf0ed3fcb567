//! The ledger against a naive model: whatever is asked for, in any order, both agree on every balance, every refusal
//! and every total.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tycoon_bank::ledger::apply::Moment;
use tycoon_bank::ledger::{
    AccountKind, Answer, EscrowOrder, Operation, RefundOrder, Refusal, ReservationOrder, Resolution, Resolver,
    TransferOrder, View as _, apply,
};
use tycoon_bank::store::{Head, MemoryStore, Store as _};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, Rate, Statement, StatementTerms, TimeSpan, Timestamp, TransferId,
};
use tycoon_rpc::{SecretKey, Signer as _};

const PARTIES: u8 = 3;
const HOUR: u64 = 3600;
/// One micro-credit per second.
const RATE: u64 = 1_000_000;

fn secret(party: u8) -> SecretKey {
    SecretKey::from_seed(&[party + 10; 32])
}

fn account(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

/// What somebody asks for. Small numbers, so that ids, amounts and orders collide often.
#[derive(Clone, Debug)]
enum Wish {
    Issue { id: u8, to: u8, amount: i64 },
    Transfer { id: u8, payer: u8, payee: u8, amount: i64, by: u8 },
    Open { id: u8, payer: u8, amount: i64, by: u8 },
    Settle { id: u8, sequence: u64, drawn: i64, released: i64, closed: bool, forged: bool },
    Lapse { id: u8 },
    Reserve { id: u8, payer: u8, payee: u8, amount: i64, seconds: u64, by: u8 },
    Resolve { id: u8, payer: u8, posted: Option<i64>, by: u8 },
    Expire { id: u8, payer: u8 },
    Several { first: u8, payer: u8, payee: u8, amounts: [i64; 2], linked: bool },
    Refund { id: u8, payer: u8, payee: u8, of: u8, amount: Option<i64>, by: u8 },
    Wait { seconds: u64 },
}

fn wish() -> impl Strategy<Value = Wish> {
    let party = || 0..PARTIES;
    // The issuer is party 0; accounts are 0 to 2, and party 3 has none.
    prop_oneof![
        (0..3_u8, 0..4_u8, -10..5_000_i64).prop_map(|(id, to, amount)| Wish::Issue { id, to, amount }),
        (0..4_u8, party(), 0..4_u8, -10..3_000_i64, party())
            .prop_map(|(id, payer, payee, amount, by)| Wish::Transfer { id, payer, payee, amount, by }),
        (0..3_u8, party(), -10..3_000_i64, party()).prop_map(|(id, payer, amount, by)| Wish::Open {
            id,
            payer,
            amount,
            by
        }),
        (0..3_u8, 0..6_u64, -5..2_000_i64, -5..2_000_i64, prop::bool::weighted(0.2), prop::bool::weighted(0.1))
            .prop_map(|(id, sequence, drawn, released, closed, forged)| Wish::Settle {
                id,
                sequence,
                drawn,
                released,
                closed,
                forged
            }),
        (0..3_u8).prop_map(|id| Wish::Lapse { id }),
        (0..4_u8, party(), 0..4_u8, -10..3_000_i64, 0..3 * HOUR, party()).prop_map(
            |(id, payer, payee, amount, seconds, by)| Wish::Reserve { id, payer, payee, amount, seconds, by }
        ),
        (0..4_u8, party(), prop::option::of(-10..3_000_i64), party())
            .prop_map(|(id, payer, posted, by)| Wish::Resolve { id, payer, posted, by }),
        (0..4_u8, party()).prop_map(|(id, payer)| Wish::Expire { id, payer }),
        (0..4_u8, party(), 0..4_u8, [-10..2_000_i64, -10..2_000_i64], any::<bool>())
            .prop_map(|(first, payer, payee, amounts, linked)| Wish::Several { first, payer, payee, amounts, linked }),
        (0..4_u8, party(), party(), 0..4_u8, prop::option::of(-10..2_000_i64), party())
            .prop_map(|(id, payer, payee, of, amount, by)| Wish::Refund { id, payer, payee, of, amount, by }),
        (0..40 * HOUR).prop_map(|seconds| Wish::Wait { seconds }),
        (0..2 * HOUR).prop_map(|seconds| Wish::Wait { seconds }),
    ]
}

fn escrow_order(id: u8, payer: u8, amount: i64) -> EscrowOrder {
    let host = secret(9).public_key();
    EscrowOrder {
        id: EscrowId::from_bytes([id; 16]),
        payer: account(payer),
        pool: "pool".parse().unwrap(),
        host: HostId::of(&host),
        host_key: host,
        beneficiary: account(2),
        amount: Credits::from_micros(amount),
        longest: TimeSpan::from_seconds(2 * HOUR),
        highest_rate: Rate::from_picos_per_second(RATE),
    }
}

fn operation(wish: &Wish) -> Option<Operation> {
    let memo = String::new();
    Some(match *wish {
        Wish::Issue { id, to, amount } => Operation::Issue {
            id: TransferId::from_bytes([id; 16]),
            to: account(to),
            amount: Credits::from_micros(amount),
            memo,
            by: secret(0).public_key(),
        },
        Wish::Transfer { id, payer, payee, amount, by } => Operation::Transfer {
            id: TransferId::from_bytes([id; 16]),
            payer: account(payer),
            payee: account(payee),
            amount: Credits::from_micros(amount),
            memo,
            by: secret(by).public_key(),
        },
        Wish::Open { id, payer, amount, by } => {
            Operation::OpenEscrow { order: escrow_order(id, payer, amount), by: secret(by).public_key() }
        }
        Wish::Settle { id, sequence, drawn, released, closed, forged } => {
            let terms = StatementTerms {
                escrow: EscrowId::from_bytes([id; 16]),
                sequence,
                drawn_total: Credits::from_micros(drawn),
                released_total: Credits::from_micros(released),
                closed,
            };
            let signer = secret(if forged { 8 } else { 9 });
            Operation::Settle { statement: Statement::sign(terms, |bytes| signer.sign(bytes)) }
        }
        Wish::Lapse { id } => {
            Operation::Lapse { escrows: vec![EscrowId::from_bytes([id; 16])], reservations: Vec::new() }
        }
        Wish::Reserve { id, payer, payee, amount, seconds, by } => Operation::Reserve {
            order: ReservationOrder {
                id: TransferId::from_bytes([id; 16]),
                payer: account(payer),
                payee: account(payee),
                amount: Credits::from_micros(amount),
                memo,
                timeout: TimeSpan::from_seconds(seconds),
                resolver: Resolver::Payer,
            },
            by: secret(by).public_key(),
        },
        Wish::Resolve { id, payer, posted, by } => Operation::Resolve {
            payer: account(payer),
            id: TransferId::from_bytes([id; 16]),
            resolution: match posted {
                Some(amount) => Resolution::Post { amount: Some(Credits::from_micros(amount)) },
                None => Resolution::Void {},
            },
            by: secret(by).public_key(),
        },
        Wish::Expire { id, payer } => Operation::Lapse {
            escrows: Vec::new(),
            reservations: vec![(account(payer), TransferId::from_bytes([id; 16]))],
        },
        Wish::Several { first, payer, payee, amounts, linked } => {
            let order = |(number, amount): (u8, i64)| TransferOrder {
                id: TransferId::from_bytes([first + number; 16]),
                payer: account(payer),
                payee: account(payee),
                amount: Credits::from_micros(amount),
                memo: memo.clone(),
            };
            let orders = (0..).zip(amounts).map(order).collect();
            Operation::Transfers { orders, linked, by: secret(payer).public_key() }
        }
        Wish::Refund { id, payer, payee, of, amount, by } => Operation::Refund {
            order: RefundOrder {
                id: TransferId::from_bytes([id; 16]),
                payer: account(payer),
                payee: account(payee),
                of: TransferId::from_bytes([of; 16]),
                amount: amount.map(Credits::from_micros),
                memo,
            },
            by: secret(by).public_key(),
        },
        Wish::Wait { .. } => return None,
    })
}

#[derive(Clone, Debug)]
struct ModelEscrow {
    payer: u8,
    amount: i64,
    opened: i64,
    heard: i64,
    drawn: i64,
    released: i64,
    last: Option<(u64, i64, i64, bool)>,
    ended: bool,
}

/// The rules once more, as plainly as they can be said.
#[derive(Debug, Default)]
struct Model {
    balances: [i64; 3],
    issued: i64,
    /// By payer and id: whom, how much, and whether it was an issue.
    payments: BTreeMap<(u8, u8), (u8, i64, bool)>,
    /// Of a payment that gives back another: which one.
    refunds: BTreeMap<(u8, u8), u8>,
    escrows: BTreeMap<u8, ModelEscrow>,
    reservations: BTreeMap<(u8, u8), ModelReservation>,
}

#[derive(Clone, Debug)]
struct ModelReservation {
    payee: u8,
    amount: i64,
    seconds: u64,
    expires: i64,
    /// What was posted; `None` for nothing, as it was voided or has expired.
    end: Option<Option<i64>>,
    expired: bool,
}

impl Model {
    /// Does what is asked for; `None` where it is refused, else whether anything changed.
    fn wish(&mut self, wish: &Wish, now: i64) -> Option<bool> {
        match *wish {
            Wish::Issue { id, to, amount } => self.pay(0, id, to, amount, true),
            Wish::Transfer { by, payer, .. } if by != payer => None,
            Wish::Transfer { id, payer, payee, amount, .. } => self.pay(payer, id, payee, amount, false),
            Wish::Open { by, payer, .. } if by != payer => None,
            Wish::Open { id, payer, amount, .. } => self.open(id, payer, amount, now),
            Wish::Settle { id, sequence, drawn, released, closed, forged } => {
                let escrow = self.escrows.get_mut(&id).filter(|_| !forged)?;
                if let Some(last) = escrow.last {
                    if sequence < last.0 || (sequence, drawn, released, closed) == last {
                        return Some(false);
                    }
                    if sequence == last.0 {
                        return None;
                    }
                }
                let most = (now - escrow.opened).min(2 * HOUR as i64);
                let goes_back = drawn < escrow.drawn || released < escrow.released;
                if escrow.ended || goes_back || drawn + released > escrow.amount || drawn > most {
                    return None;
                }
                self.balances[2] += drawn - escrow.drawn;
                let released_now = if closed { escrow.amount - drawn } else { released };
                self.balances[usize::from(escrow.payer)] += released_now - escrow.released;
                (escrow.drawn, escrow.released) = (drawn, released_now);
                escrow.last = Some((sequence, drawn, released, closed));
                escrow.heard = now;
                escrow.ended = closed;
                Some(true)
            }
            Wish::Lapse { id } => {
                let escrow = self.escrows.get_mut(&id)?;
                let deadline = escrow.heard.min(escrow.opened + 2 * HOUR as i64) + 24 * HOUR as i64;
                if escrow.ended || now < deadline {
                    return None;
                }
                self.balances[usize::from(escrow.payer)] += escrow.amount - escrow.drawn - escrow.released;
                escrow.released = escrow.amount - escrow.drawn;
                escrow.ended = true;
                Some(true)
            }
            Wish::Reserve { by, payer, .. } if by != payer => None,
            Wish::Reserve { id, payer, payee, amount, seconds, .. } => {
                if let Some(earlier) = self.reservations.get(&(payer, id)) {
                    let same = (earlier.payee, earlier.amount, earlier.seconds) == (payee, amount, seconds);
                    return same.then_some(false);
                }
                let is_poor = self.balances[usize::from(payer)] < amount;
                let is_taken = self.payments.contains_key(&(payer, id));
                if is_taken || amount <= 0 || payee >= PARTIES || is_poor || payer == payee || seconds == 0 {
                    return None;
                }
                self.balances[usize::from(payer)] -= amount;
                let expires = now + seconds as i64;
                let reservation = ModelReservation { payee, amount, seconds, expires, end: None, expired: false };
                self.reservations.insert((payer, id), reservation);
                Some(true)
            }
            Wish::Resolve { by, payer, .. } if by != payer => None,
            Wish::Resolve { id, payer, posted, .. } => {
                let reservation = self.reservations.get_mut(&(payer, id))?;
                if let Some(end) = reservation.end {
                    return (end == posted && !reservation.expired).then_some(false);
                }
                if now >= reservation.expires || posted.is_some_and(|posted| posted <= 0 || posted > reservation.amount)
                {
                    return None;
                }
                reservation.end = Some(posted);
                let (payee, amount) = (reservation.payee, reservation.amount);
                self.balances[usize::from(payer)] += amount - posted.unwrap_or(0);
                if let Some(posted) = posted {
                    self.balances[usize::from(payee)] += posted;
                    self.payments.insert((payer, id), (payee, posted, false));
                }
                Some(true)
            }
            Wish::Expire { id, payer } => {
                let reservation = self.reservations.get_mut(&(payer, id))?;
                if reservation.end.is_some() || now < reservation.expires {
                    return None;
                }
                (reservation.end, reservation.expired) = (Some(None), true);
                self.balances[usize::from(payer)] += reservation.amount;
                Some(true)
            }
            Wish::Several { first, payer, payee, amounts, linked } => {
                let before = (self.balances, self.payments.clone());
                let outcomes: Vec<_> = (0..)
                    .zip(amounts)
                    .map(|(number, amount)| self.pay(payer, first + number, payee, amount, false))
                    .collect();
                if linked && outcomes.contains(&None) {
                    (self.balances, self.payments) = before;
                    return None;
                }
                Some(outcomes.contains(&Some(true)))
            }
            Wish::Refund { by, payer, .. } if by != payer => None,
            Wish::Refund { id, payer, payee, of, amount, .. } => {
                if let Some(earlier) = self.payments.get(&(payer, id)) {
                    let same = self.refunds.get(&(payer, id)) == Some(&of)
                        && earlier.0 == payee
                        && amount.is_none_or(|amount| amount == earlier.1);
                    return same.then_some(false);
                }
                let paid = *self.payments.get(&(payee, of)).filter(|paid| paid.0 == payer && !paid.2)?;
                if self.reservations.contains_key(&(payer, id)) || self.refunds.contains_key(&(payee, of)) {
                    return None;
                }
                let given = |(key, other): (&(u8, u8), &u8)| (key.0 == payer && *other == of).then_some(*key);
                let given = self.refunds.iter().filter_map(given).map(|key| self.payments[&key]);
                let left = paid.1 - given.filter(|given| given.0 == payee).map(|given| given.1).sum::<i64>();
                let amount = amount.unwrap_or(left);
                if amount <= 0 || amount > left || self.balances[usize::from(payer)] < amount {
                    return None;
                }
                self.balances[usize::from(payer)] -= amount;
                self.balances[usize::from(payee)] += amount;
                self.payments.insert((payer, id), (payee, amount, false));
                self.refunds.insert((payer, id), of);
                Some(true)
            }
            Wish::Wait { .. } => Some(false),
        }
    }

    fn pay(&mut self, payer: u8, id: u8, payee: u8, amount: i64, issued: bool) -> Option<bool> {
        if let Some(earlier) = self.payments.get(&(payer, id)) {
            let same = *earlier == (payee, amount, issued) && !self.refunds.contains_key(&(payer, id));
            return same.then_some(false);
        }
        if !issued && self.reservations.contains_key(&(payer, id)) {
            return None;
        }
        let is_poor = !issued && self.balances[usize::from(payer)] < amount;
        if amount <= 0 || payee >= PARTIES || is_poor || (payer == payee && !issued) {
            return None;
        }
        if issued {
            self.issued += amount;
        } else {
            self.balances[usize::from(payer)] -= amount;
        }
        self.balances[usize::from(payee)] += amount;
        self.payments.insert((payer, id), (payee, amount, issued));
        Some(true)
    }

    fn open(&mut self, id: u8, payer: u8, amount: i64, now: i64) -> Option<bool> {
        if let Some(earlier) = self.escrows.get(&id) {
            return (earlier.payer == payer && earlier.amount == amount).then_some(false);
        }
        if amount <= 0 || self.balances[usize::from(payer)] < amount {
            return None;
        }
        self.balances[usize::from(payer)] -= amount;
        let (opened, heard) = (now, now);
        let escrow = ModelEscrow { payer, amount, opened, heard, drawn: 0, released: 0, last: None, ended: false };
        self.escrows.insert(id, escrow);
        Some(true)
    }
}

/// The ledger over a store in memory, without a journal.
struct Ledger {
    store: MemoryStore,
    head: Head,
    done: Vec<(Moment, Operation)>,
}

impl Ledger {
    fn founded() -> Self {
        let mut ledger = Self { store: MemoryStore::new(), head: Head::EMPTY, done: Vec::new() };
        let key = |party| secret(party).public_key();
        ledger.operate(0, &Operation::Found { bank: key(7), issuer: key(0), epoch: 1 }).unwrap();
        for party in 1..PARTIES {
            let open =
                Operation::OpenAccount { key: key(party), kind: AccountKind::User, label: String::new(), opener: None };
            ledger.operate(0, &open).unwrap();
        }
        ledger
    }

    /// Does `operation`, and says whether anything changed.
    fn operate(&mut self, seconds: i64, operation: &Operation) -> Result<(Answer, bool), Refusal> {
        let moment = Moment { record: self.head.record + 1, at: Timestamp::from_seconds(seconds) };
        let (answer, changes) = apply(&self.store, moment, operation)?;
        if changes.is_empty() {
            return Ok((answer, false));
        }
        self.head.record += 1;
        self.store.apply(&self.head, &changes).unwrap();
        self.done.push((moment, operation.clone()));
        Ok((answer, true))
    }

    /// Adds everything up, row by row.
    fn check_books(&self) {
        let books = self.store.books().unwrap().unwrap();
        let accounts = self.store.accounts(None, 100).unwrap();
        let escrows = self.store.escrows(None, 100).unwrap();
        assert!(accounts.iter().all(|account| !account.balance.is_negative()));
        assert!(escrows.iter().all(|escrow| !escrow.held().is_negative()));
        assert!(escrows.iter().all(|escrow| escrow.end.is_none() || escrow.held().is_zero()));
        let in_accounts = Credits::checked_sum(accounts.iter().map(|account| account.balance)).unwrap();
        let in_escrow = Credits::checked_sum(escrows.iter().map(|escrow| escrow.held())).unwrap();
        let open: Vec<_> = self.store.reservations(None, 100).unwrap();
        let open = open.iter().filter(|reservation| reservation.end.is_none());
        let reserved = Credits::checked_sum(open.map(|reservation| reservation.order.amount)).unwrap();
        assert_eq!((books.in_accounts, books.in_escrow, books.in_reservations), (in_accounts, in_escrow, reserved));
        assert_eq!(Credits::checked_sum([in_accounts, in_escrow, reserved]), Some(books.issued));
        for account in &accounts {
            let entries = self.store.entries(&account.id, u64::MAX, 10_000).unwrap();
            let sum = Credits::checked_sum(entries.iter().map(|entry| entry.change)).unwrap();
            assert_eq!((sum, entries.len() as u64), (account.balance, account.entries), "the history adds up");
            let own = || escrows.iter().filter(|escrow| escrow.order.payer == account.id);
            let set_aside = Credits::checked_sum(own().map(|escrow| escrow.held())).unwrap();
            let open = own().filter(|escrow| escrow.end.is_none()).count() as u64;
            assert_eq!((account.set_aside, account.escrows_open), (set_aside, open));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn ledger_and_model_agree(wishes in prop::collection::vec(wish(), 1..60)) {
        let mut ledger = Ledger::founded();
        let mut model = Model::default();
        let mut now = 1_000_000;
        for wish in &wishes {
            if let Wish::Wait { seconds } = wish {
                now += *seconds as i64;
            }
            let Some(operation) = operation(wish) else { continue };
            let result = ledger.operate(now, &operation);
            let expected = model.wish(wish, now);
            prop_assert_eq!(result.as_ref().ok().map(|(_, changed)| *changed), expected, "{:?}: {:?}", wish, result);
            for party in 0..PARTIES {
                let balance = ledger.store.account(&account(party)).unwrap().unwrap().balance;
                prop_assert_eq!(balance.micros(), model.balances[usize::from(party)], "{:?}", wish);
            }
            prop_assert_eq!(ledger.store.books().unwrap().unwrap().issued.micros(), model.issued);
            ledger.check_books();
            let repeatable = !matches!(operation, Operation::Lapse { .. } | Operation::Transfers { .. });
            if let Ok((answer, true)) = result && repeatable {
                let again = ledger.operate(now, &operation).unwrap();
                prop_assert_eq!(again, (answer, false), "asking again gives the same answer and changes nothing");
            }
        }
        let replayed = MemoryStore::new();
        for (moment, operation) in &ledger.done {
            let (_, changes) = apply(&replayed, *moment, operation).unwrap();
            replayed.apply(&Head { record: moment.record, ..Head::EMPTY }, &changes).unwrap();
        }
        prop_assert_eq!(replayed.accounts(None, 100).unwrap(), ledger.store.accounts(None, 100).unwrap());
        prop_assert_eq!(replayed.escrows(None, 100).unwrap(), ledger.store.escrows(None, 100).unwrap());
    }
}

#[test]
fn ledger_and_model_agree_over_a_hundred_thousand_operations() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
    let (mut operations, mut accepted) = (0, 0);
    while operations < 100_000 {
        // Ids are few, so that they collide: a ledger is worn out after some thousand operations, and a new one is taken.
        let (mut ledger, mut model, mut now) = (Ledger::founded(), Model::default(), 1_000_000);
        for step in 0..1000 {
            let wish = wish().new_tree(&mut runner).unwrap().current();
            if let Wish::Wait { seconds } = wish {
                now += seconds as i64;
            }
            let Some(operation) = operation(&wish) else { continue };
            operations += 1;
            let changed = ledger.operate(now, &operation).ok().map(|(_, changed)| changed);
            accepted += u64::from(changed == Some(true));
            assert_eq!(changed, model.wish(&wish, now), "operation {operations}: {wish:?}");
            for party in 0..PARTIES {
                let balance = ledger.store.account(&account(party)).unwrap().unwrap().balance;
                assert_eq!(balance.micros(), model.balances[usize::from(party)], "operation {operations}: {wish:?}");
            }
            if step % 500 == 0 {
                ledger.check_books();
            }
        }
        ledger.check_books();
    }
    assert!(accepted > 1_000, "only {accepted} of {operations} were accepted");
}
