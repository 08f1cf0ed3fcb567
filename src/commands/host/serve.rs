//! `tycoon host serve`: the market of a host, on the network.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tycoon_bank::BankClient;
use tycoon_market::auctioneer::HostConfig;
use tycoon_market::{AccountId, HostName, PublicKey, Quantity, ResourceKind, TimeSpan};
use tycoon_rpc::server::OwnKey;
use tycoon_rpc::{Caller, Clock, HttpSettings, HttpTransport, Published, Server, Signer, key_file};
use tycoon_sls::announce::{self, AnnouncePolicy, Announcing};
use tycoon_sls::client::{NamedCaller, SlsClient};
use tycoon_xen::daemon::{HostDaemon, HostIdentity, HostParts, SshPlace, openapi};
use tycoon_xen::entry::EntryServer;
use tycoon_xen::hypervisor::Hypervisor;

use super::bank_watch::BankWatch;
use super::drivers::{DATABASE_CACHE_BYTES, DriverChoice, SimulatedArgs};
use super::heart::Heart;
use super::local_users;
use super::metrics;
use super::policy_file::PolicyFile;
use super::steady_clock::SteadyClock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::output::Output;
use crate::service::settings::Settings;
use crate::service::{self, ReplayDefence, ServiceArgs, footprint};
use crate::site::store;

/// Where a host listens unless told otherwise.
pub const USUAL_PORT: u16 = 7403;
/// The longest downtime that is charged (design, section 6).
const DOWNTIME_CHARGED_MAX: TimeSpan = TimeSpan::from_seconds(120);
/// The longest that a call to the bank takes: much less than the time within which the host itself has to answer those
/// who wait for it.
const BANK_TIME_MAX: Duration = Duration::from_secs(10);
/// The settings of a host beside those of every service.
const SETTINGS: &[&str] = &[
    "store",
    "key",
    "name",
    "driver",
    "owner",
    "owner-account",
    "bank",
    "bank-key",
    "trusted-certificates",
    "sls",
    "sls-key",
    "address",
    "labels",
    "policy",
    "ssh",
    "ssh-key",
    "keys-socket",
    "keys-users",
    "cpus",
    "memory",
    "disk",
    "images",
    "boot-time",
    "crash-after",
];

/// The settings of a host in the file `path`.
pub fn settings_in(path: &Path) -> Result<Settings, Failure> {
    Settings::read(path, &names())
}

/// The settings of a host in the text of a file that is called `file`.
pub fn settings_of(text: &str, file: &str) -> Result<Settings, Failure> {
    Settings::of_text(text, &names(), file)
}

fn names() -> Vec<&'static str> {
    service::COMMON.iter().chain(SETTINGS).copied().collect()
}

