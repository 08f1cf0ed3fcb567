//! The bank through its service and its client: who may do what, and that doing it twice does it once.

mod site;

use std::sync::Arc;

use site::{CREDIT, Site, secret};
use tycoon_bank::api::{IssueRequest, TransferRequest};
use tycoon_bank::audit::audit;
use tycoon_bank::ledger::{AccountKind, EscrowEnd, EscrowOrder, KeyChange, KeyRole, SpendingLimit};
use tycoon_bank::{BankClient, BankService, Registration};
use tycoon_market::{
    AccountId, Credits, EscrowId, HostId, Rate, Statement, StatementTerms, TimeSpan, Timestamp, TransferId,
};
use tycoon_rpc::{CallError, InProcess, Service as _, Signer as _, Transport, TransportError};

fn code<T: std::fmt::Debug>(result: Result<T, CallError>) -> String {
    match result {
        Err(CallError::Refused(problem)) => problem.code.clone(),
        other => panic!("a refusal is expected: {other:?}"),
    }
}

fn credits(whole: i64) -> Credits {
    Credits::from_micros(whole * CREDIT)
}

fn order(id: u8, payer: u8, amount: i64) -> EscrowOrder {
    EscrowOrder {
        id: EscrowId::from_bytes([id; 16]),
        payer: AccountId::of(&secret(payer).public_key()),
        pool: "hello".parse().unwrap(),
        host: HostId::of(&secret(HOST).public_key()),
        host_key: secret(HOST).public_key(),
        beneficiary: AccountId::of(&secret(OWNER).public_key()),
        amount: credits(amount),
        longest: TimeSpan::from_seconds(3600),
        highest_rate: Rate::of(credits(36), TimeSpan::from_seconds(3600)).unwrap(),
    }
}

fn statement(host: u8, sequence: u64, drawn: Credits, released: Credits, closed: bool) -> Statement {
    let escrow = EscrowId::from_bytes([1; 16]);
    let terms = StatementTerms { escrow, sequence, drawn_total: drawn, released_total: released, closed };
    Statement::sign(terms, |bytes| secret(host).sign(bytes))
}

const ISSUER: u8 = 2;
const JANE: u8 = 3;
const OWNER: u8 = 4;
const HOST: u8 = 5;
const STRANGER: u8 = 6;

/// A site where Jane has 100 credits and a host owner has none.
fn site() -> Site {
    let site = Site::new(Registration::Open);
    let jane = site.client(JANE).open_account(secret(JANE).public_key(), AccountKind::User, "jane").unwrap();
    site.client(OWNER).open_account(secret(OWNER).public_key(), AccountKind::Owner, "owner").unwrap();
    let request = IssueRequest {
        id: TransferId::from_bytes([1; 16]),
        to: jane.id,
        amount: credits(100),
        memo: "welcome".to_owned(),
    };
    site.client(ISSUER).issue(&request).unwrap();
    site
}

#[test]
fn an_escrow_pays_a_host_and_returns_the_rest() {
    let site = site();
    let jane = site.client(JANE);
    let receipt = jane.open_escrow(&order(1, JANE, 10)).unwrap();
    assert_eq!(receipt.verify(&jane.bank()), Ok(()));
    assert_eq!(receipt.terms.payer_keys, [secret(JANE).public_key()]);
    assert_eq!(jane.own_account().unwrap().balance, credits(90));
    assert_eq!(jane.own_account().unwrap().set_aside, credits(10));

    let host = site.client(HOST);
    site.clock.advance(TimeSpan::from_seconds(500));
    let escrow = host.settle(&statement(HOST, 1, credits(4), credits(1), false)).unwrap();
    assert_eq!((escrow.drawn, escrow.released, escrow.held()), (credits(4), credits(1), credits(5)));
    assert_eq!(site.client(OWNER).own_account().unwrap().balance, credits(4));
    let escrow = host.settle(&statement(HOST, 2, credits(5), credits(1), true)).unwrap();
    assert_eq!((escrow.end, escrow.held()), (Some(EscrowEnd::Closed), Credits::ZERO));
    assert_eq!(jane.own_account().unwrap().balance, credits(95));
    assert_eq!(jane.own_account().unwrap().set_aside, Credits::ZERO);
    // The index gathers what it is to hold; here it is looked at by itself.
    site.bank.flush().unwrap();
    let audit = audit(&site.journal(), Some(&*site.store)).unwrap();
    assert!(audit.is_clean(), "{audit:?}");
    assert_eq!(audit.in_accounts, credits(100));
}

