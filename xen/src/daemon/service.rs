//! The host's market calls over HTTP: who may call what, and how refusals are told.

use http::{Method, Request, Response, StatusCode};
use tycoon_market::{AccountId, PoolName};
use tycoon_rpc::receiver::{Call, json};
use tycoon_rpc::{Problem, Service};

use super::market::MarketError;
use super::{DaemonError, HostDaemon};
use crate::market::{FundRequest, HostInfo};

impl Service for HostDaemon {
    fn handle(&self, request: Request<Vec<u8>>) -> Response<Vec<u8>> {
        let knows = |key: &_| self.lock().accounts_of_keys.contains_key(key);
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
        let account = self.lock().account_of(&call.sender()?);
        match (method, path.as_slice()) {
            (&Method::GET, ["v1", "offers"]) => {
                let pool: PoolName = call.query("pool")?.ok_or_else(|| missing("pool"))?;
                json(&self.offers(account, &pool).map_err(broken)?)
            }
            (&Method::POST, ["v1", "quotes"]) => json(&self.quote(account, call.json()?).map_err(refused)?),
            (&Method::GET, ["v1", "accounts"]) => json(&self.accounts(account)),
            (method, ["v1", "accounts", pool, rest @ ..]) => {
                let pool: PoolName = pool.parse().map_err(|error| {
                    Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed").detail(error)
                })?;
                self.answer_account(call, method, account, &pool, rest)
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
            (&Method::DELETE, []) => {
                let generation = call.query("generation")?.ok_or_else(|| missing("generation"))?;
                json(&self.close(account, pool, generation).map_err(refused)?)
            }
            (&Method::POST, ["funds"]) => {
                let request: FundRequest = call.json()?;
                json(&self.fund(account, pool, &request.receipt).map_err(refused)?)
            }
            (&Method::PUT, ["bid"]) => json(&self.bid(account, pool, call.json()?).map_err(refused)?),
            (&Method::POST, ["refunds"]) => json(&self.refund(account, pool, call.json()?).map_err(refused)?),
            _ => Err(call.no_such_call()),
        }
    }
}

fn missing(name: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "call.malformed", "The call is malformed")
        .detail(format_args!("the query must say `{name}=`"))
}

/// A fault of the host, about which its owner has to be told and a caller can do nothing.
fn broken(error: DaemonError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "host.broken", "The host cannot do its work").detail(error)
}

fn refused(error: MarketError) -> Problem {
    let problem = |status, code: &str| Problem::new(status, code, "The host refuses").detail(&error);
    match &error {
        MarketError::Refused(refusal) => problem(StatusCode::CONFLICT, &format!("host.{}", refusal.code())),
        MarketError::StaleGeneration { .. } => problem(StatusCode::CONFLICT, "host.stale-generation"),
        MarketError::Receipt(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, "host.receipt"),
        MarketError::NoAccount(_) => problem(StatusCode::NOT_FOUND, NO_ACCOUNT),
        MarketError::Daemon(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "host.broken"),
    }
}

/// The code of the refusal that there is no such account.
pub const NO_ACCOUNT: &str = "host.no-account";
