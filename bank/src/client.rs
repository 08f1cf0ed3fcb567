//! The client of a bank.

use tycoon_market::{AccountId, EscrowId, HostId, PoolName, PublicKey, Receipt, Statement};
use tycoon_rpc::{CallError, Caller, Limits, Transport};

use crate::api::{AccountRequest, BankInfo, EscrowInfo, IssueRequest, PAGE_MAX, Page, TransferRequest};
use crate::ledger::{Account, AccountKind, Entry, Escrow, EscrowOrder, KeyChange, Transfer};

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
        self.0.post("/v1/accounts", &AccountRequest { key, kind, label: label.to_owned() })
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
        let limit = limit.to_string();
        let mut query = vec![("limit", limit.as_str())];
        query.extend(before.map(|before| ("before", before)));
        self.0.get(&format!("/v1/accounts/{id}/history"), &query)
    }

    /// Changes the keys of the account `id`.
    pub fn change_keys(&self, id: &AccountId, change: &KeyChange) -> Result<Account, CallError> {
        self.0.post(&format!("/v1/accounts/{id}/keys"), change)
    }

    /// Moves credits between accounts. Repeating it with the same id gives the same transfer.
    pub fn transfer(&self, request: &TransferRequest) -> Result<Transfer, CallError> {
        self.0.post("/v1/transfers", request)
    }

    /// Puts credits into circulation. Repeating it with the same id gives the same issue.
    pub fn issue(&self, request: &IssueRequest) -> Result<Transfer, CallError> {
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
        let limit = PAGE_MAX.to_string();
        let host = host.map(HostId::to_string);
        let mut escrows = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let mut query = vec![("limit", limit.as_str())];
            query.extend(pool.map(|pool| ("pool", pool.as_str())));
            query.extend(host.as_deref().map(|host| ("host", host)));
            query.extend(after.as_deref().map(|after| ("after", after)));
            let page: Page<Escrow> = self.0.get("/v1/escrows", &query)?;
            escrows.extend(page.items);
            match page.next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => return Ok(escrows),
            }
        }
    }

    /// Sends a host's statement. Repeating it changes nothing.
    pub fn settle(&self, statement: &Statement) -> Result<Escrow, CallError> {
        self.0.post("/v1/statements", statement)
    }
}
