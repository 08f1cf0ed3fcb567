//! `tycoon host enforce`: has domains be as the market says, with the rights that this needs. It listens on a local
//! socket only, and does what is asked of it after looking once more whose it is.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use tycoon_xen::enforcer::{AccountGate, Enforcer};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::remote::Session;
use tycoon_xen::remote::binding::Binding;
use tycoon_xen::remote::image::{AccountImageStore, ImageReceiver};
use tycoon_xen::remote::socket::SocketServer;
use tycoon_xen::storage::AccountImages;

use super::drivers::{DATABASE_CACHE_BYTES, SimulatedArgs, open_memory};
use super::{driver, local_users};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;
use crate::service::ServiceArgs;
use crate::service::settings::Settings;
use crate::site::store;

/// Where it listens unless told otherwise.
pub const USUAL_SOCKET: &str = "/run/tycoon/enforce.sock";
/// The settings.
const SETTINGS: &[&str] =
    &["socket", "driver", "users", "store", "cpus", "memory", "disk", "images", "boot-time", "crash-after"];

/// What has the domains.
#[derive(Clone, Debug, PartialEq, Eq)]
enum EnforcedDriver {
    /// The hypervisor of this machine, by libvirt.
    Libvirt,
    /// A simulated machine.
    Memory,
}

impl FromStr for EnforcedDriver {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "libvirt" => Ok(Self::Libvirt),
            "memory" => Ok(Self::Memory),
            _ => Err("write libvirt, or memory for a simulated machine".to_owned()),
        }
    }
}

/// Arguments of `tycoon host enforce`.
#[derive(Args, Debug)]
pub struct EnforceArgs {
    /// Read settings from a file; what stands on the command line comes first
    #[arg(long, value_name = "FILE", env = "TYCOON_SERVICE_SETTINGS")]
    settings: Option<PathBuf>,
    /// The socket to listen on [/run/tycoon/enforce.sock]
    #[arg(long, value_name = "SOCKET", env = "TYCOON_ENFORCE_SOCKET")]
    socket: Option<PathBuf>,
    /// What has the domains: libvirt (this machine's), or memory (a simulated one) [default: libvirt]
    #[arg(long, value_name = "DRIVER")]
    driver: Option<EnforcedDriver>,
    /// Who may ask, besides root: names or numbers of users, separated by commas [default: tycoon]
    #[arg(long, value_name = "USERS", value_delimiter = ',')]
    user: Vec<String>,
    /// The folder of a simulated machine's state
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// What a simulated machine has.
    #[command(flatten)]
    simulated: SimulatedArgs,
}

/// Serves until it is asked to stop.
pub fn run(arguments: &EnforceArgs, output: &Output) -> Result<Exit, Failure> {
    let names: Vec<&str> = SETTINGS.iter().chain(&["log", "log-level"]).copied().collect();
    let settings = match &arguments.settings {
        Some(path) => Settings::read(path, &names)?,
        None => Settings::default(),
    };
    ServiceArgs::default().start_log(&settings)?;
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let socket = arguments.socket.clone().or_else(|| settings.text("socket").map(PathBuf::from));
    let socket = socket.unwrap_or_else(|| PathBuf::from(USUAL_SOCKET));
    let choice = arguments.driver.clone().map_or_else(|| settings.parsed("driver"), |driver| Ok(Some(driver)))?;
    let enforced = match choice.unwrap_or(EnforcedDriver::Libvirt) {
        EnforcedDriver::Libvirt => {
            let machine = machine::load(Path::new(MACHINE_FILE))?;
            let driver = driver::open(&machine)?;
            Enforced {
                hypervisor: driver.hypervisor,
                images: Some(driver.images),
                account_images: driver.account_images,
            }
        }
        EnforcedDriver::Memory => simulated(arguments, &settings)?,
    };
    let users = local_users::numbers(&arguments.user, settings.text("users"), "tycoon", "--user")?;
    let enforcer = Arc::new(Enforcer::new(enforced.hypervisor));
    let mut session = Session::new(enforcer.clone());
    if let Some(images) = enforced.images {
        session = session.with_images(images);
    }
    let account_images = enforced.account_images;
    let of_account = move |binding: Binding| {
        let gate = AccountGate::new(enforcer.clone(), binding.account);
        gate.session(Some(account_images.clone()), binding.upload_bytes)
    };
    if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::DirBuilder::new().mode(0o755).create(folder).map_err(|error| {
            failed(&error).context(&format!("the folder {} of the socket cannot be made", folder.display()))
        })?;
    }
    let server = SocketServer::listen(&socket, users, session)
        .map_err(|error| failed(&error).context(&format!("cannot listen on {}", socket.display())))?
        .with_accounts(of_account);
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|error| failed(&error))?;
    }
    tracing::info!(socket = %socket.display(), "the enforcer is ready");
    output.message(&format!("the enforcer is ready at {}", socket.display()));
    server.serve(&stop);
    tracing::info!("the enforcer has ended");
    Ok(Exit::Ok)
}

/// What the enforcer has, and lends.
struct Enforced {
    hypervisor: Arc<dyn Hypervisor>,
    /// Where images of the machine's owner go.
    images: Option<Arc<dyn ImageReceiver>>,
    /// Where those go that accounts bring.
    account_images: Arc<dyn AccountImageStore>,
}

fn simulated(arguments: &EnforceArgs, settings: &Settings) -> Result<Enforced, Failure> {
    let folder = arguments.store.clone().or_else(|| settings.text("store").map(PathBuf::from));
    let folder = folder.ok_or_else(|| {
        Failure::new(Exit::Usage, "where the simulated machine keeps its state is not said")
            .help("give a folder with --store FOLDER")
    })?;
    folders::make(&folder)?;
    let database = store::open_database_at(&folder.join("database"), &folder, DATABASE_CACHE_BYTES)?;
    let images = AccountImages::open(folder.join("account-images"));
    let images = images.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let host = Arc::new(open_memory(&database, &arguments.simulated.over(settings)?)?.with_account_images(images));
    Ok(Enforced { hypervisor: host.clone(), images: None, account_images: host })
}
