//! The bank as a service: signed calls in, signed replies out. Who may see and do what is decided here and in the
//! ledger; `docs/bank.md` lists the calls.

mod calls;
mod schemas;

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Statement, Timestamp, TransferId};
use tycoon_rpc::receiver::json;
use tycoon_rpc::trouble::with_causes;
use tycoon_rpc::{Call, Clock, Limits, Problem, Receiver, ReplayPolicy, Service, Signer, routes};

use crate::api::{
    AccountRequest, AllowanceRequest, BankInfo, CloseRequest, EscrowInfo, IssueRequest, PAGE_DEFAULT, PAGE_MAX, Page,
    Paid, TransferOutcome, TransferRequest, TransfersRequest,
};
use crate::bank::{Bank, BankError};
use crate::evidence::Evidence;
use crate::ledger::{
    Account, AccountKind, Answer, Entry, Escrow, EscrowOrder, KeyChange, KeyRole, LinePlace, Opener, Operation,
    RefundOrder, Refusal, ReservationOrder, Resolution, SILENCE_MAX,
};
use crate::problem;
use calls::{Call as Named, ROUTES};

/// Accounts that one account may open, unless told otherwise.
pub const ACCOUNTS_PER_OPENER_MAX: u64 = 1_000;
/// Entries that are looked through for one page of a filtered history.
const SCAN_MAX: usize = 5_000;

/// The description of the calls in the OpenAPI form.
pub fn openapi() -> serde_json::Value {
    let about = "Accounts, transfers, reservations and escrows of a Tycoon site. Amounts are integers in micro-credits, \
                 times in microseconds since 1970, spans in microseconds.";
    routes::openapi("Tycoon bank", about, ROUTES, &schemas::schemas())
}

/// Who may open accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Everybody, for her own key; and whoever has an account, for others.
    Open,
    /// Whoever has an account, for others.
    #[default]
    ByMembers,
    /// The issuer only.
    ByIssuer,
}

/// The bank behind its gate.
pub struct BankService {
    bank: Arc<Bank>,
    receiver: Receiver,
    registration: Registration,
    accounts_max: u64,
    accounts_per_opener_max: u64,
}

type Reply = Result<Response<Vec<u8>>, Problem>;

impl BankService {
    /// The service of `bank`, whose key `signer` has.
    pub fn new(
        bank: Arc<Bank>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        replay: ReplayPolicy,
        registration: Registration,
    ) -> Self {
        let receiver = Receiver::new(signer, clock, replay, Limits::DEFAULT);
        let accounts_per_opener_max = ACCOUNTS_PER_OPENER_MAX;
        Self { bank, receiver, registration, accounts_max: 1_000_000, accounts_per_opener_max }
    }

    /// The same service with its gate changed.
    #[must_use]
    pub fn with_receiver(mut self, change: impl FnOnce(Receiver) -> Receiver) -> Self {
        self.receiver = change(self.receiver);
        self
    }

    /// The same service in which an account opens at most `most` others; the issuer opens any number.
    #[must_use]
    pub const fn with_accounts_per_opener_max(mut self, most: u64) -> Self {
        self.accounts_per_opener_max = most;
        self
    }

    /// The same service with at most `accounts_max` accounts.
    #[must_use]
    pub fn with_accounts_max(mut self, accounts_max: u64) -> Self {
        self.accounts_max = accounts_max;
        self
    }

    /// Whether calls can be accepted and answered; why not, otherwise.
    pub fn check(&self) -> Result<(), String> {
        self.receiver.check()?;
        self.bank.check().map_err(|error| with_causes(&error))
    }

    /// The bank.
    pub fn bank(&self) -> &Arc<Bank> {
        &self.bank
    }

    /// True for keys of accounts and of hosts with escrows: they have a replay buffer of their own.
    fn knows(&self, key: &PublicKey) -> bool {
        let known =
            self.bank.read(|store| Ok(store.account_of_key(key)?.is_some() || store.is_paid(&HostId::of(key))?));
        known.unwrap_or(false)
    }

