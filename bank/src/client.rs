//! The client of a bank.

use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Receipt, Statement, Timestamp, TransferId};
use tycoon_rpc::{CallError, Caller, Limits, Transport};

use crate::api::{
    AccountRequest, AllowanceRequest, BankInfo, CloseRequest, EscrowInfo, IssueRequest, PAGE_MAX, Page, Paid,
    RefusedClaim, TransferOutcome, TransferRequest, TransfersRequest,
};
use crate::ledger::{
    Account, AccountKind, AllowanceTerms, Entry, Escrow, EscrowOrder, KeyChange, Line, RefundOrder, Reservation,
    ReservationOrder, Resolution,
};

/// Asks a bank whose key is not known yet who it is. Whether it is the right one, the user must say.
pub fn introduce(transport: &dyn Transport) -> Result<BankInfo, CallError> {
    tycoon_rpc::caller::introduce(transport, "/v1/bank", &Limits::DEFAULT, |info: &BankInfo| info.key)
}

/// Calls a bank with one key.
#[derive(Clone)]
pub struct BankClient(Caller);

impl BankClient {
    /// The client that calls by `caller`, whose recipient is the bank.
    pub const fn new(caller: Caller) -> Self {
        Self(caller)
    }

    /// The key that signs the calls.
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// The bank's key.
    pub fn bank(&self) -> PublicKey {
        self.0.recipient()
    }

    /// What everybody may know about the bank.
    pub fn info(&self) -> Result<BankInfo, CallError> {
        self.0.get("/v1/bank", &[])
    }

    /// Opens an account. Repeating it gives the same account.
    pub fn open_account(&self, key: PublicKey, kind: AccountKind, label: &str) -> Result<Account, CallError> {
        self.open_account_with(&AccountRequest::new(key, kind, label))
    }

    /// Opens an account as `request` says. Repeating it gives the same account.
    pub fn open_account_with(&self, request: &AccountRequest) -> Result<Account, CallError> {
        self.0.post("/v1/accounts", request)
    }

    /// Closes the account `id` in favour of `to`. Repeating it fetches what has reached it since.
    pub fn close_account(&self, id: &AccountId, to: AccountId) -> Result<Account, CallError> {
        self.0.post(&format!("/v1/accounts/{id}/close"), &CloseRequest { to })
    }

    /// Grants the sub-account `id` an allowance, or ends it.
    pub fn set_allowance(&self, id: &AccountId, allowance: Option<AllowanceTerms>) -> Result<Account, CallError> {
        self.0.post(&format!("/v1/accounts/{id}/allowance"), &AllowanceRequest { allowance })
    }

    /// The accounts that the caller may see: her own and its sub-accounts; all of them where she is the issuer.
    pub fn accounts(&self) -> Result<Vec<Account>, CallError> {
        self.all_pages("/v1/accounts", &[])
    }

    /// The account that the caller's key acts for.
    pub fn own_account(&self) -> Result<Account, CallError> {
        self.0.get("/v1/account", &[])
    }

    /// The account `id`.
    pub fn account(&self, id: &AccountId) -> Result<Account, CallError> {
        self.0.get(&format!("/v1/accounts/{id}"), &[])
    }

    /// Entries of the history of `id`, the latest first, from before the cursor of the page before.
    pub fn history(&self, id: &AccountId, before: Option<&str>, limit: usize) -> Result<Page<Entry>, CallError> {
        self.filtered_history(id, before, limit, &[])
    }

    /// Like [`history`](Self::history), with filters: `from` and `to` (microseconds since 1970) and `kind`.
    pub fn filtered_history(
        &self,
        id: &AccountId,
        before: Option<&str>,
        limit: usize,
        filters: &[(&str, &str)],
    ) -> Result<Page<Entry>, CallError> {
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(before.map(|before| ("before", before)));
        query.extend(filters);
        self.0.get(&format!("/v1/accounts/{id}/history"), &query)
    }

    /// The lines of the statement of `id` in their order, from `from` to before `to`. Pages are fetched until the last.
    pub fn lines(&self, id: &AccountId, from: Timestamp, to: Timestamp) -> Result<Vec<Line>, CallError> {
        let (from, to) = (from.micros().to_string(), to.micros().to_string());
        self.all_pages(&format!("/v1/accounts/{id}/lines"), &[("from", &from), ("to", &to)])
    }

