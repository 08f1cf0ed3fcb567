//! `tycoon sls serve`: a service location service for a site, on the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use clap::Args;
use tycoon_market::duration_text::parse_duration;
use tycoon_market::{PublicKey, TimeSpan, Timestamp};
use tycoon_rpc::{Published, Server, Signer, key_file};
use tycoon_sls::Policy;
use tycoon_sls::service::{self, SlsService};
use tycoon_sls::store::Store;
use tycoon_sls::verify::{Verifier, VerifySettings};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::output::Output;
use crate::service::{ReplayDefence, ServiceArgs, footprint};
use crate::site::world::Surroundings;

/// Where a service location service listens unless told otherwise.
pub const USUAL_PORT: u16 = 7402;
/// The settings beside those of every service.
const SETTINGS: &[&str] = &["store", "key", "expiry", "hosts-max", "verify", "site-key"];
/// How often it is looked who has expired, and what is not stored yet.
const MAINTENANCE_INTERVAL: Duration = Duration::from_millis(250);
/// Some so many hosts are stored each time: a part of a core at most, however many there are.
const STORED_EACH_TIME: usize = 1_000;

/// Arguments of `tycoon sls serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// What every service is told.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// The folder in which the service keeps its key and what it knows
    #[arg(long, value_name = "FOLDER", env = "TYCOON_SLS_STORE")]
    pub store: Option<PathBuf>,
    /// The service's own key; made at the first start. `sls_key` in the store's folder where none is given
    #[arg(long, value_name = "FILE", env = "TYCOON_SLS_KEY_FILE")]
    pub key: Option<PathBuf>,
    /// How long a host is listed after it registered last [default: 120s]
    #[arg(long, value_name = "TIME")]
    pub expiry: Option<String>,
    /// The most hosts that are kept [default: 20000]
    #[arg(long, value_name = "NUMBER")]
    pub hosts_max: Option<usize>,
    /// Whether hosts are called back at their addresses: yes or no [default: yes]
    #[arg(long, value_name = "YES|NO")]
    pub verify: Option<String>,
    /// A site whose roll of admitted hosts is kept; may be given several times
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub site_key: Vec<PublicKey>,
}

/// Serves until it is asked to stop.
pub fn run(arguments: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = arguments.service.settings(SETTINGS)?;
    arguments.service.start_log(&settings)?;
    footprint::let_go_of_loading();
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let Some(folder) = arguments.store.clone().or_else(|| settings.text("store").map(PathBuf::from)) else {
        return Err(Failure::new(Exit::Usage, "where the service keeps what it knows is not said")
            .help("give a folder with --store FOLDER"));
    };
    folders::make(&folder)?;
    let key = arguments.key.clone().or_else(|| settings.text("key").map(PathBuf::from));
    let key = key_file::load_or_create(&key.unwrap_or_else(|| folder.join("sls_key")), "tycoon sls");
    let signer: Arc<dyn Signer> = Arc::new(key.map_err(|error| {
        failed(&error).help("users have pinned this key: restore it from a backup, or have them pin a new one")
    })?);
    let policy = policy(arguments, &settings)?;
    let sites = sites(arguments, settings.text("site-key"))?;
    let server_settings = arguments.service.server(&settings, SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)))?;

    let database = sled::Config::new()
        .path(folder.join("registry"))
        .cache_capacity(32 << 20)
        .open()
        .and_then(|database| database.open_tree("hosts"))
        .map_err(|error| {
            failed(&error)
                .context(&format!("the registry in {} cannot be opened", folder.display()))
                .help("another process may have it open. If it is damaged, remove its folder `registry`: hosts register again within 30 s")
        })?;
    let clock = Surroundings::find()?.clock;
    let replay = ReplayDefence::of(&folder, database.is_empty())?;
    let (marks, mark) = (Arc::new(replay.marks), replay.mark);
    let sls = SlsService::open(signer.clone(), clock, replay.policy, policy, Some(Store::new(database)))
        .and_then(|sls| sls.with_receiver(|receiver| receiver.with_marks(marks, mark)).with_sites(sites))
        .map_err(|error| failed(&error))?;
    let sls = Arc::new(sls);
    let remembered = sls.numbers();
    let verifier = match policy.verifies {
        true => Some(Verifier::start(sls.clone(), VerifySettings::default()).map_err(|error| failed(&error))?),
        false => None,
    };
    let (stop_maintenance, stopped) = mpsc::channel::<()>();
    let maintained = sls.clone();
    let maintenance = thread::Builder::new()
        .name("tycoon-sls".to_owned())
        .spawn(move || {
            while stopped.recv_timeout(MAINTENANCE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = maintained.maintain(STORED_EACH_TIME) {
                    tracing::error!(%error, "what is known cannot be stored");
                }
            }
        })
        .map_err(|error| failed(&error))?;
    let scheme = if server_settings.tls.is_some() { "https" } else { "http" };
    let server = Server::start(server_settings, published(&sls)).map_err(|error| failed(&error))?;
    let signals = server.heed_signals().map_err(|error| failed(&error))?;
    let url = format!("{scheme}://{}", server.address());
    let (live, known) = (remembered.live, remembered.known);
    tracing::info!(%url, key = %signer.public_key(), live, known, "the service location service is open");
    output.message(&format!(
        "the service location service {} is open at {url}; point a client at it with\n  tycoon init --sls {url} --sls-key '{}'",
        signer.public_key().fingerprint(),
        signer.public_key()
    ));
    server.run_until(signals);
    drop(verifier);
    drop(stop_maintenance);
    // It fails only by a panic, of which its own message has told.
    let _ = maintenance.join();
    sls.flush().map_err(|error| failed(&error))?;
    tracing::info!("the service location service is closed");
    Ok(Exit::Ok)
}