    fn answer(&self, call: &Call<'_>) -> Reply {
        self.bank.lapse().map_err(|error| problem::of(&error))?;
        let Some((route, parts)) = routes::find(ROUTES, call.request.method(), call.request.uri().path()) else {
            return Err(call.no_such_call());
        };
        match (route.call, parts.as_slice()) {
            (Named::Info, []) => self.info(call),
            (Named::OwnAccount, []) => self.own_account(call),
            (Named::Accounts, []) => self.accounts(call),
            (Named::OpenAccount, []) => self.open_account(call),
            (Named::Account, [id]) => json(&self.visible_account(call, segment(id)?)?),
            (Named::CloseAccount, [id]) => {
                let CloseRequest { to } = call.json()?;
                self.commit(call, Operation::CloseAccount { account: segment(id)?, to, by: call.sender()? })
            }
            (Named::SetAllowance, [id]) => {
                let AllowanceRequest { allowance } = call.json()?;
                self.commit(call, Operation::SetAllowance { account: segment(id)?, allowance, by: call.sender()? })
            }
            (Named::History, [id]) => self.history(call, segment(id)?),
            (Named::Lines, [id]) => self.lines(call, segment(id)?),
            (Named::ChangeKeys, [id]) => self.change_keys(call, segment(id)?),
            (Named::Transfer, []) => self.transfer(call),
            (Named::Transfers, []) => self.transfers(call),
            (Named::Paid, [payer, id]) => self.paid(call, segment(payer)?, segment(id)?),
            (Named::Refund, []) => {
                let order: RefundOrder = call.json()?;
                self.commit(call, Operation::Refund { order, by: call.sender()? })
            }
            (Named::Reserve, []) => {
                let order: ReservationOrder = call.json()?;
                self.commit(call, Operation::Reserve { order, by: call.sender()? })
            }
            (Named::Reservation, [payer, id]) => self.reservation(call, segment(payer)?, segment(id)?),
            (Named::Resolve, [payer, id]) => {
                let resolution: Resolution = call.json()?;
                let (payer, id) = (segment(payer)?, segment(id)?);
                self.commit(call, Operation::Resolve { payer, id, resolution, by: call.sender()? })
            }
            (Named::Issue, []) => self.issue(call),
            (Named::OpenEscrow, []) => self.open_escrow(call),
            (Named::Escrows, []) => self.escrows(call),
            (Named::Escrow, [id]) => self.escrow(call, segment(id)?),
            (Named::Settle, []) => self.settle(call),
            _ => Err(call.no_such_call()),
        }
    }

    fn info(&self, call: &Call<'_>) -> Reply {
        let books = self.bank.books().map_err(failed)?;
        json(&BankInfo {
            key: self.bank.public_key(),
            epoch: books.epoch,
            time: call.now,
            issuer: books.issuer,
            silence_max: SILENCE_MAX,
        })
    }

    fn own_account(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        match self.account_of(&sender)? {
            Some(account) => json(&account),
            None => Err(Problem::new(StatusCode::NOT_FOUND, "bank.no-account", "There is no such account")
                .detail(format_args!("the key {} has no account at this bank", sender.fingerprint()))
                .help("open one: `tycoon bank create`, or ask the site operator")),
        }
    }