#[test]
fn asking_twice_does_it_once_and_asking_for_something_else_with_the_same_id_is_refused() {
    let site = site();
    let jane = site.client(JANE);
    let transfer = TransferRequest {
        id: TransferId::from_bytes([9; 16]),
        payer: AccountId::of(&secret(JANE).public_key()),
        payee: AccountId::of(&secret(OWNER).public_key()),
        amount: credits(1),
        memo: String::new(),
    };
    let first = jane.transfer(&transfer).unwrap();
    assert_eq!(jane.transfer(&transfer).unwrap(), first);
    assert_eq!(jane.own_account().unwrap().balance, credits(99));
    let other = TransferRequest { amount: credits(2), ..transfer };
    assert_eq!(code(jane.transfer(&other)), "bank.id-taken");

    let receipt = jane.open_escrow(&order(1, JANE, 10)).unwrap();
    site.clock.advance(TimeSpan::from_seconds(5));
    assert_eq!(jane.open_escrow(&order(1, JANE, 10)).unwrap(), receipt);
    assert_eq!(jane.own_account().unwrap().balance, credits(89));
    assert_eq!(code(jane.open_escrow(&order(1, JANE, 11))), "bank.id-taken");

    let issue = IssueRequest {
        id: TransferId::from_bytes([1; 16]),
        to: AccountId::of(&secret(JANE).public_key()),
        amount: credits(100),
        memo: "welcome".to_owned(),
    };
    site.client(ISSUER).issue(&issue).unwrap();
    assert_eq!(site.bank.books().unwrap().issued, credits(100));
    let account = jane.open_account(secret(JANE).public_key(), AccountKind::User, "jane").unwrap();
    assert_eq!(account.balance, credits(89), "opening it again gives the same account");
}

#[test]
fn a_statement_is_refused_where_it_is_forged_or_greedy_and_repeating_one_is_harmless() {
    let site = site();
    site.client(JANE).open_escrow(&order(1, JANE, 10)).unwrap();
    let host = site.client(HOST);
    let none = Credits::ZERO;
    site.clock.advance(TimeSpan::from_seconds(100));
    assert_eq!(code(host.settle(&statement(HOST, 1, credits(2), none, false))), "bank.too-fast", "0.01 per second");
    assert_eq!(code(host.settle(&statement(OWNER, 1, credits(1), none, false))), "bank.forged-statement");
    let strangers = site.client(STRANGER).settle(&statement(HOST, 1, credits(1), none, false));
    assert_eq!(code(strangers), "bank.not-allowed");
    assert_eq!(code(host.settle(&statement(HOST, 1, credits(1), credits(10), false))), "bank.over-drawn");
    let negative = Credits::from_micros(-1);
    assert_eq!(code(host.settle(&statement(HOST, 1, negative, none, false))), "bank.statement-goes-back");

    let first = host.settle(&statement(HOST, 3, credits(1), none, false)).unwrap();
    let repeated = host.settle(&statement(HOST, 3, credits(1), none, false)).unwrap();
    assert_eq!(repeated, first);
    assert_eq!(host.settle(&statement(HOST, 2, credits(1), credits(9), true)).unwrap(), first, "an older one");
    assert_eq!(code(host.settle(&statement(HOST, 3, none, none, false))), "bank.statement-conflict");
    assert_eq!(code(host.settle(&statement(HOST, 4, none, none, false))), "bank.statement-goes-back");

    host.settle(&statement(HOST, 5, credits(1), none, true)).unwrap();
    assert_eq!(code(host.settle(&statement(HOST, 6, credits(1), none, false))), "bank.escrow-ended");
    assert_eq!(site.client(JANE).own_account().unwrap().balance, credits(99));
}

