//! What every bank must do, wherever its books are: the same suite over a journal with an index in memory, a journal
//! with sled, and PostgreSQL.

mod cluster;
mod site;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::Cluster;
use site::{CREDIT, secret, sled_store};
use tempfile::TempDir;
use tycoon_bank::api::{AccountRequest, IssueRequest, TransferOutcome, TransferRequest};
use tycoon_bank::audit::audit_bank;
use tycoon_bank::ledger::{
    Account, AccountKind, AllowanceTerms, EscrowEnd, EscrowOrder, KeyChange, KeyRole, RefundOrder, ReservationEnd,
    ReservationOrder, Resolution, Resolver, SpendingLimit,
};
use tycoon_bank::postgres_books::PostgresBooks;
use tycoon_bank::store::MemoryStore;
use tycoon_bank::{Bank, BankClient, BankService, Options, Registration, export};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, Rate, Statement, StatementTerms, TimeSpan, Timestamp, TransferId,
};
use tycoon_rpc::{CallError, Caller, Clock as _, CountedNonces, FixedClock, InProcess, ReplayPolicy, Signer as _};

const ISSUER: u8 = 2;
const JANE: u8 = 3;
const JOE: u8 = 4;
const HOST: u8 = 5;
const MIA: u8 = 6;
const DAY: u64 = 24 * 3600;

/// Where the books are.
enum Place {
    Memory(TempDir),
    Sled(TempDir),
    Postgres(String),
}

impl Place {
    fn postgres(cluster: &Cluster) -> Self {
        Self::Postgres(cluster.database())
    }

    fn open(&self, clock: &Arc<FixedClock>) -> Arc<Bank> {
        let (signer, issuer) = (Arc::new(secret(1)), secret(ISSUER).public_key());
        let journal = |folder: &TempDir| Options::new(folder.path().join("journal"));
        let bank = match self {
            Self::Memory(folder) => {
                Bank::open(journal(folder), Arc::new(MemoryStore::new()), signer, clock.clone(), issuer).unwrap().0
            }
            Self::Sled(folder) => {
                let store = sled_store(&folder.path().join("index"));
                Bank::open(journal(folder), store, signer, clock.clone(), issuer).unwrap().0
            }
            Self::Postgres(url) => {
                Bank::over(Box::new(PostgresBooks::open(url).unwrap()), signer, clock.clone(), issuer).unwrap().0
            }
        };
        Arc::new(bank)
    }
}

/// A bank, and people who call it.
struct World {
    bank: Arc<Bank>,
    service: Arc<BankService>,
    clock: Arc<FixedClock>,
    callers: Arc<AtomicU64>,
}

impl World {
    fn new(place: &Place) -> Self {
        let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
        Self::at(place, clock, Arc::new(AtomicU64::new(0)))
    }

    fn at(place: &Place, clock: Arc<FixedClock>, callers: Arc<AtomicU64>) -> Self {
        let bank = place.open(&clock);
        let policy = ReplayPolicy::IN_PROCESS;
        let service = BankService::new(bank.clone(), Arc::new(secret(1)), clock.clone(), policy, Registration::Open)
            .with_accounts_per_opener_max(2);
        Self { bank, service: Arc::new(service), clock, callers }
    }

    fn client(&self, party: u8) -> BankClient {
        let nonces = CountedNonces::new(self.callers.fetch_add(1, Ordering::Relaxed));
        let caller =
            Caller::new(Arc::new(secret(party)), secret(1).public_key(), Arc::new(InProcess(self.service.clone())));
        BankClient::new(caller.with_clock(self.clock.clone()).with_nonces(Arc::new(nonces)))
    }

    /// Accounts of Jane, with 100 credits, and of Joe.
    fn furnish(&self) {
        for party in [JANE, JOE] {
            self.client(party).open_account(secret(party).public_key(), AccountKind::User, "").unwrap();
        }
        let request = IssueRequest { id: id(0), to: account(JANE), amount: credits(100), memo: "welcome".into() };
        let issued = self.client(ISSUER).issue(&request).unwrap();
        assert_eq!(issued.transfer.balance, credits(100));
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(TimeSpan::from_seconds(seconds));
    }

