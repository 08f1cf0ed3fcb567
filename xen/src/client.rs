//! A client of the market of one host.

use http::StatusCode;
use tycoon_market::PoolName;
use tycoon_market::receipt::Receipt;
use tycoon_rpc::{CallError, Caller};

use crate::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, FundRequest, HostInfo, OffersReport, Quote, QuoteRequest,
    RefundRequest,
};

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
}
