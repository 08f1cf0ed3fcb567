//! A client of the market of one host.

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, PoolName, PublicKey};
use tycoon_rpc::{CallError, Caller, Limits, Transport};

use crate::events::EventsReport;
use crate::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, FundRequest, HostInfo, OffersReport, PreviewReport,
    PreviewRequest, Quote, QuoteRequest, RefundRequest,
};
use crate::owner::{
    AccountsPage, BanRequest, DrainRequest, EvictReport, EvictRequest, OwnerReport, PolicyRequest, WithdrawReport,
};
use crate::protocol::{Answer, DomainsReply, HostError, Request};

/// How long a piece of work on domains may take in all: images are copied in it.
const WORK_MAX: Duration = Duration::from_secs(3_600);
/// The code with which a host says that it is still at what was asked of it.
const UNDER_WAY: &str = "host.under-way";

/// Asks a host whose key is not known yet who it is. Whether it is the right one, the user must say.
pub fn introduce(transport: &dyn Transport) -> Result<HostInfo, CallError> {
    tycoon_rpc::caller::introduce(transport, "/v1/host", &Limits::DEFAULT, |info: &HostInfo| info.key)
}

/// Calls the market of one host with one key.
#[derive(Clone)]
pub struct HostClient {
    caller: Caller,
}

impl HostClient {
    /// A client that calls through `caller`.
    pub const fn new(caller: Caller) -> Self {
        Self { caller }
    }

    /// Who and what the host is.
    pub fn info(&self) -> Result<HostInfo, CallError> {
        self.caller.get("/v1/host", &[])
    }

    /// What it sells now, as the caller can have it for one pool.
    pub fn offers(&self, pool: &PoolName) -> Result<OffersReport, CallError> {
        self.caller.get("/v1/offers", &[("pool", pool.as_str())])
    }

    /// Has minima held for a while.
    pub fn quote(&self, request: &QuoteRequest) -> Result<Quote, CallError> {
        self.caller.post("/v1/quotes", request)
    }

    /// The caller's account for one pool.
    pub fn account(&self, pool: &PoolName) -> Result<Option<AccountReport>, CallError> {
        match self.caller.get(&format!("/v1/accounts/{pool}"), &[]) {
            Ok(report) => Ok(Some(report)),
            Err(CallError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The caller's accounts for all pools.
    pub fn accounts(&self) -> Result<Vec<AccountReport>, CallError> {
        self.caller.get("/v1/accounts", &[])
    }

    /// What the caller's account for one pool was charged lately, line by line.
    pub fn charges(&self, pool: &PoolName) -> Result<Option<ChargesReport>, CallError> {
        match self.caller.get(&format!("/v1/accounts/{pool}/charges"), &[]) {
            Ok(report) => Ok(Some(report)),
            Err(CallError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Credits the account with an escrow, once.
    pub fn fund(&self, pool: &PoolName, receipt: &Receipt) -> Result<AccountReport, CallError> {
        self.caller.post(&format!("/v1/accounts/{pool}/funds"), &FundRequest { receipt: receipt.clone() })
    }

    /// Sets the bid.
    pub fn bid(&self, pool: &PoolName, request: &BidRequest) -> Result<AccountReport, CallError> {
        self.caller.call(http::Method::PUT, &format!("/v1/accounts/{pool}/bid"), &[], Some(request))
    }

    /// Takes out what is above what shall be left.
    pub fn refund(&self, pool: &PoolName, request: &RefundRequest) -> Result<AccountReport, CallError> {
        self.caller.post(&format!("/v1/accounts/{pool}/refunds"), request)
    }

    /// Closes the account.
    pub fn close(&self, pool: &PoolName, generation: u64) -> Result<CloseReport, CallError> {
        let query = [("generation", &*generation.to_string())];
        self.caller.call::<(), _>(http::Method::DELETE, &format!("/v1/accounts/{pool}"), &query, None)
    }

    /// The key of the host.
    pub fn key(&self) -> PublicKey {
        self.caller.recipient()
    }

    /// What a bid would bring now.
    pub fn preview(&self, pool: &PoolName, request: &PreviewRequest) -> Result<PreviewReport, CallError> {
        self.caller.post(&format!("/v1/accounts/{pool}/bid/preview"), request)
    }

    /// Has the caller's domains be as they should. What takes longer than one call is asked for again until it is done.
    pub fn request(&self, request: &Request) -> Result<Result<Answer, HostError>, CallError> {
        let began = Instant::now();
        loop {
            match self.caller.post("/v1/domains", request) {
                Ok(DomainsReply::Done(answer)) => return Ok(Ok(answer)),
                Ok(DomainsReply::Refused(error)) => return Ok(Err(error)),
                // The host has waited before it said so.
                Err(CallError::Refused(problem)) if problem.code == UNDER_WAY && began.elapsed() < WORK_MAX => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What happened after the event with a number; where there is nothing, what happens within so many seconds.
    pub fn events(&self, after: u64, wait_seconds: u64) -> Result<EventsReport, CallError> {
        self.caller.get("/v1/events", &[("after", &*after.to_string()), ("wait", &*wait_seconds.to_string())])
    }

    /// For the owner: what is set, and how the host does.
    pub fn owner_report(&self) -> Result<OwnerReport, CallError> {
        self.caller.get("/v1/owner", &[])
    }

    /// For the owner: sets prices and rules, from the next interval on.
    pub fn set_policy(&self, request: &PolicyRequest) -> Result<OwnerReport, CallError> {
        self.caller.call(Method::PUT, "/v1/owner/policy", &[], Some(request))
    }

    /// For the owner: admits nobody new, or does again.
    pub fn set_draining(&self, draining: bool) -> Result<OwnerReport, CallError> {
        self.caller.call(Method::PUT, "/v1/owner/draining", &[], Some(&DrainRequest { draining }))
    }

    /// For the owner: puts host accounts out.
    pub fn evict(&self, request: &EvictRequest) -> Result<EvictReport, CallError> {
        self.caller.post("/v1/owner/evictions", request)
    }

    /// For the owner: keeps an account out, or lets it in again.
    pub fn ban(&self, account: AccountId, banned: bool) -> Result<OwnerReport, CallError> {
        self.caller.call(Method::PUT, "/v1/owner/bans", &[], Some(&BanRequest { account, banned }))
    }

    /// For the owner: draws what was charged from all escrows now.
    pub fn withdraw(&self) -> Result<WithdrawReport, CallError> {
        self.caller.post("/v1/owner/withdrawals", &())
    }

    /// For the owner: everybody's host accounts, page by page.
    pub fn everybodys_accounts(&self) -> Result<Vec<AccountReport>, CallError> {
        let mut accounts = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let query: Vec<(&str, &str)> = after.as_deref().map(|after| ("after", after)).into_iter().collect();
            let page: AccountsPage = self.caller.get("/v1/owner/accounts", &query)?;
            accounts.extend(page.accounts);
            match page.next {
                Some(next) if after.as_ref().is_none_or(|after| *after < next) => after = Some(next),
                _ => return Ok(accounts),
            }
        }
    }
}