    fn account(&self, party: u8) -> Account {
        self.client(party).account(&account(party)).unwrap()
    }

    fn balance(&self, party: u8) -> Credits {
        self.client(party).own_account().unwrap().balance
    }

    fn check(&self) {
        let audit = audit_bank(&self.bank).unwrap();
        assert!(audit.is_clean(), "{audit:?}");
        assert_eq!(audit.books, Some(self.bank.books().unwrap()));
    }
}

fn id(number: u8) -> TransferId {
    TransferId::from_bytes([number; 16])
}

fn account(party: u8) -> AccountId {
    AccountId::of(&secret(party).public_key())
}

fn credits(whole: i64) -> Credits {
    Credits::from_micros(whole * CREDIT)
}

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    match result {
        Err(CallError::Refused(problem)) => problem.code.clone(),
        other => panic!("a refusal is expected: {other:?}"),
    }
}

fn payment(number: u8, payer: u8, payee: u8, whole: i64) -> TransferRequest {
    let (payer, payee) = (account(payer), account(payee));
    TransferRequest { id: id(number), payer, payee, amount: credits(whole), memo: "for lunch".into() }
}

fn transfers_are_made_once_with_a_receipt_and_a_balance(world: &World) {
    let jane = world.client(JANE);
    let paid = jane.transfer(&payment(1, JANE, JOE, 30)).unwrap();
    assert_eq!(paid.transfer.balance, credits(70));
    assert_eq!(paid.receipt.verify(&jane.bank()), Ok(()));
    assert_eq!((paid.receipt.terms.payee, paid.receipt.terms.amount), (account(JOE), credits(30)));
    world.pass(10);
    assert_eq!(jane.transfer(&payment(1, JANE, JOE, 30)).unwrap(), paid, "asking again gives the same answer");
    assert_eq!(code(jane.transfer(&payment(1, JANE, JOE, 31))), "bank.id-taken");
    assert_eq!(code(jane.transfer(&payment(2, JANE, JOE, 71))), "bank.insufficient-funds");
    assert_eq!(code(world.client(JOE).transfer(&payment(3, JANE, JOE, 1))), "bank.not-allowed");
    assert_eq!(code(jane.transfer(&payment(4, JANE, MIA, 1))), "bank.no-account");
    assert_eq!(jane.paid(&account(JANE), &id(1)).unwrap(), paid);
    let seen_by_joe = world.client(JOE).paid(&account(JANE), &id(1)).unwrap();
    assert_eq!(seen_by_joe.transfer.balance, Credits::ZERO, "what Jane has is not Joe's business");
    assert_eq!(seen_by_joe.receipt, paid.receipt);
    assert_eq!((world.balance(JANE), world.balance(JOE)), (credits(70), credits(30)));
}

fn several_transfers_are_made_each_by_itself_or_all_or_none(world: &World) {
    let jane = world.client(JANE);
    let orders = [payment(1, JANE, JOE, 60), payment(2, JANE, JOE, 60), payment(3, JANE, JOE, 40)];
    assert_eq!(code(jane.transfers(&orders, true)), "bank.linked");
    assert_eq!(world.balance(JANE), credits(100), "none was made");
    let told = |outcomes: Vec<TransferOutcome>| -> Vec<String> {
        let told = outcomes.into_iter().map(|outcome| match outcome {
            TransferOutcome::Paid(paid) => paid.transfer.balance.to_string(),
            TransferOutcome::Problem(problem) => problem.code.clone(),
        });
        told.collect()
    };
    let outcomes = told(jane.transfers(&orders, false).unwrap());
    assert_eq!(outcomes, ["40.00", "bank.insufficient-funds", "0.00"]);
    assert_eq!(told(jane.transfers(&orders, false).unwrap()), outcomes, "asking again gives the same answers");
    let back = [payment(4, JOE, JANE, 50), payment(5, JOE, JANE, 50)];
    assert_eq!(world.client(JOE).transfers(&back, true).unwrap().len(), 2);
    assert_eq!(world.balance(JANE), credits(100));
    assert_eq!(code(jane.transfers(&[], false)), "bank.transfer-count");
    let twice = [payment(6, JANE, JOE, 1), payment(6, JANE, JOE, 2)];
    assert_eq!(code(jane.transfers(&twice, true)), "bank.linked", "one id names one transfer");
}