#[test]
fn a_payer_is_told_what_her_hosts_claimed_beyond_what_they_may_have() {
    let site = site();
    let (jane, host) = (site.client(JANE), site.client(HOST));
    jane.open_escrow(&order(1, JANE, 50)).unwrap();
    site.clock.advance(TimeSpan::from_seconds(100));
    let claim = |sequence, amount| code(host.settle(&statement(HOST, sequence, credits(amount), Credits::ZERO, false)));
    assert_eq!(claim(1, 2), "bank.too-fast", "two minutes at 0.01 are what two clocks may differ by");
    assert_eq!(jane.refused_claims().unwrap(), []);
    assert_eq!((claim(2, 40), claim(3, 51)), ("bank.too-fast".into(), "bank.over-drawn".into()));
    let told = jane.refused_claims().unwrap();
    let [last] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((last.claimed, last.granted, last.times), (credits(51), credits(50), 2));
    assert_eq!((last.host, last.pool.as_str()), (HostId::of(&secret(HOST).public_key()), "hello"));
    assert_eq!(site.client(OWNER).refused_claims().unwrap(), [], "it is nobody else's business");
    assert_eq!(code(site.client(STRANGER).refused_claims()), "bank.not-allowed");
    assert_eq!(jane.own_account().unwrap().set_aside, credits(50), "and nothing was drawn");
}

#[test]
fn what_a_silent_host_holds_returns_after_24_hours() {
    let site = site();
    let jane = site.client(JANE);
    let day = TimeSpan::from_seconds(24 * 3600);
    let long = EscrowOrder { longest: TimeSpan::from_seconds(30 * 24 * 3600), ..order(1, JANE, 10) };
    jane.open_escrow(&long).unwrap();
    site.clock.advance(TimeSpan::from_seconds(3600));
    site.client(HOST).settle(&statement(HOST, 1, credits(3), Credits::ZERO, false)).unwrap();
    site.clock.advance(day.saturating_sub(TimeSpan::from_seconds(1)));
    assert_eq!(jane.own_account().unwrap().balance, credits(90), "23:59:59 after the statement");
    site.clock.advance(TimeSpan::from_seconds(1));
    assert_eq!(jane.own_account().unwrap().balance, credits(97), "24 hours after the statement");
    let info = jane.escrow(&EscrowId::from_bytes([1; 16])).unwrap();
    assert_eq!(info.escrow.end, Some(EscrowEnd::Lapsed));
    let late = site.client(HOST).settle(&statement(HOST, 2, credits(4), Credits::ZERO, false));
    assert_eq!(code(late), "bank.escrow-ended");
    assert_eq!(site.client(OWNER).own_account().unwrap().balance, credits(3));
}

#[test]
fn an_escrow_lapses_24_hours_after_its_longest_duration_even_if_the_host_talks_on() {
    let site = site();
    let jane = site.client(JANE);
    jane.open_escrow(&order(1, JANE, 50)).unwrap();
    site.clock.advance(TimeSpan::from_seconds(23 * 3600));
    let host = site.client(HOST);
    let greedy = host.settle(&statement(HOST, 1, credits(37), Credits::ZERO, false));
    assert_eq!(code(greedy), "bank.too-fast", "an hour at the highest rate is 36 credits");
    host.settle(&statement(HOST, 1, credits(35), Credits::ZERO, false)).unwrap();
    site.clock.advance(TimeSpan::from_seconds(2 * 3600));
    assert_eq!(jane.own_account().unwrap().balance, credits(65));
}

