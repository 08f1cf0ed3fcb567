//! A site in this process: bank, service location service and simulated hosts, for whoever has no real site yet. It is
//! the same code as the services, without the network. Which hosts it has says a description: `embedded.kdl` beside
//! this file, or the one given by `--site`.
//!
//! Its state is under the XDG state directory, by the site's name. One process at a time has it open. The simulated hosts live on while no
//! process has it open: when it is opened, the time since the last time is accounted for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tycoon_bank::audit::{Audit, audit};
use tycoon_bank::journal::Check;
use tycoon_bank::ledger::AccountKind;
use tycoon_bank::store::SledStore;
use tycoon_bank::{Bank, BankClient, BankService, Options, Registration, api};
use tycoon_executor::HostLink;
use tycoon_executor::engine::StopFlag;
use tycoon_executor::link::{BankLink, LinkError, SiteHost};
use tycoon_executor::lock::{Lock, Patience};
use tycoon_lang::site::{HostKind, Site};
use tycoon_market::ids::TransferId;
use tycoon_market::{AccountId, HostId, TimeSpan};
use tycoon_rpc::nonce::{CountedNonces, NonceSource, RandomNonces};
use tycoon_rpc::{Caller, Clock, InProcess, ReplayPolicy, SecretKey, Signer, Transport};
use tycoon_sls::client::{NamedCaller, SlsClient};
use tycoon_sls::query::HostQuery;
use tycoon_sls::registry::Policy;
use tycoon_sls::service::SlsService;
use tycoon_xen::client::HostClient;
use tycoon_xen::daemon::{DaemonError, HostDaemon};

use super::clock::SiteClock;
use super::hosts::{self, Market, OpenHost, Standing};
use super::links::{BankOfCaller, HostOfCaller};
use super::machines;
use super::store::{self, StateFolder};
use super::world::Surroundings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::Identity;
use crate::output::Output;

/// How long another process may have the site open before it is said who has.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Time that passed while nobody looked is led through in steps of this: the bank returns escrows of which it hears
/// nothing for a day, so that hosts have to report more often than that.
const CATCH_UP_STEP: TimeSpan = TimeSpan::from_seconds(12 * 3_600);

/// A site in this process, open.
pub struct EmbeddedSite {
    description: Site,
    account: AccountId,
    clock: Arc<SiteClock>,
    database: sled::Db,
    bank: Arc<Bank>,
    bank_link: BankOfCaller,
    sls: SlsClient,
    sls_service: Arc<SlsService>,
    owner: AccountId,
    hosts: Vec<OpenHost>,
    journal: PathBuf,
    // Last, so that everything is closed before others may open it.
    _lock: Lock,
}

/// The keys of the site's parties, made from its seed.
struct Keys {
    seed: [u8; 32],
}

impl Keys {
    fn of(&self, party: &str) -> Arc<SecretKey> {
        let seed = Sha256::new().chain_update(b"tycoon embedded site\0").chain_update(self.seed).chain_update(party);
        Arc::new(SecretKey::from_seed(&seed.finalize().into()))
    }
}

/// Makes callers that have the site's clock.
struct Callers {
    clock: Arc<SiteClock>,
    nonces: Arc<dyn NonceSource>,
}

impl Callers {
    fn caller(&self, signer: Arc<dyn Signer>, service: &Arc<dyn Signer>, transport: Arc<dyn Transport>) -> Caller {
        Caller::new(signer, service.public_key(), transport)
            .with_clock(self.clock.clone())
            .with_nonces(self.nonces.clone())
    }
}