fn reservation(number: u8, whole: i64, resolver: Resolver) -> ReservationOrder {
    ReservationOrder {
        id: id(number),
        payer: account(JANE),
        payee: account(JOE),
        amount: credits(whole),
        memo: String::new(),
        timeout: TimeSpan::from_seconds(3600),
        resolver,
    }
}

fn reservations_are_posted_voided_or_expire_and_only_once(world: &World) {
    let (jane, joe) = (world.client(JANE), world.client(JOE));
    let order = reservation(1, 30, Resolver::Payer);
    let open = jane.reserve(&order).unwrap();
    assert_eq!(jane.reserve(&order).unwrap(), open);
    assert_eq!((world.balance(JANE), world.account(JANE).reserved), (credits(70), credits(30)));
    assert_eq!(code(jane.transfer(&payment(1, JANE, JOE, 30))), "bank.id-taken", "transfers share the ids");
    assert_eq!(code(joe.resolve(&account(JANE), &id(1), Resolution::Void {})), "bank.not-allowed");
    let too_much = Resolution::Post { amount: Some(credits(31)) };
    assert_eq!(code(jane.resolve(&account(JANE), &id(1), too_much)), "bank.bad-posting");
    let part = Resolution::Post { amount: Some(credits(10)) };
    let posted = jane.resolve(&account(JANE), &id(1), part).unwrap();
    assert_eq!(posted.end, Some(ReservationEnd::Posted { amount: credits(10) }));
    assert_eq!(jane.resolve(&account(JANE), &id(1), part).unwrap(), posted, "asking again gives the same answer");
    assert_eq!(code(jane.resolve(&account(JANE), &id(1), Resolution::Void {})), "bank.resolved");
    assert_eq!((world.balance(JANE), world.balance(JOE)), (credits(90), credits(10)));
    assert_eq!(jane.paid(&account(JANE), &id(1)).unwrap().transfer.amount, credits(10));

    jane.reserve(&reservation(2, 20, Resolver::Payee)).unwrap();
    assert_eq!(code(jane.resolve(&account(JANE), &id(2), Resolution::Void {})), "bank.not-allowed");
    joe.resolve(&account(JANE), &id(2), Resolution::Void {}).unwrap();
    assert_eq!(world.balance(JANE), credits(90));

    jane.reserve(&reservation(3, 40, Resolver::Either)).unwrap();
    world.pass(3600);
    let whole = Resolution::Post { amount: None };
    assert_eq!(code(joe.resolve(&account(JANE), &id(3), whole)), "bank.resolved", "its time is over");
    assert_eq!(jane.reservation(&account(JANE), &id(3)).unwrap().end, Some(ReservationEnd::Expired));
    assert_eq!((world.balance(JANE), world.account(JANE).reservations_open), (credits(90), 0));
    let endless = ReservationOrder { timeout: TimeSpan::from_seconds(31 * DAY), ..reservation(4, 1, Resolver::Payer) };
    assert_eq!(code(jane.reserve(&endless)), "bank.bad-timeout");
}

