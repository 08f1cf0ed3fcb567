//! The host's market calls over HTTP: who may call what, and how refusals are told.

use std::time::Duration;

use http::{Request, Response, StatusCode};
use tycoon_market::{AccountId, HostAccountId, PoolName, PublicKey};
use tycoon_rpc::receiver::{Call, json};
use tycoon_rpc::{Problem, Service, events, routes};
use tycoon_sls::challenge;

use super::calls::{Call as Named, ROUTES};
use super::jobs::NoOutcome;
use super::market::MarketError;
use super::owner::OwnerError;
use super::{DaemonError, HostDaemon, schemas};
use crate::market::{FundRequest, HostInfo};
use crate::owner::{BanRequest, DrainRequest};
use crate::protocol::{DomainsReply, Request as DomainsRequest};

/// The longest that a caller can have events waited for.
const EVENTS_WAIT_SECONDS_MAX: u64 = 20;

/// The description of the calls in the OpenAPI form.
pub fn openapi() -> serde_json::Value {
    let about = "The market of one Tycoon host: accounts, bids, domains, and what its owner sets. Amounts are integers in \
                 micro-credits, rates in pico-credits per second, times in microseconds since 1970, spans in \
                 microseconds.";
    routes::openapi("Tycoon host", about, ROUTES, &schemas::schemas())
}

type Reply = Result<Response<Vec<u8>>, Problem>;

impl Service for HostDaemon {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let knows = |key: &_| self.lock().keys.knows(key) || self.owner_keys.contains(key);
        self.receiver.serve(request, knows, |call| self.answer(call))
    }
}

impl HostDaemon {
    fn answer(&self, call: &Call<'_>) -> Reply {
        let Some((route, parts)) = routes::find(ROUTES, call.request.method(), call.request.uri().path()) else {
            return Err(call.no_such_call());
        };
        match route.call {
            Named::Info => return self.info(call),
            Named::Challenge => return challenge::serve(call, &*self.identity.signer),
            _ => {}
        }
        let sender = call.sender()?;
        match (route.call, parts.as_slice()) {
            (Named::Offers, []) => {
                let pool: PoolName = call.query("pool")?.ok_or_else(|| missing("pool"))?;
                json(&self.offers(self.account_of_sender(&sender)?, &pool).map_err(|error| broken(&error))?)
            }
            (Named::Quote, []) => json(&self.quote(self.account_of_sender(&sender)?, call.json()?).map_err(refused)?),
            (Named::Accounts, []) => json(&self.accounts(self.account_of_sender(&sender)?)),
            (Named::Fund, [pool]) => {
                // Whose key it is, the receipt says.
                let request: FundRequest = call.json()?;
                json(&self.fund(&sender, &pool_of(pool)?, &request.receipt).map_err(refused)?)
            }
            (Named::Domains, []) => self.domains(call, &sender),
            (Named::Events, []) => self.events(call, &sender),
            (Named::Stream, []) => self.stream(call, &sender),
            (Named::Account | Named::Close | Named::Charges | Named::Bid | Named::Preview | Named::Refund, [pool]) => {
                let account = self.account_of_sender(&sender)?;
                self.answer_account(call, route.call, account, &pool_of(pool)?)
            }
            (named, []) => self.answer_owner(call, named, &sender),
            _ => Err(call.no_such_call()),
        }
    }

