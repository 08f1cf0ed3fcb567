//! The ways to bank and hosts, as the executor wants them, over signed calls.

use std::sync::{Arc, OnceLock};

use tycoon_bank::BankClient;
use tycoon_bank::api::RefusedClaim;
use tycoon_bank::ledger::{EscrowOrder, KeyRole};
use tycoon_executor::HostLink;
use tycoon_executor::link::{BankAccount, BankEscrow, BankLink, LinkError, SiteHost};
use tycoon_market::ids::EscrowId;
use tycoon_market::receipt::Receipt;
use tycoon_market::{AccountId, PoolName};
use tycoon_planner::plan::PlannedEscrow;
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::HostDaemon;
use tycoon_xen::hypervisor::Hypervisor as _;
use tycoon_xen::hypervisor::HypervisorError;
use tycoon_xen::market::{
    AccountReport, BidRequest, ChargesReport, CloseReport, OffersReport, Quote, QuoteRequest, RefundRequest,
};
use tycoon_xen::protocol::{Answer, HostError, Request};
use tycoon_xen::remote::RemoteHypervisor;
use tycoon_xen::save::VolumeStream;

use super::door::{Door, SshWay};

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
            highest_rate: escrow.order.highest_rate,
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

    fn refused_claims(&self) -> Result<Vec<RefusedClaim>, LinkError> {
        self.client.refused_claims().map_err(LinkError::from)
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
    bring: Option<Bring>,
}

/// How images that lie here get to a host.
struct Bring {
    door: Arc<Door>,
    host: String,
    way: SshWay,
    /// The host over SSH, or why there is no way to it. It is found when it is first needed.
    machine: OnceLock<Result<RemoteHypervisor, String>>,
}

impl Bring {
    /// The host has the image, where that lies here. True where it had to be sent.
    fn ensure(&self, image: &str) -> Result<bool, LinkError> {
        if !self.door.images().names().any(|name| name == image) {
            return Ok(false);
        }
        let machine = self.machine(&format!("bringing the image `{image}`"))?;
        machine.bring(image).map_err(|error| of_machine(error).into())
    }

    /// The host over SSH. `operation` is what it is for.
    fn machine(&self, operation: &str) -> Result<&RemoteHypervisor, LinkError> {
        let find = || self.door.machine(&self.host, &self.way).map_err(|failure| failure.message());
        self.machine
            .get_or_init(find)
            .as_ref()
            .map_err(|reason| HostError::Failed { operation: operation.to_owned(), reason: reason.clone() }.into())
    }
}

fn of_machine(error: HypervisorError) -> HostError {
    match error {
        HypervisorError::Failed { operation, reason } => {
            HostError::Failed { operation: operation.into_owned(), reason }
        }
        other => HostError::BadRequest { reason: other.to_string() },
    }
}

impl HostOfCaller {
    /// The host of `market` and `daemon` in this process, for `account`.
    pub const fn here(market: HostClient, daemon: Arc<HostDaemon>, account: AccountId) -> Self {
        Self { market, sessions: Sessions::Direct(daemon, account), bring: None }
    }

    /// The host of `market` somewhere else.
    pub const fn elsewhere(market: HostClient) -> Self {
        Self { market, sessions: Sessions::Called, bring: None }
    }

    /// The user's own things on the host, over SSH. `operation` is what they are for.
    fn machine(&self, operation: &str) -> Result<&RemoteHypervisor, LinkError> {
        match &self.bring {
            Some(bring) => bring.machine(operation),
            None => Err(LinkError::refused(
                "host.no-ssh",
                format!("{operation}: where this host is reached over SSH is not known"),
                Some(
                    "its owner says it with `tycoon host serve --ssh PLACE --ssh-key KEY`; in a file of the site, write ssh and \
                     ssh-key into its `network-host`",
                ),
            )),
        }
    }

    /// The same host, called `host`, to which images that lie here are brought.
    #[must_use]
    pub fn with_door(self, door: Arc<Door>, host: &str, way: SshWay) -> Self {
        Self { bring: Some(Bring { door, host: host.to_owned(), way, machine: OnceLock::new() }), ..self }
    }
}

impl HostLink for HostOfCaller {
    fn offers(&self, pool: &PoolName) -> Result<OffersReport, LinkError> {
        let mut report = self.market.offers(pool).map_err(LinkError::from)?;
        if let Some(bring) = &self.bring {
            report.images.extend(bring.door.images().names().map(str::to_owned));
            report.images.sort_unstable();
            report.images.dedup();
        }
        Ok(report)
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

    fn open_volume(&self, name: &str, volume: &str) -> Result<VolumeStream, LinkError> {
        match &self.sessions {
            Sessions::Direct(daemon, account) => Ok(daemon.open_volume(*account, name, volume)?),
            Sessions::Called => {
                let machine = self.machine("reading the volume")?;
                machine.open_volume(name, volume).map_err(|error| of_machine(error).into())
            }
        }
    }

    fn keep_as_image(&self, name: &str, volume: &str, image: &str) -> Result<bool, LinkError> {
        match &self.sessions {
            Sessions::Direct(daemon, account) => Ok(daemon.keep_as_image(*account, name, volume, image)?),
            Sessions::Called => {
                let machine = self.machine("keeping the volume as an image")?;
                machine.keep_as_image(name, volume, image).map_err(|error| of_machine(error).into())
            }
        }
    }

    fn request(&self, request: &Request) -> Result<Answer, LinkError> {
        match &self.sessions {
            Sessions::Direct(daemon, account) => Ok(daemon.session(*account, request.clone())?),
            Sessions::Called => {
                let was_brought = match (request, &self.bring) {
                    (Request::EnsureImage { image }, Some(bring)) => bring.ensure(image)?,
                    _ => false,
                };
                let mut answer = self.market.request(request).map_err(LinkError::from)??;
                if let Answer::Ensured { changed, .. } = &mut answer {
                    *changed |= was_brought;
                }
                Ok(answer)
            }
        }
    }
}