fn what_was_paid_is_given_back_in_parts_and_never_more_than_that(world: &World) {
    let (jane, joe) = (world.client(JANE), world.client(JOE));
    jane.transfer(&payment(1, JANE, JOE, 30)).unwrap();
    let refund = |number: u8, amount: Option<i64>| RefundOrder {
        id: id(number),
        payer: account(JOE),
        payee: account(JANE),
        of: id(1),
        amount: amount.map(credits),
        memo: "too salty".into(),
    };
    assert_eq!(code(jane.refund(&refund(5, Some(1)))), "bank.not-allowed", "who was paid gives back");
    let part = joe.refund(&refund(5, Some(10))).unwrap();
    assert_eq!((part.transfer.refund_of, part.receipt.terms.refund_of), (Some(id(1)), Some(id(1))));
    assert_eq!(part.receipt.verify(&jane.bank()), Ok(()));
    assert_eq!(joe.refund(&refund(5, Some(10))).unwrap(), part, "asking again gives the same answer");
    assert_eq!(code(joe.refund(&refund(5, Some(11)))), "bank.id-taken");
    assert_eq!(code(joe.transfer(&payment(5, JOE, JANE, 10))), "bank.id-taken", "refunds and transfers share the ids");
    assert_eq!(code(joe.refund(&refund(6, Some(21)))), "bank.over-refunded");
    assert_eq!(code(joe.refund(&refund(6, Some(0)))), "bank.no-amount");
    let rest = joe.refund(&refund(6, None)).unwrap();
    assert_eq!((rest.transfer.amount, world.balance(JANE)), (credits(20), credits(100)));
    assert_eq!(joe.refund(&refund(6, None)).unwrap(), rest);
    assert_eq!(code(joe.refund(&refund(7, None))), "bank.over-refunded");
    assert_eq!(jane.paid(&account(JANE), &id(1)).unwrap().transfer.refunded, credits(30));
    let of = |of: u8| RefundOrder { of: id(of), ..refund(8, None) };
    assert_eq!(code(joe.refund(&of(2))), "bank.no-transfer");
    let back = RefundOrder { payer: account(JANE), payee: account(JOE), of: id(5), ..refund(9, None) };
    assert_eq!(code(jane.refund(&back)), "bank.no-transfer", "what was given back stays there");
    let issued = RefundOrder { payer: account(JANE), payee: AccountId::of(&secret(ISSUER).public_key()), ..of(0) };
    assert_eq!(code(jane.refund(&issued)), "bank.no-transfer", "an issue is not given back");
    // What was reserved and posted was paid, too.
    jane.reserve(&reservation(3, 40, Resolver::Payer)).unwrap();
    jane.resolve(&account(JANE), &id(3), Resolution::Post { amount: Some(credits(8)) }).unwrap();
    joe.refund(&RefundOrder { of: id(3), ..refund(10, None) }).unwrap();
    assert_eq!((world.balance(JANE), world.balance(JOE)), (credits(100), Credits::ZERO));
    let kinds = |party: u8| -> Vec<&'static str> {
        let page = world.client(party).history(&account(party), None, 2).unwrap();
        page.items.iter().map(|entry| entry.cause.kind()).collect()
    };
    assert_eq!((kinds(JOE), kinds(JANE)[0]), (vec!["refund", "received"], "refunded"));
}

fn request(party: u8, deposit: i64, sub: bool) -> AccountRequest {
    let key = secret(party).public_key();
    AccountRequest { deposit: credits(deposit), sub, ..AccountRequest::new(key, AccountKind::User, "") }
}

fn accounts_are_opened_with_a_deposit_and_by_each_only_so_many(world: &World) {
    let jane = world.client(JANE);
    let mia = jane.open_account_with(&request(MIA, 25, false)).unwrap();
    assert_eq!(mia.balance, credits(25));
    assert_eq!(world.balance(JANE), credits(75));
    assert_eq!(jane.open_account_with(&request(MIA, 25, false)).unwrap(), mia, "asking again pays no second deposit");
    assert_eq!(world.balance(JANE), credits(75));
    assert_eq!(code(jane.open_account_with(&request(20, 76, false))), "bank.insufficient-funds");
    assert_eq!(code(jane.open_account_with(&request(20, -1, false))), "bank.bad-deposit");
    jane.open_account_with(&request(20, 0, false)).unwrap();
    assert_eq!(code(jane.open_account_with(&request(21, 0, false))), "bank.too-many-accounts-opened");
    for party in 21..25 {
        world.client(ISSUER).open_account_with(&request(party, 0, false)).unwrap();
    }
}