    fn info(&self, call: &Call<'_>) -> Reply {
        let facts = self.known_facts().map_err(|error| broken(&error))?;
        json(&HostInfo {
            host: self.id,
            key: self.key(),
            name: self.name().clone(),
            now: call.now,
            owner: self.identity.owner,
            bank: self.identity.bank,
            architecture: facts.architecture,
            hypervisor: facts.hypervisor,
            is_simulated: facts.is_simulated,
            labels: self.labels.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    fn answer_account(&self, call: &Call<'_>, named: Named, account: AccountId, pool: &PoolName) -> Reply {
        let there_is_none = || refused(MarketError::NoAccount(pool.clone()));
        match named {
            Named::Account => json(&self.account(account, pool).ok_or_else(there_is_none)?),
            Named::Charges => json(&self.charges(account, pool).ok_or_else(there_is_none)?),
            Named::Close => {
                let generation = call.query("generation")?.ok_or_else(|| missing("generation"))?;
                json(&self.close(account, pool, generation).map_err(refused)?)
            }
            Named::Bid => json(&self.bid(account, pool, call.json()?).map_err(refused)?),
            Named::Preview => json(&self.preview(account, pool, &call.json()?).map_err(refused)?),
            Named::Refund => json(&self.refund(account, pool, call.json()?).map_err(refused)?),
            _ => Err(call.no_such_call()),
        }
    }

    fn domains(&self, call: &Call<'_>, sender: &PublicKey) -> Reply {
        let request: DomainsRequest = call.json()?;
        let own = self.account_of_sender(sender)?;
        let known = self.account_of_key(sender).map_err(|error| broken(&error))?;
        let account = match (known, &request) {
            (Some(account), _) => account,
            // A stranger has no domains, and that is no fault.
            (None, DomainsRequest::Inspect { .. }) => own,
            (None, _) => {
                return Err(Problem::new(StatusCode::FORBIDDEN, NO_ACCOUNT, "The host refuses")
                    .detail("this key has no account and no domains on this host")
                    .help("fund an account here first: `tycoon host create-account`"));
            }
        };
        let outcome = self.jobs.run(account, call.request.body(), || self.session(account, request));
        match outcome {
            Ok(Ok(answer)) => json(&DomainsReply::Done(answer)),
            Ok(Err(error)) => json(&DomainsReply::Refused(error)),
            Err(NoOutcome::UnderWay) => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, UNDER_WAY, "The host is still at it")
                    .detail("what was asked for is under way")
                    .help("ask for the same again: nothing is done twice"))
            }
            Err(NoOutcome::TooMany) => {
                Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "host.busy", "The host has too much to do")
                    .detail("as many pieces of work are under way as the host takes on")
                    .help("ask for the same again a little later"))
            }
        }
    }

    fn events(&self, call: &Call<'_>, sender: &PublicKey) -> Reply {
        let after = call.query("after")?.unwrap_or(0);
        let wait: u64 = call.query("wait")?.unwrap_or(0);
        let is_owner = self.is_owner(sender);
        let is_known = is_owner || self.lock().keys.knows(sender);
        // A stranger has nothing to wait for.
        let wait = if is_known { wait.min(EVENTS_WAIT_SECONDS_MAX) } else { 0 };
        let of = if is_owner { None } else { Some(self.account_of_sender(sender)?) };
        json(&self.news.after(after, of.as_ref(), Duration::from_secs(wait)))
    }

    fn stream(&self, call: &Call<'_>, sender: &PublicKey) -> Reply {
        let is_owner = self.is_owner(sender);
        if !is_owner && !self.lock().keys.knows(sender) {
            return Err(Problem::new(StatusCode::FORBIDDEN, NO_ACCOUNT, "The host refuses")
                .detail("this key has no account on this host, of which anything could be told")
                .help("fund an account here first: `tycoon host create-account`"));
        }
        let seen = call.request.headers().get(events::LAST_EVENT_ID).and_then(|seen| seen.to_str().ok()?.parse().ok());
        let after = seen.or(call.query("after")?);
        let of = if is_owner { None } else { Some(self.account_of_sender(sender)?) };
        self.news.stream(after, of).ok_or_else(|| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "host.busy", "The host has too much to do")
                .detail("as many streams are read as the host has room for")
                .help("ask for `/v1/events` from time to time instead")
        })
    }

    fn answer_owner(&self, call: &Call<'_>, named: Named, sender: &PublicKey) -> Reply {
        if !self.is_owner(sender) {
            return Err(Problem::new(StatusCode::FORBIDDEN, NOT_OWNER, "Only the owner may do this")
                .detail(format_args!("{} is not a key of this host's owner", sender.fingerprint()))
                .help("`tycoon host serve --owner` says who the owner is"));
        }
        match named {
            Named::Owner => json(&self.owner_report()),
            Named::SetPolicy => json(&self.set_policy(&call.json()?).map_err(not_set)?),
            Named::SetDraining => {
                let DrainRequest { draining } = call.json()?;
                self.set_draining(draining).map_err(|error| broken(&error))?;
                json(&self.owner_report())
            }
            Named::Evict => json(&self.evict_some(&call.json()?).map_err(not_set)?),
            Named::Ban => {
                let BanRequest { account, banned } = call.json()?;
                json(&self.ban(account, banned).map_err(not_set)?)
            }
            Named::Withdraw => json(&self.withdraw().map_err(not_set)?),
            Named::EverybodysAccounts => {
                let after: Option<HostAccountId> = call.query("after")?;
                json(&self.everybodys_accounts(after.as_ref()))
            }
            _ => Err(call.no_such_call()),
        }
    }

    fn account_of_sender(&self, key: &PublicKey) -> Result<AccountId, Problem> {
        self.lock().keys.account_of(key).ok_or_else(|| {
            Problem::new(StatusCode::FORBIDDEN, KEY_REMOVED, "The key may not act for its account any more")
                .detail(format_args!("the bank no longer names {} among the account's keys", key.fingerprint()))
                .help("use another key of the account; if the key was added again, hand in a new receipt")
        })
    }
}

