//! The host's market calls over HTTP: who may call what, and how refusals are told.

use http::{Method, Request, Response, StatusCode};
use tycoon_market::{AccountId, PoolName, PublicKey};
use tycoon_rpc::receiver::{Call, json};
use tycoon_rpc::{Problem, Service};

use super::market::MarketError;
use super::{DaemonError, HostDaemon};
use crate::market::{FundRequest, HostInfo};

impl Service for HostDaemon {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let knows = |key: &_| self.lock().keys.knows(key);
        self.receiver.serve(request, knows, |call| self.answer(call))
    }
}

impl HostDaemon {
    fn answer(&self, call: &Call<'_>) -> Result<Response<Vec<u8>>, Problem> {
        let path = call.path();
        let method = call.request.method();
        if (method, path.as_slice()) == (&Method::GET, &["v1", "host"]) {
            let info = HostInfo { host: self.id, key: self.key(), name: self.name().clone(), now: call.now };
            return json(&info);
        }
        let sender = call.sender()?;
        match (method, path.as_slice()) {
            (&Method::GET, ["v1", "offers"]) => {
                let pool: PoolName = call.query("pool")?.ok_or_else(|| missing("pool"))?;
                json(&self.offers(self.account_of_sender(&sender)?, &pool).map_err(|error| broken(&error))?)
            }
            (&Method::POST, ["v1", "quotes"]) => {
                json(&self.quote(self.account_of_sender(&sender)?, call.json()?).map_err(refused)?)
            }
            (&Method::GET, ["v1", "accounts"]) => json(&self.accounts(self.account_of_sender(&sender)?)),
            (&Method::POST, ["v1", "accounts", pool, "funds"]) => {
                // Whose key it is, the receipt says.
                let request: FundRequest = call.json()?;
                json(&self.fund(&sender, &pool_of(pool)?, &request.receipt).map_err(refused)?)
            }
            (method, ["v1", "accounts", pool, rest @ ..]) => {
                let account = self.account_of_sender(&sender)?;
                self.answer_account(call, method, account, &pool_of(pool)?, rest)
            }
            _ => Err(call.no_such_call()),
        }
    }

    fn answer_account(
        &self,
        call: &Call<'_>,
        method: &Method,
        account: AccountId,
        pool: &PoolName,
        rest: &[&str],
    ) -> Result<Response<Vec<u8>>, Problem> {
        match (method, rest) {
            (&Method::GET, []) => match self.account(account, pool) {
                Some(report) => json(&report),
                None => Err(refused(MarketError::NoAccount(pool.clone()))),
            },
            (&Method::GET, ["charges"]) => match self.charges(account, pool) {
                Some(report) => json(&report),
                None => Err(refused(MarketError::NoAccount(pool.clone()))),
            },
            (&Method::DELETE, []) => {
                let generation = call.query("generation")?.ok_or_else(|| missing("generation"))?;
                json(&self.close(account, pool, generation).map_err(refused)?)
            }
            (&Method::PUT, ["bid"]) => json(&self.bid(account, pool, call.json()?).map_err(refused)?),
            (&Method::POST, ["refunds"]) => json(&self.refund(account, pool, call.json()?).map_err(refused)?),
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
        MarketError::NoAccount(_) => problem(StatusCode::NOT_FOUND, NO_ACCOUNT),
        MarketError::Daemon(error) => broken(error),
    }
}

/// The code of the refusal that there is no such account.
pub const NO_ACCOUNT: &str = "host.no-account";
/// The code of the refusal of a key that was removed from its account.
pub const KEY_REMOVED: &str = "host.key-removed";