fn allowances_are_used_or_lost(world: &World) {
    let (jane, mia) = (world.client(JANE), world.client(MIA));
    jane.open_account_with(&request(MIA, 0, true)).unwrap();
    let terms = AllowanceTerms { amount: credits(10), period: TimeSpan::from_seconds(7 * DAY), until: None };
    assert_eq!(code(mia.set_allowance(&account(MIA), Some(terms))), "bank.not-allowed");
    assert_eq!(code(jane.set_allowance(&account(JOE), Some(terms))), "bank.no-sub-account");
    let granted = jane.set_allowance(&account(MIA), Some(terms)).unwrap();
    assert_eq!((granted.balance, world.balance(JANE)), (credits(10), credits(90)));
    assert_eq!(jane.set_allowance(&account(MIA), Some(terms)).unwrap(), granted, "asking again grants nothing more");
    assert_eq!(code(mia.transfer(&payment(1, MIA, JOE, 1))), "bank.allowance-only");
    let deposit = mia.open_account_with(&request(20, 1, false));
    assert_eq!(code(deposit), "bank.allowance-only");
    mia.transfer(&payment(2, MIA, JANE, 4)).unwrap();
    assert_eq!(world.balance(JANE), credits(94));
    // Four weeks in which nobody looked are one period that begins, not four that are saved up.
    world.pass(28 * DAY);
    assert_eq!((world.balance(MIA), world.balance(JANE)), (credits(10), credits(90)));
    let smaller = AllowanceTerms {
        amount: credits(3),
        until: Some(world.clock.now().plus(TimeSpan::from_seconds(10 * DAY))),
        ..terms
    };
    jane.set_allowance(&account(MIA), Some(smaller)).unwrap();
    assert_eq!((world.balance(MIA), world.balance(JANE)), (credits(3), credits(97)));
    world.pass(11 * DAY);
    assert_eq!((world.balance(MIA), world.balance(JANE)), (Credits::ZERO, credits(100)), "the allowance has ended");
    assert_eq!(world.account(MIA).allowance, None);
}

fn sub_accounts_are_owned_from_above(world: &World) {
    let jane = world.client(JANE);
    jane.open_account_with(&request(MIA, 20, true)).unwrap();
    assert_eq!(jane.account(&account(MIA)).unwrap().parent, Some(account(JANE)));
    assert_eq!(code(world.client(JOE).account(&account(MIA))), "bank.not-allowed");
    jane.transfer(&payment(1, MIA, JOE, 5)).unwrap();
    assert_eq!(world.balance(MIA), credits(15));
    let seen: Vec<_> = jane.accounts().unwrap().into_iter().map(|account| account.id).collect();
    assert_eq!(seen, [account(JANE), account(MIA)]);
    assert_eq!(world.client(ISSUER).accounts().unwrap().len(), 4, "the issuer sees them all");
    assert_eq!(code(world.client(MIA).open_account_with(&request(20, 0, true))), "bank.sub-of-sub");
    assert_eq!(code(jane.close_account(&account(JANE), account(JOE))), "bank.still-open");
    let closed = jane.close_account(&account(MIA), account(JANE)).unwrap();
    assert!(closed.closed_at.is_some() && closed.balance.is_zero());
    assert_eq!(world.balance(JANE), credits(95));
    assert_eq!(code(world.client(MIA).own_account()), "bank.no-account", "its key acts for nobody");
    assert_eq!(code(jane.transfer(&payment(2, JANE, MIA, 1))), "bank.closed");
    assert_eq!(jane.close_account(&account(MIA), account(JANE)).unwrap(), closed, "closing again changes nothing");
}

fn keys_are_replaced_and_limited(world: &World) {
    let jane = world.client(JANE);
    let key = |party: u8| secret(party).public_key();
    let limit = Some(SpendingLimit { amount: credits(5), period: TimeSpan::from_seconds(DAY) });
    jane.change_keys(&account(JANE), &KeyChange::Put { key: key(20), role: KeyRole::Spender, limit }).unwrap();
    let other = world.client(20);
    other.transfer(&payment(1, JANE, JOE, 4)).unwrap();
    assert_eq!(code(other.transfer(&payment(2, JANE, JOE, 2))), "bank.over-limit");
    world.pass(DAY);
    other.transfer(&payment(2, JANE, JOE, 2)).unwrap();
    let replace = KeyChange::Replace { key: key(JANE), with: key(21) };
    assert_eq!(code(other.change_keys(&account(JANE), &replace)), "bank.not-allowed");
    let replaced = jane.change_keys(&account(JANE), &replace).unwrap();
    assert_eq!(replaced.id, account(JANE), "the account stays what it was");
    assert_eq!(code(jane.own_account()), "bank.no-account", "the old key can do nothing more");
    assert_eq!(world.client(21).change_keys(&account(JANE), &replace).unwrap(), replaced);
    assert_eq!(code(jane.open_account(key(JANE), AccountKind::User, "")), "bank.key-used");
    let last = KeyChange::Remove { key: key(21) };
    assert_eq!(code(world.client(21).change_keys(&account(JANE), &last)), "bank.last-owner");
}

