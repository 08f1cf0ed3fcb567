//! The bank as a service: signed calls in, signed replies out. Who may see and do what is decided here and in the
//! ledger; `docs/bank.md` lists the calls.

mod calls;
mod changes;
mod claims;
mod looks;
mod schemas;

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use tycoon_market::{AccountId, EscrowId, HostId, PublicKey};
use tycoon_rpc::routes::Verb;
use tycoon_rpc::trouble::with_causes;
use tycoon_rpc::{Begun, Call, Clock, Limits, Problem, Receiver, ReplayPolicy, Service, Signer, routes};

use crate::bank::{Bank, BankError};
use crate::ledger::{Account, AccountKind, Escrow, KeyRole, Refusal};
use crate::problem;
use calls::ROUTES;
use changes::Step;
use claims::Claims;

/// Accounts that one account may open, unless told otherwise.
pub const ACCOUNTS_PER_OPENER_MAX: u64 = 1_000;

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
    claims: Claims,
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
        Self {
            bank,
            receiver,
            registration,
            accounts_max: 1_000_000,
            accounts_per_opener_max,
            claims: Claims::default(),
        }
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

    fn answer(&self, call: &Call<'_>) -> Result<Step, Problem> {
        self.bank.lapse().map_err(failed)?;
        let Some((route, parts)) = routes::find(ROUTES, call.request.method(), call.request.uri().path()) else {
            return Err(call.no_such_call());
        };
        match route.method {
            Verb::Get => self.look(route.call, &parts, call).map(Step::Answered),
            _ => self.change(route.call, &parts, call),
        }
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
}

impl Service for BankService {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let answer = |call: &Call<'_>| match self.answer(call)? {
            Step::Answered(response) => Ok(response),
            Step::Writing(commit, tells) => self.done(commit.wait(), tells),
        };
        self.receiver.serve(request, |key| self.knows(key), answer)
    }

    /// What writes looks at a few rows and then waits for the disk, which needs no thread. What reads may read a lot.
    fn begin(self: Arc<Self>, request: Request<Vec<u8>>) -> Begun {
        if request.method() == Method::GET || self.bank.is_remote() {
            return Begun::Waits(request);
        }
        Begun::Answering(Box::pin(async move {
            let answered = async {
                let call = self.receiver.admit(&request, |key| self.knows(key))?;
                match self.answer(&call)? {
                    Step::Answered(response) => Ok(response),
                    Step::Writing(commit, tells) => self.done(commit.await, tells),
                }
            };
            let answered = answered.await;
            self.receiver.reply(&request, answered)
        }))
    }
}

fn failed(error: BankError) -> Problem {
    problem::of(&error)
}

fn forbidden(who: &str) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "bank.not-allowed", "The key may not do this").detail(who)
}

/// An id in a path.
fn segment<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed").detail(error))
}