    fn open_account(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let AccountRequest { key, kind, label, deposit, sub } = call.json()?;
        let member = self.account_of(&sender)?;
        let is_issuer = member.as_ref().is_some_and(|account| account.kind == AccountKind::Issuer);
        let own = sender == key && deposit.is_zero() && !sub;
        let may = match self.registration {
            Registration::Open => member.is_some() || own,
            Registration::ByMembers => member.is_some(),
            Registration::ByIssuer => is_issuer || (sub && member.is_some()),
        };
        if !may {
            let who = match self.registration {
                Registration::Open => "accounts for other keys are opened by whoever has one",
                Registration::ByMembers => "accounts are opened by whoever has one",
                Registration::ByIssuer => "accounts are opened by the issuer",
            };
            return Err(forbidden(who).help("send your public key to somebody who may, or to the site operator"));
        }
        // Asking again for one's own account is no new one, and costs nothing.
        let opener = member.filter(|_| !own).map(|account| Opener {
            account: account.id,
            by: sender,
            deposit,
            sub,
            accounts_max: if is_issuer { u64::MAX } else { self.accounts_per_opener_max },
        });
        if self.bank.books().map_err(failed)?.accounts >= self.accounts_max {
            return Err(Problem::new(StatusCode::CONFLICT, "bank.too-many-accounts", "The bank is full")
                .detail(format_args!("it has {} accounts, which is all it takes", self.accounts_max)));
        }
        self.commit(call, Operation::OpenAccount { key, kind, label, opener })
    }

    fn change_keys(&self, call: &Call<'_>, account: AccountId) -> Reply {
        let change: KeyChange = call.json()?;
        self.commit(call, Operation::ChangeKeys { account, change, by: call.sender()? })
    }

    fn transfer(&self, call: &Call<'_>) -> Reply {
        let TransferRequest { id, payer, payee, amount, memo } = call.json()?;
        self.commit(call, Operation::Transfer { id, payer, payee, amount, memo, by: call.sender()? })
    }

    fn issue(&self, call: &Call<'_>) -> Reply {
        let IssueRequest { id, to, amount, memo } = call.json()?;
        self.commit(call, Operation::Issue { id, to, amount, memo, by: call.sender()? })
    }

    fn open_escrow(&self, call: &Call<'_>) -> Reply {
        let order: EscrowOrder = call.json()?;
        let operation = Operation::OpenEscrow { order, by: call.sender()? };
        match self.bank.commit(operation, Evidence::of(call)).map_err(failed)? {
            Answer::Escrow(escrow) => json(&self.bank.receipt(&escrow).map_err(failed)?),
            _ => Err(unexpected()),
        }
    }

    fn settle(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let statement: Statement = call.json()?;
        let escrow = self.existing_escrow(statement.terms.escrow)?;
        if escrow.order.host_key != sender {
            return Err(forbidden("only the host of an escrow sends its statements"));
        }
        self.commit(call, Operation::Settle { statement })
    }

    fn transfers(&self, call: &Call<'_>) -> Reply {
        let TransfersRequest { transfers, linked } = call.json()?;
        let operation = Operation::Transfers { orders: transfers, linked, by: call.sender()? };
        let Answer::Transfers(outcomes) = self.bank.commit(operation, Evidence::of(call)).map_err(failed)? else {
            return Err(unexpected());
        };
        let told = outcomes.into_iter().map(|outcome| match outcome {
            Ok(transfer) => TransferOutcome::Paid(Box::new(self.with_receipt(transfer))),
            Err(refusal) => TransferOutcome::Problem(problem::of_refusal(&refusal)),
        });
        json(&told.collect::<Vec<_>>())
    }

    fn with_receipt(&self, transfer: crate::ledger::Transfer) -> Paid {
        Paid { receipt: self.bank.transfer_receipt(&transfer), transfer }
    }

    /// A transfer, for its payer, its payee and the issuer. What the payer has is the payer's business.
    fn paid(&self, call: &Call<'_>, payer: AccountId, id: TransferId) -> Reply {
        let found = self.bank.read(|store| store.transfer(&payer, &id)).map_err(failed)?;
        let as_payer = self.visible_account(call, payer);
        let (Some(mut transfer), is_payer) = (found, as_payer.is_ok()) else {
            as_payer?;
            return Err(no_transfer(id));
        };
        if !is_payer {
            self.visible_account(call, transfer.payee)?;
            transfer.balance = tycoon_market::Credits::ZERO;
        }
        json(&self.with_receipt(transfer))
    }