#[test]
fn nobody_sees_or_spends_what_is_another_s() {
    let site = site();
    let (jane, stranger) = (site.client(JANE), site.client(STRANGER));
    let janes = AccountId::of(&secret(JANE).public_key());
    jane.open_escrow(&order(1, JANE, 10)).unwrap();
    let escrow = EscrowId::from_bytes([1; 16]);
    assert_eq!(code(stranger.account(&janes)), "bank.not-allowed");
    assert_eq!(code(stranger.history(&janes, None, 10)), "bank.not-allowed");
    assert_eq!(code(stranger.escrow(&escrow)), "bank.not-allowed");
    assert_eq!(code(stranger.escrows(None, None)), "bank.not-allowed");
    assert_eq!(code(stranger.own_account()), "bank.no-account");
    assert_eq!(code(site.client(OWNER).open_escrow(&order(2, JANE, 1))), "bank.not-allowed");
    let theft = TransferRequest {
        id: TransferId::from_bytes([9; 16]),
        payer: janes,
        payee: AccountId::of(&secret(OWNER).public_key()),
        amount: credits(1),
        memo: String::new(),
    };
    assert_eq!(code(site.client(OWNER).transfer(&theft)), "bank.not-allowed");
    let issue = IssueRequest { id: theft.id, to: janes, amount: credits(1), memo: String::new() };
    assert_eq!(code(jane.issue(&issue)), "bank.not-allowed");
    let take_over = KeyChange::Put { key: secret(OWNER).public_key(), role: KeyRole::Owner, limit: None };
    assert_eq!(code(site.client(OWNER).change_keys(&janes, &take_over)), "bank.not-allowed");

    for who in [JANE, OWNER, HOST, ISSUER] {
        assert!(site.client(who).escrow(&escrow).is_ok(), "{who}");
    }
    assert!(site.client(ISSUER).account(&janes).is_ok(), "the issuer looks after the site");
    assert_eq!(stranger.info().unwrap().key, jane.bank(), "everybody may know the bank");
}

