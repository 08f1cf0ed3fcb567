//! The ways to bank and hosts, as the executor wants them, over signed calls.

use std::sync::Arc;

use tycoon_bank::BankClient;
use tycoon_bank::ledger::{EscrowOrder, KeyRole};
use tycoon_executor::HostLink;
use tycoon_executor::link::{BankAccount, BankEscrow, BankLink, LinkError, SiteHost};
use tycoon_market::ids::EscrowId;
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, PoolName};
use tycoon_planner::plan::PlannedEscrow;
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::HostDaemon;
use tycoon_xen::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, OffersReport, Quote, QuoteRequest, RefundRequest,
};
use tycoon_xen::protocol::{Answer, Request};

/// The bank, through a caller.
pub struct BankOfCaller {
    client: BankClient,
    account: AccountId,
}

impl BankOfCaller {
    /// The bank of `client`, for `account`.
    pub const fn new(client: BankClient, account: AccountId) -> Self {
        Self { client, account }
    }

    /// The client.
    pub const fn client(&self) -> &BankClient {
        &self.client
    }
}

impl BankLink for BankOfCaller {
    fn account(&self) -> Result<BankAccount, LinkError> {
        let account = self.client.account(&self.account).map_err(LinkError::from)?;
        let keys = account.keys.iter().filter(|key| key.role >= KeyRole::Spender).map(|key| key.key).collect();
        Ok(BankAccount { balance: account.balance, keys })
    }

    fn escrows(&self, pool: Option<&PoolName>) -> Result<Vec<BankEscrow>, LinkError> {
        let escrows = self.client.escrows(pool, None).map_err(LinkError::from)?;
        let view = escrows.into_iter().map(|escrow| BankEscrow {
            id: escrow.order.id,
            pool: escrow.order.pool,
            host: escrow.order.host,
            opened_at: escrow.opened_at,
            amount: escrow.order.amount,
            drawn: escrow.drawn,
            released: escrow.released,
            is_open: escrow.end.is_none(),
        });
        Ok(view.collect())
    }

    fn open_escrow(&self, pool: &PoolName, host: &SiteHost, escrow: &PlannedEscrow) -> Result<Receipt, LinkError> {
        let order = EscrowOrder {
            id: escrow.id,
            payer: self.account,
            pool: pool.clone(),
            host: host.id,
            host_key: host.key,
            beneficiary: host.owner,
            amount: escrow.amount,
            longest: escrow.longest,
            highest_rate: escrow.highest_rate,
        };
        self.client.open_escrow(&order).map_err(LinkError::from)
    }

    fn receipt(&self, escrow: EscrowId) -> Result<Receipt, LinkError> {
        Ok(self.client.escrow(&escrow).map_err(LinkError::from)?.receipt)
    }
}

/// A host that cannot be reached: it says so to whoever asks.
pub struct HostOutOfReach {
    /// Why, and what to do.
    pub reason: String,
}

impl HostOutOfReach {
    fn say<T>(&self) -> Result<T, LinkError> {
        Err(LinkError::Unreachable { reason: self.reason.clone() })
    }
}

impl HostLink for HostOutOfReach {
    fn offers(&self, _: &PoolName) -> Result<OffersReport, LinkError> {
        self.say()
    }

    fn quote(&self, _: &QuoteRequest) -> Result<Quote, LinkError> {
        self.say()
    }

    fn account(&self, _: &PoolName) -> Result<Option<AccountReport>, LinkError> {
        self.say()
    }

    fn accounts(&self) -> Result<Vec<AccountReport>, LinkError> {
        self.say()
    }

    fn charges(&self, _: &PoolName) -> Result<Option<ChargesReport>, LinkError> {
        self.say()
    }

    fn fund(&self, _: &PoolName, _: &Receipt) -> Result<AccountReport, LinkError> {
        self.say()
    }

    fn bid(&self, _: &PoolName, _: &BidRequest) -> Result<AccountReport, LinkError> {
        self.say()
    }

    fn refund(&self, _: &PoolName, _: &RefundRequest) -> Result<AccountReport, LinkError> {
        self.say()
    }

    fn close(&self, _: &PoolName, _: u64) -> Result<CloseReport, LinkError> {
        self.say()
    }

    fn request(&self, _: &Request) -> Result<Answer, LinkError> {
        self.say()
    }
}

/// How what is asked about domains gets to a host.
enum Sessions {
    /// Directly, as the forced command of a real host's `sshd` would pass it on.
    Direct(Arc<HostDaemon>, AccountId),
    /// By signed calls, like everything else.
    Called,
}

/// A host through a caller.
pub struct HostOfCaller {
    market: HostClient,
    sessions: Sessions,
}

impl HostOfCaller {
    /// The host of `market` and `daemon` in this process, for `account`.
    pub const fn here(market: HostClient, daemon: Arc<HostDaemon>, account: AccountId) -> Self {
        Self { market, sessions: Sessions::Direct(daemon, account) }
    }

    /// The host of `market` somewhere else.
    pub const fn elsewhere(market: HostClient) -> Self {
        Self { market, sessions: Sessions::Called }
    }
}

impl HostLink for HostOfCaller {
    fn offers(&self, pool: &PoolName) -> Result<OffersReport, LinkError> {
        self.market.offers(pool).map_err(LinkError::from)
    }

    fn quote(&self, request: &QuoteRequest) -> Result<Quote, LinkError> {
        self.market.quote(request).map_err(LinkError::from)
    }

    fn account(&self, pool: &PoolName) -> Result<Option<AccountReport>, LinkError> {
        self.market.account(pool).map_err(LinkError::from)
    }

    fn accounts(&self) -> Result<Vec<AccountReport>, LinkError> {
        self.market.accounts().map_err(LinkError::from)
    }

    fn charges(&self, pool: &PoolName) -> Result<Option<ChargesReport>, LinkError> {
        self.market.charges(pool).map_err(LinkError::from)
    }

    fn fund(&self, pool: &PoolName, receipt: &Receipt) -> Result<AccountReport, LinkError> {
        self.market.fund(pool, receipt).map_err(LinkError::from)
    }

    fn bid(&self, pool: &PoolName, request: &BidRequest) -> Result<AccountReport, LinkError> {
        self.market.bid(pool, request).map_err(LinkError::from)
    }

    fn refund(&self, pool: &PoolName, request: &RefundRequest) -> Result<AccountReport, LinkError> {
        self.market.refund(pool, request).map_err(LinkError::from)
    }

    fn close(&self, pool: &PoolName, generation: u64) -> Result<CloseReport, LinkError> {
        self.market.close(pool, generation).map_err(LinkError::from)
    }

    fn request(&self, request: &Request) -> Result<Answer, LinkError> {
        match &self.sessions {
            Sessions::Direct(daemon, account) => Ok(daemon.session(*account, request.clone())?),
            Sessions::Called => Ok(self.market.request(request).map_err(LinkError::from)??),
        }
    }
}