impl EmbeddedSite {
    /// Opens the site of this user, or makes it.
    pub fn open(
        description: Site,
        folders: &Folders,
        identity: &Identity,
        surroundings: &Surroundings,
        command: &str,
        output: &Output,
        stop: &StopFlag,
    ) -> Result<Self, Failure> {
        let folder = StateFolder::at(folders.site())?;
        let what = format!("the site `{}`", description.name);
        let patience = Patience {
            longest: LOCK_PATIENCE,
            is_stopped: &|| stop.is_set(),
            tell: &|text| output.message(&format!("note: {text}")),
        };
        let lock = Lock::take_with(&folder.lock_file(), &what, command, &patience)
            .map_err(|error| Failure::from_lock(&error))?;
        let seed = folder.prepare(surroundings.seed)?;
        let database = store::open_database(&folder)?;
        let keys = Keys { seed };
        let clock = Arc::new(SiteClock::new(surroundings.clock.clone()));
        // Nonces keep calls apart. In one process nobody can replay any, and tests want the same run every time.
        let nonces: Arc<dyn NonceSource> = match surroundings.seed {
            Some(seed) => Arc::new(CountedNonces::new(seed)),
            None => Arc::new(RandomNonces),
        };
        let callers = Callers { clock: clock.clone(), nonces };
        let bank_key: Arc<dyn Signer> = keys.of("bank");
        let bank = open_bank(&folder, &database, &keys, &clock, output)?;
        let registration = Registration::Open;
        let bank_service: Arc<dyn Transport> = Arc::new(InProcess(BankService::new(
            bank.clone(),
            bank_key.clone(),
            clock.clone(),
            ReplayPolicy::IN_PROCESS,
            registration,
        )));
        let sls_key: Arc<dyn Signer> = keys.of("sls");
        let sls_service = Arc::new(
            SlsService::open(sls_key.clone(), clock.clone(), ReplayPolicy::IN_PROCESS, Policy::default(), None)
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?,
        );
        let sls_transport: Arc<dyn Transport> = Arc::new(InProcess(sls_service.clone()));
        let sls_of = |signer: Arc<dyn Signer>| {
            let caller = callers.caller(signer, &sls_key, sls_transport.clone());
            SlsClient::new(vec![NamedCaller { name: "the embedded site".into(), caller }])
        };
        let user: Arc<dyn Signer> = identity.key.clone();
        let bank_of = |signer| BankClient::new(callers.caller(signer, &bank_key, bank_service.clone()));
        let owner = AccountId::of(&keys.of("owner").public_key());
        let mut hosts = Vec::new();
        for (host, machine) in
            description.hosts.iter().zip(machines::open_all(&description, &database, folders, output, stop)?)
        {
            let signer: Arc<dyn Signer> = keys.of(&host.address);
            let name = hosts::name_of(host)?;
            let standing = match machine {
                Err(reason) => Standing::OutOfReach { reason },
                Ok(hypervisor) => {
                    let bank = bank_of(signer.clone());
                    let market = Market { database: &database, owner, bank, clock: clock.clone() };
                    let daemon = hosts::open_market(host, &name, &signer, hypervisor, market)?;
                    let transport: Arc<dyn Transport> = Arc::new(InProcess(daemon.clone()));
                    let client = HostClient::new(callers.caller(user.clone(), &signer, transport));
                    let link: Arc<dyn HostLink> =
                        Arc::new(HostOfCaller::here(client.clone(), daemon.clone(), identity.account()));
                    Standing::Open { daemon, link, client: Box::new(client) }
                }
            };
            hosts.push(OpenHost { host: host.clone(), signer, name, standing });
        }
        let mut site = Self {
            description,
            account: identity.account(),
            clock,
            database,
            bank,
            bank_link: BankOfCaller::new(bank_of(user.clone()), identity.account()),
            sls: sls_of(user),
            sls_service,
            owner,
            hosts,
            journal: folder.bank_journal(),
            _lock: lock,
        };
        site.open_accounts(&keys, &bank_of, output)?;
        site.catch_up();
        site.register(&sls_of)?;
        Ok(site)
    }