fn policy(arguments: &ServeArgs, settings: &crate::service::settings::Settings) -> Result<Policy, Failure> {
    let usual = Policy::default();
    let expiry = match arguments.expiry.as_deref().or(settings.text("expiry")) {
        None => usual.expiry,
        Some(text) => {
            let span = parse_duration(text, Timestamp::from_seconds(0))
                .map_err(|error| Failure::new(Exit::Usage, format!("the expiry `{text}`: {error}")))?;
            if span < TimeSpan::from_seconds(1) || span > TimeSpan::from_seconds(86_400) {
                return Err(Failure::new(Exit::Usage, format!("the expiry `{text}` is not from 1 s to 1 day")));
            }
            span
        }
    };
    let hosts_max = arguments.hosts_max.map_or_else(|| settings.parsed("hosts-max"), |most| Ok(Some(most)))?;
    let verifies = match arguments.verify.as_deref().or(settings.text("verify")) {
        None | Some("yes" | "true") => true,
        Some("no" | "false") => false,
        Some(other) => {
            return Err(Failure::new(Exit::Usage, format!("the setting `verify` is `{other}`")).help("write yes or no"));
        }
    };
    Ok(Policy { expiry, hosts_max: hosts_max.unwrap_or(usual.hosts_max), verifies, ..usual })
}

fn sites(arguments: &ServeArgs, of_file: Option<&str>) -> Result<Vec<PublicKey>, Failure> {
    if !arguments.site_key.is_empty() {
        return Ok(arguments.site_key.clone());
    }
    let keys = of_file.unwrap_or_default().split(',').map(str::trim).filter(|key| !key.is_empty());
    keys.map(|key| key.parse().map_err(|error| Failure::new(Exit::Usage, format!("the setting `site-key`: {error}"))))
        .collect()
}

/// What the server publishes.
fn published(sls: &Arc<SlsService>) -> Published {
    let (health, gauges) = (sls.clone(), sls.clone());
    Published::new(sls.clone())
        .with_openapi(&service::openapi())
        .with_health(move || health.check().map_err(|error| error.to_string()))
        .with_gauges(move |text| {
            let numbers = gauges.numbers();
            let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            text.gauge("tycoon_sls_hosts_live", "Hosts that are listed.", gauge(numbers.live));
            text.gauge(
                "tycoon_sls_hosts_verified",
                "Listed hosts that answered at their address.",
                gauge(numbers.verified),
            );
            text.gauge("tycoon_sls_hosts_known", "Hosts that are listed or remembered.", gauge(numbers.known));
            text.gauge("tycoon_sls_watchers", "Open streams of events.", gauge(numbers.watchers));
            text.counter("tycoon_sls_registrations_total", "Registrations accepted.", numbers.registrations);
            text.counter("tycoon_sls_registrations_refused_total", "Registrations refused.", numbers.refusals);
            text.counter("tycoon_sls_callbacks_total", "Times that hosts were called back.", numbers.callbacks);
            text.counter("tycoon_sls_queries_total", "Listings answered.", numbers.queries);
        })
}