    fn reservation(&self, call: &Call<'_>, payer: AccountId, id: TransferId) -> Reply {
        let found = self.bank.read(|store| store.reservation(&payer, &id)).map_err(failed)?;
        let as_payer = self.visible_account(call, payer);
        match found {
            Some(reservation) => {
                if as_payer.is_err() {
                    self.visible_account(call, reservation.order.payee)?;
                }
                json(&reservation)
            }
            None => {
                as_payer?;
                Err(problem::of_refusal(&Refusal::NoReservation { payer, id }))
            }
        }
    }

    /// The accounts that the sender may see: her own and its sub-accounts; all of them for the issuer.
    fn accounts(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let limit = page_limit(call)?;
        let after = call.query::<AccountId>("after")?;
        let Some(own) = self.account_of(&sender)? else {
            return Err(forbidden("only who has an account sees accounts"));
        };
        let listed = self.bank.read(|store| {
            if own.kind == AccountKind::Issuer {
                return store.accounts(after.as_ref(), limit + 1);
            }
            // Her own account comes first, then the sub-accounts by their ids.
            let after_children = after.filter(|after| *after != own.id);
            let mut listed = store.children(&own.id, after_children.as_ref(), limit + 1)?;
            if after.is_none() {
                listed.insert(0, own.clone());
            }
            listed.truncate(limit + 1);
            Ok(listed)
        });
        json(&Page::of(listed.map_err(failed)?, limit, |account| account.id.to_string()))
    }

    fn history(&self, call: &Call<'_>, id: AccountId) -> Reply {
        self.visible_account(call, id)?;
        let limit = page_limit(call)?;
        let mut before = call.query::<u64>("before")?.unwrap_or(u64::MAX);
        let (from, to) = (time(call, "from")?, time(call, "to")?);
        let kind = call.query::<String>("kind")?;
        let fits = |entry: &Entry| {
            to.is_none_or(|to| entry.at < to) && kind.as_deref().is_none_or(|kind| entry.cause.kind() == kind)
        };
        let (mut found, mut scanned) = (Vec::new(), 0);
        // Entries are looked through in parts, so that a filter that fits nothing does not read a whole history.
        let next = loop {
            let part = self.bank.read(|store| store.entries(&id, before, PAGE_MAX)).map_err(failed)?;
            let Some(last) = part.last().map(|entry| entry.number) else { break None };
            scanned += part.len();
            let is_over = part.iter().any(|entry| from.is_some_and(|from| entry.at < from));
            let wanted = part.into_iter().take_while(|entry| from.is_none_or(|from| entry.at >= from));
            found.extend(wanted.filter(fits));
            if found.len() > limit {
                found.truncate(limit);
                break found.last().map(|entry| entry.number);
            }
            if is_over {
                break None;
            }
            before = last;
            if scanned >= SCAN_MAX {
                break Some(last);
            }
        };
        json(&Page { items: found, next: next.map(|number| number.to_string()) })
    }

    fn lines(&self, call: &Call<'_>, id: AccountId) -> Reply {
        self.visible_account(call, id)?;
        let limit = page_limit(call)?;
        let from = time(call, "from")?.unwrap_or(Timestamp::from_micros(0));
        let to = time(call, "to")?.unwrap_or(Timestamp::from_micros(i64::MAX));
        let after = call.query::<LinePlace>("after")?.unwrap_or(LinePlace::before(from));
        let lines = self.bank.read(|store| store.lines(&id, &after, to, limit + 1)).map_err(failed)?;
        json(&Page::of(lines, limit, |line| line.place().to_string()))
    }

    /// The escrows that the sender pays (`pool` narrows them), or, with `host`, those that pay the sender's host or
    /// that she pays there.
    fn escrows(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let limit = page_limit(call)?;
        let (pool, host) = (call.query::<PoolName>("pool")?, call.query::<HostId>("host")?);
        let after = call.query::<EscrowId>("after")?;
        let account = self.account_of(&sender)?;
        let listed = match (host, account) {
            (Some(host), _) if host == HostId::of(&sender) => {
                self.bank.read(|store| store.escrows_of_host(&host, after.as_ref(), limit + 1))
            }
            (_, Some(account)) => {
                self.bank.read(|store| store.escrows_of_payer(&account.id, pool.as_ref(), after.as_ref(), limit + 1))
            }
            (_, None) => return Err(forbidden("only a payer and a host see their escrows")),
        };
        let mut page = Page::of(listed.map_err(failed)?, limit, |escrow| escrow.order.id.to_string());
        page.items.retain(|escrow| {
            host.is_none_or(|host| escrow.order.host == host)
                && pool.as_ref().is_none_or(|pool| escrow.order.pool == *pool)
        });
        json(&page)
    }