    /// Opens the accounts of the owner and of the user, who gets an opening balance.
    fn open_accounts(
        &self,
        keys: &Keys,
        bank_of: &dyn Fn(Arc<dyn Signer>) -> BankClient,
        output: &Output,
    ) -> Result<(), Failure> {
        let failed = |error: tycoon_rpc::CallError| {
            Failure::from_error(Exit::Failed, &error).context("the site's bank cannot open your account")
        };
        let unreadable = |error: tycoon_bank::BankError| Failure::from_error(Exit::Failed, &error);
        let found = self.bank.read(|store| store.account(&self.account)).map_err(unreadable)?;
        // An account without any entry is one whose opening was cut short: its balance is still to come.
        if found.as_ref().is_some_and(|account| account.entries > 0) {
            return Ok(());
        }
        let owners = self.bank.read(|store| store.account(&self.owner)).map_err(unreadable)?;
        let is_made = found.is_none() && owners.is_some();
        let owner = keys.of("owner");
        let owner_key = owner.public_key();
        bank_of(owner).open_account(owner_key, AccountKind::Owner, "owner of the hosts").map_err(failed)?;
        let user = self.bank_link.client();
        user.open_account(user.public_key(), AccountKind::User, "").map_err(failed)?;
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(self.account.as_bytes())[..16]);
        let request = api::IssueRequest {
            id: TransferId::from_bytes(id),
            to: self.account,
            amount: self.description.opening_balance,
            memo: "opening balance".into(),
        };
        bank_of(keys.of("issuer")).issue(&request).map_err(failed)?;
        let (name, balance) = (&self.description.name, self.description.opening_balance);
        output.message(&if is_made {
            format!(
                "opened a new account {} at the bank of the site `{name}`, with {balance} credits; what was opened there \
                 with another key stays with that key",
                self.account.short()
            )
        } else {
            format!("made a site `{name}` of {}; its bank gave you {balance} credits", kinds_of_hosts(&self.description))
        });
        Ok(())
    }

    /// Leads the site through the time since it was last open. A host that fails meanwhile is out of reach from then on,
    /// and accounts for the time when it is back.
    fn catch_up(&mut self) {
        let now = self.clock.machine_now();
        let accounted = self.busy().map(|(_, daemon)| daemon.accounted_at()).min();
        let Some(mut time) = accounted else { return };
        while now.since(time) > CATCH_UP_STEP {
            time = time.plus(CATCH_UP_STEP);
            self.clock.lead(time);
            self.lead_hosts(|daemon| {
                if daemon.accounted_at() < time {
                    daemon.tick()?;
                }
                daemon.restart_due();
                Ok(())
            });
        }
        self.clock.release();
        self.lead_hosts(|daemon| {
            daemon.resume(None)?;
            daemon.restart_due();
            Ok(())
        });
    }

    fn busy(&self) -> impl Iterator<Item = (usize, &Arc<HostDaemon>)> {
        let open = self.hosts.iter().enumerate().filter_map(|(number, host)| Some((number, host.daemon()?)));
        open.filter(|(_, daemon)| !daemon.is_idle())
    }

    fn lead_hosts(&mut self, lead: impl Fn(&HostDaemon) -> Result<(), DaemonError>) {
        let failed: Vec<(usize, String)> =
            self.busy().filter_map(|(number, daemon)| Some((number, one_line(&lead(daemon).err()?)))).collect();
        for (number, reason) in failed {
            self.hosts[number].standing = Standing::OutOfReach { reason };
        }
    }

    /// Registers every host that can be worked with.
    fn register(&mut self, sls_of: &dyn Fn(Arc<dyn Signer>) -> SlsClient) -> Result<(), Failure> {
        let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
        for host in &mut self.hosts {
            let Some(daemon) = host.daemon() else { continue };
            let record = match daemon.record(host.host.labels.clone(), host.addresses()) {
                Ok(record) => record,
                Err(error) => {
                    host.standing = Standing::OutOfReach { reason: one_line(&error) };
                    continue;
                }
            };
            let signed = daemon.sign(&record).map_err(|error| failed(&error))?;
            for outcome in sls_of(host.signer.clone()).register(&signed) {
                outcome.map_err(|error| failed(&error))?;
            }
        }
        Ok(())
    }

    /// What the site says of a host.
    pub fn host(&self, id: &HostId) -> Option<&OpenHost> {
        self.hosts.iter().find(|host| HostId::of(&host.signer.public_key()) == *id)
    }

    /// The description of the site.
    pub const fn description(&self) -> &Site {
        &self.description
    }

    /// Counts all money anew from the bank's journal.
    pub fn audit(&self) -> Result<Audit, Failure> {
        // So that the index has everything that the journal has.
        self.bank.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let index =
            SledStore::open(&self.database, BANK_TREE).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        audit(&self.journal, Some(&index)).map_err(|error| Failure::from_error(Exit::Failed, &error))
    }

    /// The user's client of the bank.
    pub const fn bank_client(&self) -> &BankClient {
        self.bank_link.client()
    }

    /// The user's client of the service location service.
    pub const fn sls_client(&self) -> &SlsClient {
        &self.sls
    }

    /// Puts on disk what is not there yet.
    pub fn close(&self) -> Result<(), Failure> {
        self.bank.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        self.sls_service.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        self.database.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        Ok(())
    }
}