fn statement(escrow: u8, sequence: u64, drawn: i64, closed: bool) -> Statement {
    let escrow = EscrowId::from_bytes([escrow; 16]);
    let (drawn_total, released_total) = (credits(drawn), Credits::ZERO);
    Statement::sign(StatementTerms { escrow, sequence, drawn_total, released_total, closed }, |bytes| {
        secret(HOST).sign(bytes)
    })
}

fn escrow(number: u8, whole: i64) -> EscrowOrder {
    let host_key = secret(HOST).public_key();
    EscrowOrder {
        id: EscrowId::from_bytes([number; 16]),
        payer: account(JANE),
        pool: if number.is_multiple_of(2) { "even" } else { "odd" }.parse().unwrap(),
        host: HostId::of(&host_key),
        host_key,
        beneficiary: account(JOE),
        amount: credits(whole),
        longest: TimeSpan::from_seconds(3600),
        highest_rate: Rate::of(credits(36), TimeSpan::from_seconds(3600)).unwrap(),
    }
}

fn what_hosts_draw_is_seen_line_by_line_and_page_by_page(world: &World) {
    let (jane, host) = (world.client(JANE), world.client(HOST));
    let began = world.clock.now();
    for number in 1..=3 {
        jane.open_escrow(&escrow(number, 10)).unwrap();
    }
    world.pass(500);
    host.settle(&statement(1, 1, 4, false)).unwrap();
    host.settle(&statement(2, 1, 0, false)).unwrap();
    host.settle(&statement(2, 2, 5, true)).unwrap();
    world.pass(2 * DAY);
    let lines = jane.lines(&account(JANE), began, Timestamp::from_micros(i64::MAX)).unwrap();
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.escrow.as_bytes()[0], line.set_aside, line.drawn, line.returned, line.end))
        .collect();
    let zero = Credits::ZERO;
    assert_eq!(
        told,
        [
            (1, credits(10), zero, zero, None),
            (2, credits(10), zero, zero, None),
            (3, credits(10), zero, zero, None),
            (1, zero, credits(4), zero, None),
            (2, zero, credits(5), credits(5), Some(EscrowEnd::Closed)),
            (1, zero, zero, credits(6), Some(EscrowEnd::Lapsed)),
            (3, zero, zero, credits(10), Some(EscrowEnd::Lapsed)),
        ]
    );
    for line in &lines {
        assert_eq!(line.statement.is_some(), !line.drawn.is_zero());
        assert!(line.statement.as_ref().is_none_or(|statement| statement.verify(&line.host_key).is_ok()));
    }
    let drew = began.plus(TimeSpan::from_seconds(1));
    assert_eq!(jane.lines(&account(JANE), drew, drew.plus(TimeSpan::from_seconds(1000))).unwrap().len(), 2);
    assert_eq!(code(world.client(JOE).lines(&account(JANE), began, drew)), "bank.not-allowed");

    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = jane.history(&account(JANE), before.as_deref(), 2).unwrap();
        seen.extend(page.items.iter().map(|entry| entry.number));
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
    let returned = jane.filtered_history(&account(JANE), None, 100, &[("kind", "returned")]).unwrap();
    assert_eq!(returned.items.len(), 3);
    let (from, to) = (began.micros().to_string(), drew.micros().to_string());
    let first = jane.filtered_history(&account(JANE), None, 100, &[("from", &from), ("to", &to)]).unwrap();
    assert_eq!(first.items.len(), 4, "the issue and three escrows");
    let escrows = jane.escrows(Some(&"odd".parse().unwrap()), None).unwrap();
    assert_eq!(escrows.iter().map(|escrow| escrow.order.id.as_bytes()[0]).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(host.escrows(None, Some(&HostId::of(&secret(HOST).public_key()))).unwrap().len(), 3);
}

