//! `tycoon host enforce`: has domains be as the market says, with the rights that this needs. It listens on a local
//! socket only, and does what is asked of it after looking once more whose it is.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Args;
use tycoon_xen::enforcer::Enforcer;
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::remote::Session;
use tycoon_xen::remote::socket::SocketServer;

use super::driver;
use super::drivers::{DATABASE_CACHE_BYTES, SimulatedArgs, open_memory};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;
use crate::service::ServiceArgs;
use crate::service::settings::Settings;
use crate::site::store;

/// Where it listens unless told otherwise.
const USUAL_SOCKET: &str = "/run/tycoon/enforce.sock";
/// The settings.
const SETTINGS: &[&str] = &["socket", "driver", "users", "store", "cpus", "memory", "disk", "images", "boot-time"];

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
    let (hypervisor, images) = match choice.unwrap_or(EnforcedDriver::Libvirt) {
        EnforcedDriver::Libvirt => {
            let machine = machine::load(Path::new(MACHINE_FILE))?;
            let driver = driver::open(&machine)?;
            (driver.hypervisor, Some(driver.images))
        }
        EnforcedDriver::Memory => (simulated(arguments, &settings)?, None),
    };
    let users = users(arguments, &settings)?;
    let mut session = Session::new(Arc::new(Enforcer::new(hypervisor)));
    if let Some(images) = images {
        session = session.with_images(images);
    }
    if let Some(folder) = socket.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::DirBuilder::new().mode(0o755).create(folder).map_err(|error| {
            failed(&error).context(&format!("the folder {} of the socket cannot be made", folder.display()))
        })?;
    }
    let server = SocketServer::listen(&socket, users, session)
        .map_err(|error| failed(&error).context(&format!("cannot listen on {}", socket.display())))?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|error| failed(&error))?;
    }
    tracing::info!(socket = %socket.display(), "the enforcer is ready");
    output.message(&format!("the enforcer is ready at {}", socket.display()));
    server.serve(&stop).map_err(|error| failed(&error))?;
    tracing::info!("the enforcer has ended");
    Ok(Exit::Ok)
}

fn simulated(arguments: &EnforceArgs, settings: &Settings) -> Result<Arc<dyn Hypervisor>, Failure> {
    let folder = arguments.store.clone().or_else(|| settings.text("store").map(PathBuf::from));
    let folder = folder.ok_or_else(|| {
        Failure::new(Exit::Usage, "where the simulated machine keeps its state is not said")
            .help("give a folder with --store FOLDER")
    })?;
    folders::make(&folder)?;
    let database = store::open_database_at(&folder.join("database"), &folder, DATABASE_CACHE_BYTES)?;
    open_memory(&database, &arguments.simulated.over(settings)?)
}

/// The numbers of the users who may ask.
fn users(arguments: &EnforceArgs, settings: &Settings) -> Result<Vec<u32>, Failure> {
    let names: Vec<String> = match (arguments.user.as_slice(), settings.text("users")) {
        ([], Some(text)) => text.split(',').map(|name| name.trim().to_owned()).collect(),
        ([], None) => vec!["tycoon".to_owned()],
        (given, _) => given.to_vec(),
    };
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number_of = |name: &String| {
        if let Ok(number) = name.parse::<u32>() {
            return Ok(number);
        }
        let of_line = |line: &str| {
            let mut fields = line.split(':');
            (fields.next() == Some(name.as_str())).then(|| fields.nth(1)?.parse::<u32>().ok()).flatten()
        };
        known.lines().find_map(of_line).ok_or_else(|| {
            Failure::new(Exit::Failed, format!("there is no user `{name}` on this machine"))
                .help("make one with `useradd --system tycoon`, or name another with --user")
        })
    };
    names.iter().map(number_of).collect()
}