/// Arguments of `tycoon host serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// What every service is told.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// The folder of the host's state
    #[arg(long, value_name = "FOLDER", env = "TYCOON_HOST_STORE")]
    pub store: Option<PathBuf>,
    /// The host's own key; made at the first start [host_key in the store]
    #[arg(long, value_name = "FILE", env = "TYCOON_HOST_KEY_FILE")]
    pub key: Option<PathBuf>,
    /// The name by which the host is known
    #[arg(long, value_name = "NAME", env = "TYCOON_HOST_NAME")]
    pub name: Option<HostName>,
    /// What runs the domains: memory (a simulated host), or enforce:SOCKET (`tycoon host enforce`)
    #[arg(long, value_name = "DRIVER", env = "TYCOON_HOST_DRIVER")]
    pub driver: Option<DriverChoice>,
    /// The owner's keys (OpenSSH public keys, separated by commas): the account of the first one earns
    #[arg(long, value_name = "KEYS", env = "TYCOON_HOST_OWNER", value_delimiter = ',')]
    pub owner: Vec<PublicKey>,
    /// The account that earns, where that is not the one of the owner's first key
    #[arg(long, value_name = "ACCOUNT", env = "TYCOON_HOST_OWNER_ACCOUNT")]
    pub owner_account: Option<AccountId>,
    /// The address of the bank
    #[arg(long, value_name = "URL", env = "TYCOON_BANK")]
    pub bank: Option<String>,
    /// The key that the bank must have
    #[arg(long, value_name = "KEY", env = "TYCOON_BANK_KEY")]
    pub bank_key: Option<PublicKey>,
    /// Trust these TLS certificates (PEM) instead of those that the operating system trusts
    #[arg(long, value_name = "FILE", env = "TYCOON_TRUSTED_CERTIFICATES")]
    pub trusted_certificates: Option<PathBuf>,
    /// The addresses of the service location services to register with, separated by commas
    #[arg(long, value_name = "URLS", env = "TYCOON_SLS", value_delimiter = ',')]
    pub sls: Vec<String>,
    /// The keys that they must have, in the same order
    #[arg(long, value_name = "KEYS", env = "TYCOON_SLS_KEY", value_delimiter = ',')]
    pub sls_key: Vec<PublicKey>,
    /// The addresses at which clients reach this host, separated by commas [where it listens]
    #[arg(long, value_name = "URLS", env = "TYCOON_HOST_ADDRESS", value_delimiter = ',')]
    pub address: Vec<String>,
    /// What the owner says of the host, by which pools choose it: rack=a,disk=ssd
    #[arg(long, value_name = "NAME=VALUE", env = "TYCOON_HOST_LABELS", value_delimiter = ',')]
    pub label: Vec<String>,
    /// A file with prices and rules, which is read again when it changes
    #[arg(long, value_name = "FILE", env = "TYCOON_HOST_POLICY")]
    pub policy: Option<PathBuf>,
    /// Where users reach this machine over SSH, for consoles and images: tycoon@host1.example.org:22
    #[arg(long, value_name = "PLACE", env = "TYCOON_HOST_SSH")]
    pub ssh: Option<String>,
    /// The ed25519 key that it shows there, as in /etc/ssh/ssh_host_ed25519_key.pub
    #[arg(long, value_name = "KEY", env = "TYCOON_HOST_SSH_KEY")]
    pub ssh_key: Option<PublicKey>,
    /// The socket at which sshd hears whose a key is: /run/tycoon-host/keys.sock
    #[arg(long, value_name = "SOCKET", env = "TYCOON_HOST_KEYS_SOCKET")]
    pub keys_socket: Option<PathBuf>,
    /// Who may ask there, besides root: names or numbers of users, separated by commas [default: tycoon-keys]
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    pub keys_user: Vec<String>,
    /// What a simulated host has.
    #[command(flatten)]
    pub simulated: SimulatedArgs,
}

/// Everything that must be known before the host can be opened.
struct Plan {
    store: PathBuf,
    name: HostName,
    driver: DriverChoice,
    owner: AccountId,
    owner_keys: Vec<PublicKey>,
    bank: (String, PublicKey),
    services: Vec<(String, PublicKey)>,
    http: HttpSettings,
    labels: BTreeMap<String, String>,
    policy: PolicyFile,
    ssh: Option<SshPlace>,
    /// The socket of sshd's questions, and who may ask.
    keys: Option<(PathBuf, Vec<u32>)>,
}