fn requests_count_once(world: &World) {
    let caller =
        Caller::new(Arc::new(secret(JANE)), secret(1).public_key(), Arc::new(InProcess(world.service.clone())))
            .with_clock(world.clock.clone());
    let request = caller.signed(http::Method::POST, "/v1/transfers", &[], Some(&payment(1, JANE, JOE, 1))).unwrap();
    use tycoon_rpc::Service as _;
    assert_eq!(world.service.handle(request.clone()).status(), 200);
    assert_eq!(world.service.handle(request).status(), 401, "a replay");
}

type Check = fn(&World);

const SUITE: &[(&str, Check)] = &[
    ("transfers", transfers_are_made_once_with_a_receipt_and_a_balance),
    ("several transfers", several_transfers_are_made_each_by_itself_or_all_or_none),
    ("refunds", what_was_paid_is_given_back_in_parts_and_never_more_than_that),
    ("reservations", reservations_are_posted_voided_or_expire_and_only_once),
    ("opening accounts", accounts_are_opened_with_a_deposit_and_by_each_only_so_many),
    ("allowances", allowances_are_used_or_lost),
    ("sub-accounts", sub_accounts_are_owned_from_above),
    ("keys", keys_are_replaced_and_limited),
    ("lines and pages", what_hosts_draw_is_seen_line_by_line_and_page_by_page),
    ("replays", requests_count_once),
];

/// Runs the suite, each check in books of its own; then closes and opens them, and takes them elsewhere.
fn suite(place: impl Fn() -> Place) {
    for (name, check) in SUITE {
        println!("{name}");
        let place = place();
        let world = World::new(&place);
        world.furnish();
        check(&world);
        world.check();
        let (before, balances) = (world.bank.books().unwrap(), [JANE, JOE].map(|party| stored(&world, party)));
        let World { bank, service, clock, callers } = world;
        let mut exported = Vec::new();
        export::write(&mut exported, &mut |visit| bank.records(visit)).unwrap();
        drop((bank, service));
        let again = World::at(&place, clock, callers);
        assert_eq!(again.bank.books().unwrap(), before, "{name}: the books after opening them again");
        assert_eq!([JANE, JOE].map(|party| stored(&again, party)), balances, "{name}");
        again.check();
        let mut records = 0;
        let head = export::read(&mut exported.as_slice(), &mut |_| {
            records += 1;
            Ok(())
        });
        assert_eq!((head.unwrap().record, records), (again.bank.last_record(), again.bank.last_record()), "{name}");
    }
}

fn stored(world: &World, party: u8) -> Option<Account> {
    world.bank.read(|store| store.account(&account(party))).unwrap()
}

#[test]
fn a_journal_with_an_index_in_memory_conforms() {
    suite(|| Place::Memory(tempfile::tempdir().unwrap()));
}

#[test]
fn a_journal_with_sled_conforms() {
    suite(|| Place::Sled(tempfile::tempdir().unwrap()));
}

#[test]
fn postgresql_conforms() {
    let cluster = Cluster::start();
    suite(|| Place::postgres(&cluster));
}