    fn escrow(&self, call: &Call<'_>, id: EscrowId) -> Reply {
        let sender = call.sender()?;
        let escrow = self.existing_escrow(id)?;
        let own = self.account_of(&sender)?.is_some_and(|account| {
            [escrow.order.payer, escrow.order.beneficiary].contains(&account.id) || account.kind == AccountKind::Issuer
        });
        if !own && escrow.order.host_key != sender {
            return Err(forbidden("only its payer, its host and the host's owner see an escrow"));
        }
        let receipt = self.bank.receipt(&escrow).map_err(failed)?;
        json(&EscrowInfo { escrow, receipt })
    }

    /// The account `id`, which the sender must hold, unless she is the issuer.
    fn visible_account(&self, call: &Call<'_>, id: AccountId) -> Result<Account, Problem> {
        let sender = call.sender()?;
        let account = self.bank.read(|store| store.account(&id)).map_err(failed)?;
        let account = account.ok_or_else(|| problem::of_refusal(&Refusal::NoAccount(id)))?;
        if account.allows(&sender, KeyRole::Reader) {
            return Ok(account);
        }
        match self.account_of(&sender)? {
            Some(holder) if holder.kind == AccountKind::Issuer => Ok(account),
            Some(holder) if account.parent == Some(holder.id) => Ok(account),
            _ => Err(forbidden("only its holders see an account")),
        }
    }

    fn account_of(&self, key: &PublicKey) -> Result<Option<Account>, Problem> {
        let read = self.bank.read(|store| match store.account_of_key(key)? {
            Some(id) => store.account(&id),
            None => Ok(None),
        });
        read.map_err(failed)
    }

    fn existing_escrow(&self, id: EscrowId) -> Result<Escrow, Problem> {
        let escrow = self.bank.read(|store| store.escrow(&id)).map_err(failed)?;
        escrow.ok_or_else(|| problem::of_refusal(&Refusal::NoEscrow(id)))
    }

    fn commit(&self, call: &Call<'_>, operation: Operation) -> Reply {
        match self.bank.commit(operation, Evidence::of(call)).map_err(failed)? {
            Answer::Account(account) => json(&account),
            Answer::Transfer(transfer) => json(&self.with_receipt(transfer)),
            Answer::Reservation(reservation) => json(&reservation),
            Answer::Escrow(escrow) => json(&escrow),
            Answer::Books(_) | Answer::Done(_) | Answer::Transfers(_) => Err(unexpected()),
        }
    }
}

impl Service for BankService {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        self.receiver.serve(request, |key| self.knows(key), |call| self.answer(call))
    }
}

fn failed(error: BankError) -> Problem {
    problem::of(&error)
}

fn forbidden(who: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "bank.not-allowed", "The key may not do this").detail(who)
}

fn unexpected() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bank.failed", "The bank failed")
        .detail("the ledger gave an answer of another kind")
}

/// An id in a path.
fn segment<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed").detail(error))
}

fn page_limit(call: &Call<'_>) -> Result<usize, Problem> {
    Ok(call.query::<usize>("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX))
}

fn no_transfer(id: TransferId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "bank.no-transfer", "There is no such transfer")
        .detail(format_args!("the account has made no transfer {id}"))
}

/// A time in the query, in microseconds since 1970.
fn time(call: &Call<'_>, name: &str) -> Result<Option<Timestamp>, Problem> {
    Ok(call.query::<i64>(name)?.map(Timestamp::from_micros))
}