impl ServeArgs {
    fn plan(&self, settings: &Settings) -> Result<Plan, Failure> {
        let missing = |what: &str, help: &str| Failure::new(Exit::Usage, format!("{what} is not said")).help(help);
        let file =
            |given: &Option<PathBuf>, name: &str| given.clone().or_else(|| settings.text(name).map(PathBuf::from));
        let list = |name: &str| -> Vec<String> {
            let text = settings.text(name).unwrap_or_default();
            text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        };
        let keys = |given: &[PublicKey], name: &str| -> Result<Vec<PublicKey>, Failure> {
            if !given.is_empty() {
                return Ok(given.to_vec());
            }
            let read = |text: &String| {
                text.parse().map_err(|error| {
                    Failure::new(Exit::Usage, format!("the setting `{name}` has `{text}`: {error}"))
                        .help("write public keys as OpenSSH does: ssh-ed25519 AAAA…")
                })
            };
            list(name).iter().map(read).collect()
        };
        let store = file(&self.store, "store")
            .ok_or_else(|| missing("where the host keeps its state", "give a folder with --store FOLDER"))?;
        let name = self.name.clone().map_or_else(|| settings.parsed("name"), |name| Ok(Some(name)))?;
        let name = name.ok_or_else(|| missing("the name of the host", "give it with --name host1"))?;
        let driver = self.driver.clone().map_or_else(|| settings.parsed("driver"), |driver| Ok(Some(driver)))?;
        let driver = driver.ok_or_else(|| {
            missing(
                "what runs the domains",
                "give it with --driver enforce:/run/tycoon/enforce.sock, or --driver memory for a simulated host",
            )
        })?;
        let owner_keys = keys(&self.owner, "owner")?;
        let owner = self.owner_account.map_or_else(|| settings.parsed("owner-account"), |id| Ok(Some(id)))?;
        let owner = owner.or_else(|| owner_keys.first().map(AccountId::of)).ok_or_else(|| {
            missing("who owns the host", "give the owner's key with --owner \"$(tycoon user export)\"")
        })?;
        let url = self.bank.clone().or_else(|| settings.text("bank").map(str::to_owned));
        let key = self.bank_key.map_or_else(|| settings.parsed("bank-key"), |key| Ok(Some(key)))?;
        let bank = match (url, key) {
            (Some(url), Some(key)) => (url, key),
            _ => {
                return Err(missing(
                    "which bank pays the host",
                    "give its address and its key with --bank URL --bank-key KEY, as `tycoon bank serve` prints them",
                ));
            }
        };
        let urls = if self.sls.is_empty() { list("sls") } else { self.sls.clone() };
        let sls_keys = keys(&self.sls_key, "sls-key")?;
        if urls.len() != sls_keys.len() {
            let (urls, keys) = (urls.len(), sls_keys.len());
            let message = format!("there are {urls} service location services and {keys} keys of them");
            return Err(Failure::new(Exit::Usage, message)
                .help("give as many --sls-key as --sls, in the same order; `tycoon sls serve` prints both"));
        }
        let labels = if self.label.is_empty() { list("labels") } else { self.label.clone() };
        let label = |text: &String| match text.split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
            _ => Err(Failure::new(Exit::Usage, format!("the label `{text}` is none")).help("write NAME=VALUE: rack=a")),
        };
        let trusted = file(&self.trusted_certificates, "trusted-certificates");
        let ssh = self.ssh.clone().or_else(|| settings.text("ssh").map(str::to_owned));
        let host_key = self.ssh_key.map_or_else(|| settings.parsed("ssh-key"), |key| Ok(Some(key)))?;
        let keys = match file(&self.keys_socket, "keys-socket") {
            Some(socket) => {
                let named = settings.text("keys-users");
                Some((socket, local_users::numbers(&self.keys_user, named, "tycoon-keys", "--keys-user")?))
            }
            None => None,
        };
        Ok(Plan {
            store,
            name,
            driver,
            owner,
            owner_keys,
            bank,
            services: urls.into_iter().zip(sls_keys).collect(),
            http: HttpSettings { trusted, ..HttpSettings::default() },
            labels: labels.iter().map(label).collect::<Result<_, _>>()?,
            policy: PolicyFile::at(file(&self.policy, "policy")),
            ssh: ssh.map(|address| SshPlace { address, host_key }),
            keys,
        })
    }
}