#[test]
fn escrows_are_listed_by_pool_and_by_host() {
    let site = site();
    let jane = site.client(JANE);
    for id in 1..=5 {
        let pool = if id % 2 == 0 { "even" } else { "odd" };
        jane.open_escrow(&EscrowOrder { pool: pool.parse().unwrap(), ..order(id, JANE, 1) }).unwrap();
    }
    let ids = |escrows: Vec<tycoon_bank::ledger::Escrow>| -> Vec<u8> {
        escrows.iter().map(|escrow| escrow.order.id.as_bytes()[0]).collect()
    };
    let host = HostId::of(&secret(HOST).public_key());
    assert_eq!(ids(jane.escrows(Some(&"even".parse().unwrap()), None).unwrap()), [2, 4]);
    assert_eq!(ids(jane.escrows(None, None).unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(ids(jane.escrows(None, Some(&host)).unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(ids(site.client(HOST).escrows(None, Some(&host)).unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(ids(jane.escrows(None, Some(&HostId::of(&secret(JANE).public_key()))).unwrap()), [] as [u8; 0]);
}

#[test]
fn a_history_is_read_page_by_page_and_adds_up() {
    let site = site();
    let jane = site.client(JANE);
    for id in 1..=5 {
        jane.open_escrow(&order(id, JANE, 1)).unwrap();
    }
    let id = AccountId::of(&secret(JANE).public_key());
    let mut entries = Vec::new();
    let mut before = None;
    loop {
        let page = jane.history(&id, before.as_deref(), 2).unwrap();
        assert!(page.items.len() <= 2);
        entries.extend(page.items);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    let numbers: Vec<_> = entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 2, 1]);
    let sum = Credits::checked_sum(entries.iter().map(|entry| entry.change)).unwrap();
    assert_eq!(sum, jane.own_account().unwrap().balance);
    assert_eq!(entries[0].balance, sum);
}

#[test]
fn keys_have_roles_and_limits() {
    let site = site();
    let jane = site.client(JANE);
    let id = AccountId::of(&secret(JANE).public_key());
    let put = |key: u8, role, limit| KeyChange::Put { key: secret(key).public_key(), role, limit };
    let hour = TimeSpan::from_seconds(3600);
    let limit = SpendingLimit { amount: credits(10), period: hour };
    jane.change_keys(&id, &put(20, KeyRole::Spender, Some(limit))).unwrap();
    jane.change_keys(&id, &put(21, KeyRole::Reader, None)).unwrap();

    let (student, clerk) = (site.client(20), site.client(21));
    let receipt = student.open_escrow(&order(1, JANE, 7)).unwrap();
    let mut acting = [secret(JANE).public_key(), secret(20).public_key()];
    acting.sort();
    assert_eq!(receipt.terms.payer_keys, acting, "who may only look cannot act at a host");
    assert_eq!(code(student.open_escrow(&order(2, JANE, 4))), "bank.over-limit");
    site.clock.advance(hour);
    student.open_escrow(&order(2, JANE, 4)).unwrap();
    assert_eq!(code(clerk.open_escrow(&order(3, JANE, 1))), "bank.not-allowed");
    assert_eq!(clerk.own_account().unwrap().balance, credits(89));
    assert_eq!(code(student.change_keys(&id, &put(22, KeyRole::Owner, None))), "bank.not-allowed");

    let remove = KeyChange::Remove { key: secret(JANE).public_key() };
    assert_eq!(code(jane.change_keys(&id, &remove)), "bank.last-owner");
    jane.change_keys(&id, &put(22, KeyRole::Owner, None)).unwrap();
    jane.change_keys(&id, &remove).unwrap();
    assert_eq!(code(jane.own_account()), "bank.no-account");
    assert_eq!(site.client(22).own_account().unwrap().id, id, "the id outlives the first key");
    let again = jane.open_account(secret(JANE).public_key(), AccountKind::User, "jane");
    assert_eq!(code(again), "bank.key-used");
    let newer = site.client(HOST).escrow(&EscrowId::from_bytes([1; 16])).unwrap().receipt;
    assert!(!newer.terms.payer_keys.contains(&secret(JANE).public_key()));
    assert!(newer.terms.issued_at > receipt.terms.issued_at);
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let site = site();
    let jane = site.client(JANE);
    let base = || order(1, JANE, 10);
    let nobody = AccountId::of(&secret(STRANGER).public_key());
    let cases = [
        (EscrowOrder { amount: credits(101), ..base() }, "bank.insufficient-funds"),
        (EscrowOrder { amount: Credits::ZERO, ..base() }, "bank.no-amount"),
        (EscrowOrder { amount: credits(-1), ..base() }, "bank.no-amount"),
        (EscrowOrder { longest: TimeSpan::ZERO, ..base() }, "bank.nothing-drawable"),
        (EscrowOrder { highest_rate: Rate::ZERO, ..base() }, "bank.nothing-drawable"),
        (EscrowOrder { host_key: secret(OWNER).public_key(), ..base() }, "bank.not-the-host"),
        (EscrowOrder { beneficiary: nobody, ..base() }, "bank.no-account"),
        (EscrowOrder { payer: nobody, ..base() }, "bank.no-account"),
    ];
    for (order, expected) in cases {
        assert_eq!(code(jane.open_escrow(&order)), expected, "{order:?}");
    }
    assert_eq!(jane.own_account().unwrap().balance, credits(100));
}

#[test]
fn accounts_are_opened_by_whom_the_site_allows() {
    let key = secret(STRANGER).public_key();
    let open = |site: &Site, by: u8| site.client(by).open_account(key, AccountKind::User, "");
    let site = Site::new(Registration::ByMembers);
    assert_eq!(code(open(&site, STRANGER)), "bank.not-allowed");
    assert!(open(&site, ISSUER).is_ok());
    let site = Site::new(Registration::ByIssuer);
    site.client(ISSUER).open_account(secret(JANE).public_key(), AccountKind::User, "").unwrap();
    assert_eq!(code(open(&site, JANE)), "bank.not-allowed");
    assert!(open(&site, ISSUER).is_ok());
    let issuer = site.client(ISSUER).open_account(secret(9).public_key(), AccountKind::Issuer, "");
    assert_eq!(code(issuer), "bank.not-allowed");
    let shouting = site.client(ISSUER).open_account(secret(9).public_key(), AccountKind::User, "\x07");
    assert_eq!(code(shouting), "bank.bad-text");
}

#[test]
fn a_bank_introduces_itself_to_who_does_not_know_its_key() {
    let site = site();
    let info = tycoon_bank::client::introduce(&InProcess(site.service.clone())).unwrap();
    assert_eq!((info.key, info.epoch), (secret(1).public_key(), 1));
    assert_eq!(info.issuer, AccountId::of(&secret(ISSUER).public_key()));
    assert_eq!(site.bank.start_epoch().unwrap().epoch, 2);
    let receipt = site.client(JANE).open_escrow(&order(1, JANE, 1)).unwrap();
    assert_eq!(receipt.terms.epoch, 2, "receipts say in which epoch they were issued");
}

/// Sends what it is given twice.
struct Stutter(Arc<BankService>);

impl Transport for Stutter {
    fn send(&self, request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, TransportError> {
        self.0.handle(request.clone());
        Ok(self.0.handle(request))
    }
}

#[test]
fn a_replayed_request_is_refused_even_where_repeating_it_would_be_harmless() {
    let site = site();
    let caller = tycoon_rpc::Caller::new(
        Arc::new(secret(JANE)),
        secret(1).public_key(),
        Arc::new(Stutter(site.service.clone())),
    );
    let jane = BankClient::new(caller.with_clock(site.clock.clone()));
    assert_eq!(code(jane.open_escrow(&order(1, JANE, 10))), "call.seen");
    assert_eq!(site.client(JANE).own_account().unwrap().balance, credits(90));
}

/// Writes the journal of `site` anew with `change` made to every payload, in a chain that holds.
fn rewritten(site: &Site, change: impl Fn(&str) -> String) -> tempfile::TempDir {
    use tycoon_bank::journal::{Check, Journal, JournalError, Settings, read};
    use tycoon_bank::store::Head;
    let mut records = Vec::new();
    read::<JournalError>(&site.journal(), &Head::EMPTY, Check::Everything, &mut |record| {
        records.push((record.head.at, change(record.payload)));
        Ok(())
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, _) =
        Journal::open::<JournalError>(folder.path(), Settings::default(), &Head::EMPTY, Check::Everything, &mut |_| {
            Ok(())
        })
        .unwrap();
    journal.append(records.iter().map(|(at, payload)| (*at, payload.as_str()))).unwrap();
    folder
}

#[test]
fn the_audit_finds_operations_that_nobody_asked_for() {
    let site = site();
    site.client(JANE).open_escrow(&order(1, JANE, 10)).unwrap();
    let clean = rewritten(&site, str::to_owned);
    let found = audit(clean.path(), None).unwrap();
    assert!(found.is_clean(), "{found:?}");
    assert_eq!(found.signed, 4, "all but the founding were asked for by signed calls");
    let changes = [
        // The bank changes what was ordered, but not the request.
        ("\"amount\":10000000,\"longest\"", "\"amount\":20000000,\"longest\"", "asks for something else"),
        // And the body of the request as well.
        ("\\\"amount\\\":10000000,\\\"longest\\\"", "\\\"amount\\\":20000000,\\\"longest\\\"", "does not hold"),
        ("@path\\\": /v1/escrows", "@path\\\": /v1/escrowz", "does not hold"),
    ];
    for (from, to, what) in changes {
        let forged = rewritten(&site, |payload| payload.replace(from, to));
        let found = audit(forged.path(), None).unwrap();
        assert_eq!(found.findings.len(), 1, "{from}: {found:?}");
        assert!(found.findings[0].contains(what), "{found:?}");
    }
}

#[test]
fn there_is_no_such_call() {
    let site = site();
    let caller = site.caller(JANE);
    let result: Result<serde_json::Value, _> = caller.get("/v1/secrets", &[]);
    assert_eq!(code(result), "call.not-found");
    let result: Result<serde_json::Value, _> = caller.get("/v1/accounts/nonsense", &[]);
    assert_eq!(code(result), "call.malformed");
    let result: Result<serde_json::Value, _> = caller.post("/v1/transfers", &serde_json::json!({ "id": 1 }));
    assert_eq!(code(result), "call.malformed");
    assert_eq!(site.bank.now(), Timestamp::from_seconds(1_800_000_000));
}