/// An error with its causes, on one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// `4 simulated hosts`, `2 Xen hosts`.
fn kinds_of_hosts(site: &Site) -> String {
    let real = site.hosts.iter().filter(|host| matches!(host.kind, HostKind::Xen(_))).count();
    let counted = [(real, "Xen"), (site.hosts.len() - real, "simulated")].into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<String> =
        counted.map(|(count, kind)| format!("{count} {kind} host{}", if count == 1 { "" } else { "s" })).collect();
    if parts.is_empty() { "no hosts".to_owned() } else { parts.join(" and ") }
}

/// The tree of the bank's index.
const BANK_TREE: &str = "bank";

fn open_bank(
    folder: &StateFolder,
    database: &sled::Db,
    keys: &Keys,
    clock: &Arc<SiteClock>,
    output: &Output,
) -> Result<Arc<Bank>, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context("the books of the site's bank cannot be opened").help(format!(
            "nothing was changed. Restore {} from a backup; or move it aside, and a new site is made",
            folder.path().display()
        ))
    };
    let mut options = Options::new(folder.bank_journal());
    options.check = Check::Tail;
    options.hook = super::world::bank_hook();
    let store = Arc::new(SledStore::open(database, BANK_TREE).map_err(|error| failed(&error))?);
    let issuer = keys.of("issuer").public_key();
    let (bank, recovery) =
        Bank::open(options, store, keys.of("bank"), clock.clone(), issuer).map_err(|error| failed(&error))?;
    if let Some(cut) = &recovery.cut {
        output.message(&format!("note: the last record of the bank's journal was torn and was cut: {cut:?}"));
    }
    if let Some(reason) = &recovery.rebuilt
        && !recovery.founded
    {
        output.message(&format!("note: the index of the bank was made anew from its journal ({reason})"));
    }
    Ok(Arc::new(bank))
}

impl tycoon_executor::Site for EmbeddedSite {
    fn account(&self) -> AccountId {
        self.account
    }

    fn bank(&self) -> &dyn BankLink {
        &self.bank_link
    }

    fn hosts(&self) -> Result<Vec<SiteHost>, LinkError> {
        let found = self
            .sls
            .hosts(&HostQuery::default())
            .map_err(|problem| LinkError::Unreachable { reason: format!("{problem}: {}", problem.source) })?;
        let known = found.hosts.iter().filter(|seen| seen.is_live).filter_map(|seen| {
            let record = seen.record();
            let Standing::Open { link, .. } = &self.host(&record.host)?.standing else { return None };
            Some(SiteHost {
                id: record.host,
                name: record.name.clone(),
                owner: record.owner,
                key: record.key,
                is_simulated: record.is_simulated,
                architecture: record.architecture.clone(),
                labels: record.labels.clone(),
                link: link.clone(),
            })
        });
        let out_of_reach = self.hosts.iter().filter_map(|host| host.out_of_reach(self.owner));
        let mut hosts: Vec<SiteHost> = known.chain(out_of_reach).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(hosts)
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