/// Serves until it is asked to stop.
pub fn run(arguments: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = arguments.service.settings(SETTINGS)?;
    arguments.service.start_log(&settings)?;
    footprint::let_go_of_loading();
    let mut plan = arguments.plan(&settings)?;
    folders::make(&plan.store)?;
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let _lock = tycoon_executor::lock::Lock::take(
        &plan.store.join("lock"),
        &format!("the state of host {}", plan.name),
        "tycoon host serve",
        Duration::ZERO,
    )
    .map_err(|error| Failure::from_lock(&error))?;
    let key = arguments.key.clone().or_else(|| settings.text("key").map(PathBuf::from));
    let signer: Arc<dyn Signer> = host_key(&key.unwrap_or_else(|| plan.store.join("host_key")))?;
    let database = store::open_database_at(&plan.store.join("database"), &plan.store, DATABASE_CACHE_BYTES)?;
    let simulated = arguments.simulated.over(&settings)?;
    let hypervisor = plan.driver.open(&plan.name, &database, &simulated)?;
    let clock = Arc::new(SteadyClock::start());
    let config = plan.policy.config(&*hypervisor)?;
    let daemon = Arc::new(open(&plan, &signer, &database, hypervisor.clone(), clock.clone(), config)?);
    // Before anybody is answered: what happened meanwhile is accounted for.
    if let Err(error) = daemon.resume(Some(DOWNTIME_CHARGED_MAX)) {
        tracing::warn!(error = %one_line(&error), "the time that the host was down is accounted for later");
    }
    let mut server_settings =
        arguments.service.server(&settings, SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)))?;
    if !server_settings.listen.ip().is_loopback() && !server_settings.behind_proxy {
        // Clients know the host's key.
        server_settings.own_key = Some(OwnKey(signer.clone()));
    }
    let scheme = if server_settings.speaks_tls() { "https" } else { "http" };
    let watch =
        Arc::new(BankWatch::start(bank_client(&plan, &signer, &clock)?, &plan.bank.0).map_err(|error| failed(&error))?);
    let server = Server::start(server_settings, published(&daemon, &watch)).map_err(|error| failed(&error))?;
    let signals = server.heed_signals().map_err(|error| failed(&error))?;
    let url = format!("{scheme}://{}", server.address());
    let addresses = addresses(arguments, &settings, &url);
    let announcing = announce_to(&plan, &daemon, &signer, &clock, addresses)?;
    let entry = match &plan.keys {
        Some((socket, users)) => Some(EntryServer::start(socket, users.clone(), daemon.clone()).map_err(|error| {
            failed(&error).context(&format!("sshd's questions cannot be heard at {}", socket.display()))
        })?),
        None => None,
    };
    let site_line = site_line(&plan, &url, &daemon.key());
    let heart = Heart::start(daemon.clone(), hypervisor, plan.policy, clock, announcing.clone())
        .map_err(|error| failed(&error))?;
    let key = daemon.key();
    tracing::info!(%url, %key, fingerprint = key.fingerprint(), name = %plan.name, "the host is open");
    output.message(&format!(
        "the host {} ({}) is open at {url}; name it in a site with\n  {site_line}",
        plan.name,
        key.fingerprint(),
    ));
    server.run_until(signals);
    drop(entry);
    heart.stop();
    if let Some(announcing) = announcing.and_then(Arc::into_inner) {
        announcing.stop();
    }
    database.flush().map_err(|error| failed(&error))?;
    tracing::info!("the host is closed");
    Ok(Exit::Ok)
}

/// What a site says of the host.
fn site_line(plan: &Plan, url: &str, key: &PublicKey) -> String {
    let mut line = format!("network-host {} {{ url \"{url}\"; key \"{key}\";", plan.name);
    if let Some(SshPlace { address, host_key }) = &plan.ssh {
        line.push_str(&format!(" ssh \"{address}\";"));
        if let Some(key) = host_key {
            line.push_str(&format!(" ssh-key \"{key}\";"));
        }
    }
    line + " }"
}

/// A client of the bank that pays the host.
fn bank_client(
    plan: &Plan,
    signer: &Arc<dyn Signer>,
    clock: &Arc<impl Clock + 'static>,
) -> Result<BankClient, Failure> {
    let (url, key) = &plan.bank;
    let http = HttpSettings { call_timeout: BANK_TIME_MAX, ..plan.http.clone() };
    let transport = HttpTransport::new(url, &http).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
    Ok(BankClient::new(Caller::new(signer.clone(), *key, Arc::new(transport)).with_clock(clock.clone())))
}