#[test]
fn two_processes_on_one_database_keep_one_ledger_through_restarts_of_it() {
    let cluster = Cluster::start();
    let place = Place::postgres(&cluster);
    let first = World::new(&place);
    first.furnish();
    let second = World::at(&place, first.clock.clone(), first.callers.clone());
    let told = AtomicU64::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (thread, world) in [&first, &second, &first, &second].into_iter().enumerate() {
            let (told, stop) = (&told, &stop);
            scope.spawn(move || {
                let client = world.client(JANE);
                let mut number = 0_u64;
                while !stop.load(Ordering::SeqCst) {
                    let id = (u128::from(number) << 8 | thread as u128) + 1000;
                    let order = TransferRequest {
                        id: TransferId::from_bytes(id.to_be_bytes()),
                        amount: Credits::from_micros(1),
                        ..payment(0, JANE, JOE, 1)
                    };
                    // While the database restarts calls fail; the same id is tried until one tells that it was done.
                    if client.transfer(&order).is_ok() {
                        told.fetch_add(1, Ordering::SeqCst);
                        number += 1;
                    }
                }
            });
        }
        for round in 1..=3 {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while told.load(Ordering::SeqCst) < round * 40 {
                assert!(std::time::Instant::now() < deadline, "the transfers stand still");
                std::thread::yield_now();
            }
            cluster.crash_and_restart();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let told = told.load(Ordering::SeqCst) as i64;
    let third = World::at(&place, first.clock.clone(), first.callers.clone());
    assert_eq!(third.balance(JOE).micros(), told, "each was made once, and none that was told is lost");
    assert_eq!(first.balance(JANE).micros() + told, 100 * CREDIT);
    third.check();
    assert_eq!(first.bank.last_record(), second.bank.last_record());
}

#[test]
fn what_one_process_accepted_is_a_replay_at_the_other() {
    use tycoon_rpc::Service as _;
    let cluster = Cluster::start();
    let place = Place::postgres(&cluster);
    let first = World::new(&place);
    first.furnish();
    let second = World::at(&place, first.clock.clone(), first.callers.clone());
    let caller =
        Caller::new(Arc::new(secret(JANE)), secret(1).public_key(), Arc::new(InProcess(first.service.clone())))
            .with_clock(first.clock.clone());
    let key = secret(20).public_key();
    let path = format!("/v1/accounts/{}/keys", account(JANE));
    let put = KeyChange::Put { key, role: KeyRole::Owner, limit: None };
    let request = caller.signed(http::Method::POST, &path, &[], Some(&put)).unwrap();
    assert_eq!(first.service.handle(request.clone()).status(), 200);
    first.client(JANE).change_keys(&account(JANE), &KeyChange::Remove { key }).unwrap();
    assert_eq!(second.service.handle(request).status(), 401, "a key that was removed does not come back");
    assert_eq!(second.account(JANE).keys.len(), 1);
}

#[test]
fn books_in_postgresql_that_were_changed_from_outside_are_found() {
    let cluster = Cluster::start();
    for (statement, opens) in [
        ("UPDATE journal SET payload = replace(payload, 'welcome', 'welcame')", true),
        ("UPDATE journal SET at = at + 1 WHERE record = 3", true),
        ("DELETE FROM journal WHERE record = 2", true),
        ("DELETE FROM journal WHERE record = (SELECT max(record) FROM journal)", false),
        ("INSERT INTO migrations (step) VALUES (99)", false),
    ] {
        let place = Place::postgres(&cluster);
        World::new(&place).furnish();
        let Place::Postgres(url) = &place else { unreachable!("it was made so") };
        cluster.sql(url, statement);
        let opened = PostgresBooks::open(url);
        assert_eq!(opened.is_ok(), opens, "{statement}: {:?}", opened.err());
        if opens {
            let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
            assert!(audit_bank(&place.open(&clock)).is_err(), "{statement}");
        }
    }
    let nowhere = PostgresBooks::open("postgres://bank@%2Fno%2Fsuch%2Ffolder/bank").err().unwrap().to_string();
    assert!(nowhere.contains("cannot be reached"), "{nowhere}");
}

#[test]
fn an_export_of_a_journal_becomes_books_in_postgresql() {
    let journal = Place::Sled(tempfile::tempdir().unwrap());
    let world = World::new(&journal);
    world.furnish();
    transfers_are_made_once_with_a_receipt_and_a_balance(&world);
    let mut exported = Vec::new();
    export::write(&mut exported, &mut |visit| world.bank.records(visit)).unwrap();
    let cluster = Cluster::start();
    let place = Place::postgres(&cluster);
    let Place::Postgres(url) = &place else { unreachable!("it was made so") };
    let books = PostgresBooks::open(url).unwrap();
    export::read(&mut exported.as_slice(), &mut |record| books.append(record)).unwrap();
    let moved = World::at(&place, world.clock.clone(), world.callers.clone());
    assert_eq!(moved.bank.books().unwrap(), world.bank.books().unwrap());
    moved.check();
    let mut again = Vec::new();
    export::write(&mut again, &mut |visit| moved.bank.records(visit)).unwrap();
    assert_eq!(again, exported, "and back");
}