fn pool_of(text: &str) -> Result<PoolName, Problem> {
    text.parse()
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed").detail(error))
}

fn not_set(error: OwnerError) -> Problem {
    let problem = |status, code: &str| Problem::new(status, code, "The host refuses").detail(&error);
    match error {
        OwnerError::Policy(_) | OwnerError::Config(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "host.policy"),
        OwnerError::TooManyBans => problem(StatusCode::CONFLICT, "host.too-many-bans"),
        OwnerError::NoAccount(_) => problem(StatusCode::NOT_FOUND, NO_ACCOUNT),
        OwnerError::Market(error) => refused(error),
    }
}

fn missing(name: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed")
        .detail(format_args!("the query must say `{name}=`"))
}

/// A fault of the host, about which a caller can do nothing but, where it may pass, call again.
fn broken(error: &DaemonError) -> Problem {
    let (status, code, title) = match error {
        DaemonError::Hypervisor { .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "host.hypervisor", "The host's hypervisor does not answer")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "host.broken", "The host cannot do its work"),
    };
    Problem::new(status, code, title).detail(error)
}

fn refused(error: MarketError) -> Problem {
    let problem = |status, code: &str| Problem::new(status, code, "The host refuses").detail(&error);
    match &error {
        MarketError::Refused(refusal) => problem(StatusCode::CONFLICT, &format!("host.{}", refusal.code())),
        MarketError::StaleGeneration { .. } => problem(StatusCode::CONFLICT, "host.stale-generation"),
        MarketError::Receipt(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "host.receipt"),
        MarketError::Unchecked(_) => problem(StatusCode::SERVICE_UNAVAILABLE, "host.bank"),
        MarketError::Banned => problem(StatusCode::FORBIDDEN, "host.banned"),
        MarketError::NoAccount(_) => problem(StatusCode::NOT_FOUND, NO_ACCOUNT),
        MarketError::Daemon(error) => broken(error),
    }
}

/// The code of the refusal that there is no such account.
pub const NO_ACCOUNT: &str = "host.no-account";
/// The code of the refusal of a key that was removed from its account.
pub const KEY_REMOVED: &str = "host.key-removed";
/// The code of the refusal of what only the owner may do.
pub const NOT_OWNER: &str = "host.not-owner";
/// The code with which a host says that it is still at what was asked of it.
pub const UNDER_WAY: &str = "host.under-way";