fn open(
    plan: &Plan,
    signer: &Arc<dyn Signer>,
    database: &sled::Db,
    hypervisor: Arc<dyn Hypervisor>,
    clock: Arc<SteadyClock>,
    config: HostConfig,
) -> Result<HostDaemon, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let tree = database.open_tree("daemon").map_err(|error| failed(&error))?;
    let log = database.open_tree("log").map_err(|error| failed(&error))?;
    let replay = ReplayDefence::of(&plan.store, tree.is_empty())?;
    let daemon = HostDaemon::open(HostParts {
        identity: HostIdentity {
            name: plan.name.clone(),
            signer: signer.clone(),
            owner: plan.owner,
            bank: plan.bank.1,
        },
        tree,
        log,
        config,
        hypervisor,
        bank: bank_client(plan, signer, &clock)?,
        clock,
        replay: replay.policy,
    });
    let daemon = daemon.map_err(|error| failed(&error))?;
    Ok(daemon
        .with_receiver(|receiver| receiver.with_marks(Arc::new(replay.marks), replay.mark))
        .with_owner_keys(plan.owner_keys.clone())
        .with_labels(plan.labels.clone())
        .with_ssh(plan.ssh.clone())
        .with_save_hook(crate::site::world::host_hook()))
}

/// Where clients reach the host.
fn addresses(arguments: &ServeArgs, settings: &Settings, url: &str) -> Vec<String> {
    if !arguments.address.is_empty() {
        return arguments.address.clone();
    }
    match settings.text("address") {
        Some(text) => text.split(',').map(|url| url.trim().to_owned()).collect(),
        None => vec![url.to_owned()],
    }
}

fn announce_to(
    plan: &Plan,
    daemon: &Arc<HostDaemon>,
    signer: &Arc<dyn Signer>,
    clock: &Arc<SteadyClock>,
    addresses: Vec<String>,
) -> Result<Option<Arc<Announcing>>, Failure> {
    if plan.services.is_empty() {
        return Ok(None);
    }
    let mut services = Vec::with_capacity(plan.services.len());
    for (url, key) in &plan.services {
        let transport =
            HttpTransport::new(url, &plan.http).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
        let caller = Caller::new(signer.clone(), *key, Arc::new(transport)).with_clock(clock.clone());
        services.push(NamedCaller { name: url.clone(), caller });
    }
    let (told, labels) = (daemon.clone(), plan.labels.clone());
    let record = move || {
        let record = told.record(labels.clone(), addresses.clone()).map_err(|error| one_line(&error))?;
        told.sign(&record).map_err(|error| one_line(&error))
    };
    let client = SlsClient::new(services);
    let started = Announcing::start(client, AnnouncePolicy::default(), daemon.id(), record, announce::log);
    started.map(|announcing| Some(Arc::new(announcing))).map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// What the host's server publishes.
fn published(daemon: &Arc<HostDaemon>, bank: &Arc<BankWatch>) -> Published {
    let (health, figures) = (daemon.clone(), daemon.clone());
    let (paid, reached) = (bank.clone(), bank.clone());
    Published::new(daemon.clone())
        .with_openapi(&openapi())
        .with_health(move || {
            health.check_health().map_err(|error| one_line(&error))?;
            // A host that cannot reach its bank earns nothing.
            paid.problem().map_or(Ok(()), Err)
        })
        .with_gauges(move |text| metrics::write(&figures.figures(), reached.problem().is_none(), text))
}

/// The host's key, made where there is none.
fn host_key(path: &std::path::Path) -> Result<Arc<dyn Signer>, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    if path.exists() {
        return Ok(Arc::new(key_file::load(path).map_err(|error| failed(&error))?));
    }
    let key = tycoon_rpc::SecretKey::generate().map_err(|error| failed(&error))?;
    key_file::create(path, &key, "tycoon host").map_err(|error| failed(&error))?;
    Ok(Arc::new(key))
}

/// What there is to sell, by a hypervisor.
pub fn capacity_of(hypervisor: &dyn Hypervisor) -> Result<BTreeMap<ResourceKind, Quantity>, Failure> {
    let facts = hypervisor.facts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(facts.capacity.into_iter().collect())
}

/// An error with its causes, on one line.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