    fn all_pages<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        filters: &[(&str, &str)],
    ) -> Result<Vec<T>, CallError> {
        let limit = PAGE_MAX.to_string();
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("limit", limit.as_str())];
            query.extend(filters);
            query.extend(after.as_deref().map(|after| ("after", after)));
            let page: Page<T> = self.0.get(path, &query)?;
            items.extend(page.items);
            match page.next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(items),
            }
        }
    }

    /// Changes the keys of the account `id`.
    pub fn change_keys(&self, id: &AccountId, change: &KeyChange) -> Result<Account, CallError> {
        self.0.post(&format!("/v1/accounts/{id}/keys"), change)
    }

    /// Moves credits between accounts. Repeating it with the same id gives the same transfer.
    pub fn transfer(&self, request: &TransferRequest) -> Result<Paid, CallError> {
        self.0.post("/v1/transfers", request)
    }

    /// Makes several transfers with one call: all or none where they are linked. Repeating it is harmless.
    pub fn transfers(&self, transfers: &[TransferRequest], linked: bool) -> Result<Vec<TransferOutcome>, CallError> {
        self.0.post("/v1/transfers/batch", &TransfersRequest { transfers: transfers.to_vec(), linked })
    }

    /// The transfer `id` of `payer`, with its receipt.
    pub fn paid(&self, payer: &AccountId, id: &TransferId) -> Result<Paid, CallError> {
        self.0.get(&format!("/v1/accounts/{payer}/transfers/{id}"), &[])
    }

    /// Gives back what a transfer paid, or a part of it. Repeating it with the same id gives the same transfer.
    pub fn refund(&self, order: &RefundOrder) -> Result<Paid, CallError> {
        self.0.post("/v1/refunds", order)
    }

    /// Reserves credits. Repeating the same order gives the same reservation.
    pub fn reserve(&self, order: &ReservationOrder) -> Result<Reservation, CallError> {
        self.0.post("/v1/reservations", order)
    }

    /// The reservation `id` of `payer`.
    pub fn reservation(&self, payer: &AccountId, id: &TransferId) -> Result<Reservation, CallError> {
        self.0.get(&format!("/v1/reservations/{payer}/{id}"), &[])
    }

    /// Posts or voids a reservation. Repeating it gives the same answer.
    pub fn resolve(
        &self,
        payer: &AccountId,
        id: &TransferId,
        resolution: Resolution,
    ) -> Result<Reservation, CallError> {
        self.0.post(&format!("/v1/reservations/{payer}/{id}"), &resolution)
    }

    /// Puts credits into circulation. Repeating it with the same id gives the same issue.
    pub fn issue(&self, request: &IssueRequest) -> Result<Paid, CallError> {
        self.0.post("/v1/issue", request)
    }

    /// Sets money aside. Repeating the same order gives the same receipt.
    pub fn open_escrow(&self, order: &EscrowOrder) -> Result<Receipt, CallError> {
        self.0.post("/v1/escrows", order)
    }

    /// The escrow `id` and its receipt.
    pub fn escrow(&self, id: &EscrowId) -> Result<EscrowInfo, CallError> {
        self.0.get(&format!("/v1/escrows/{id}"), &[])
    }

    /// All escrows that the caller's account pays, narrowed by pool and host; or, with the caller's own host, those
    /// that pay it. Pages are fetched until the last.
    pub fn escrows(&self, pool: Option<&PoolName>, host: Option<&HostId>) -> Result<Vec<Escrow>, CallError> {
        let host = host.map(HostId::to_string);
        let mut filters = Vec::new();
        filters.extend(pool.map(|pool| ("pool", pool.as_str())));
        filters.extend(host.as_deref().map(|host| ("host", host)));
        self.all_pages("/v1/escrows", &filters)
    }

    /// What hosts claimed of the caller's escrows beyond what they may have, and were refused.
    pub fn refused_claims(&self) -> Result<Vec<RefusedClaim>, CallError> {
        self.0.get("/v1/claims", &[])
    }

    /// Sends a host's statement. Repeating it changes nothing.
    pub fn settle(&self, statement: &Statement) -> Result<Escrow, CallError> {
        self.0.post("/v1/statements", statement)
    }
}
