//! The bank as a service: signed calls in, signed replies out. Who may see and do what is decided here and in the
//! ledger; `docs/bank.md` lists the calls.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Statement};
use tycoon_rpc::receiver::json;
use tycoon_rpc::{Call, Clock, Limits, Problem, Receiver, ReplayPolicy, Service, Signer};

use crate::api::{AccountRequest, BankInfo, EscrowInfo, IssueRequest, PAGE_DEFAULT, PAGE_MAX, Page, TransferRequest};
use crate::bank::{Bank, BankError};
use crate::evidence::Evidence;
use crate::ledger::{
    Account, AccountKind, Answer, Escrow, EscrowOrder, KeyChange, KeyRole, Operation, Refusal, SILENCE_MAX,
};
use crate::problem;

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
        Self { bank, receiver, registration, accounts_max: 1_000_000 }
    }

    /// The same service with at most `accounts_max` accounts.
    #[must_use]
    pub fn with_accounts_max(mut self, accounts_max: u64) -> Self {
        self.accounts_max = accounts_max;
        self
    }

    /// The bank.
    pub fn bank(&self) -> &Arc<Bank> {
        &self.bank
    }

    /// True for keys of accounts and of hosts with escrows: they have a replay buffer of their own.
    fn knows(&self, key: &PublicKey) -> bool {
        let known = self.bank.read(|store| {
            Ok(store.account_of_key(key)?.is_some() || !store.escrows_of_host(&HostId::of(key), None, 1)?.is_empty())
        });
        known.unwrap_or(false)
    }

    fn answer(&self, call: &Call<'_>) -> Reply {
        self.bank.lapse().map_err(|error| problem::of(&error))?;
        let path = call.path();
        match (call.request.method(), path.as_slice()) {
            (&Method::GET, ["v1", "bank"]) => self.info(call),
            (&Method::GET, ["v1", "account"]) => self.own_account(call),
            (&Method::POST, ["v1", "accounts"]) => self.open_account(call),
            (&Method::GET, ["v1", "accounts", id]) => json(&self.visible_account(call, segment(id)?)?),
            (&Method::GET, ["v1", "accounts", id, "history"]) => self.history(call, segment(id)?),
            (&Method::POST, ["v1", "accounts", id, "keys"]) => self.change_keys(call, segment(id)?),
            (&Method::POST, ["v1", "transfers"]) => self.transfer(call),
            (&Method::POST, ["v1", "issue"]) => self.issue(call),
            (&Method::POST, ["v1", "escrows"]) => self.open_escrow(call),
            (&Method::GET, ["v1", "escrows"]) => self.escrows(call),
            (&Method::GET, ["v1", "escrows", id]) => self.escrow(call, segment(id)?),
            (&Method::POST, ["v1", "statements"]) => self.settle(call),
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
        let AccountRequest { key, kind, label } = call.json()?;
        let member = self.account_of(&sender)?;
        let may = match self.registration {
            Registration::Open => member.is_some() || sender == key,
            Registration::ByMembers => member.is_some(),
            Registration::ByIssuer => member.is_some_and(|account| account.kind == AccountKind::Issuer),
        };
        if !may {
            let who = match self.registration {
                Registration::Open => "accounts for other keys are opened by whoever has one",
                Registration::ByMembers => "accounts are opened by whoever has one",
                Registration::ByIssuer => "accounts are opened by the issuer",
            };
            return Err(forbidden(who).help("send your public key to somebody who may, or to the site operator"));
        }
        if self.bank.books().map_err(failed)?.accounts >= self.accounts_max {
            return Err(Problem::new(StatusCode::CONFLICT, "bank.too-many-accounts", "The bank is full")
                .detail(format_args!("it has {} accounts, which is all it takes", self.accounts_max)));
        }
        self.commit(call, Operation::OpenAccount { key, kind, label })
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

    fn history(&self, call: &Call<'_>, id: AccountId) -> Reply {
        self.visible_account(call, id)?;
        let limit = page_limit(call)?;
        let before = call.query::<u64>("before")?.unwrap_or(u64::MAX);
        let entries = self.bank.read(|store| store.entries(&id, before, limit + 1)).map_err(failed)?;
        json(&Page::of(entries, limit, |entry| entry.number.to_string()))
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
            Answer::Transfer(transfer) => json(&transfer),
            Answer::Escrow(escrow) => json(&escrow),
            Answer::Books(_) | Answer::Lapsed(_) => Err(unexpected()),
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
