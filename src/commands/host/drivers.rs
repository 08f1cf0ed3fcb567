//! What runs the domains of a served host: a simulated machine, the local enforcer, or libvirt itself.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use tycoon_market::duration_text::parse_duration;
use tycoon_market::{HostName, TimeSpan, Timestamp};
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, PrivateNetwork};
use tycoon_xen::remote::RemoteHypervisor;
use tycoon_xen::remote::socket::SocketConnector;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::service::settings::Settings;

/// What of a host's database is kept in memory, counted as it is on disk; in memory it takes three times that. The market
/// is there anyway; the database is read at the start only.
pub const DATABASE_CACHE_BYTES: u64 = 1 << 20;
/// The memory of a simulated control domain, in bytes.
const CONTROL_MEMORY_BYTES: u64 = 1 << 30;

/// What runs the domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriverChoice {
    /// A simulated machine.
    Memory,
    /// `tycoon host enforce`, at a socket.
    Enforce(PathBuf),
}

impl FromStr for DriverChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("enforce", path)) if !path.is_empty() => Ok(Self::Enforce(path.into())),
            _ => Err("write memory, or enforce:/run/tycoon/enforce.sock".to_owned()),
        }
    }
}

/// What a simulated host has.
#[derive(Args, Debug, Clone, Default)]
pub struct SimulatedArgs {
    /// CPUs of a simulated host [default: 4]
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<u32>,
    /// Memory of a simulated host [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Disk of a simulated host [default: 100GiB]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<String>,
    /// Images of a simulated host, separated by commas [default: std:tiny,debian-12]
    #[arg(long, value_name = "NAMES")]
    pub images: Option<String>,
    /// How long a domain of a simulated host takes to start [default: 0s]
    #[arg(long, value_name = "TIME")]
    pub boot_time: Option<String>,
    /// Domains of a simulated host crash so long after their start, to try restarts [default: never]
    #[arg(long, value_name = "TIME")]
    pub crash_after: Option<String>,
}

impl SimulatedArgs {
    /// What stands here, then what the settings file says, then the usual.
    pub fn over(&self, settings: &Settings) -> Result<MemoryHostConfig, Failure> {
        let text = |given: &Option<String>, name: &str, usual: &str| {
            given.clone().unwrap_or_else(|| settings.text(name).unwrap_or(usual).to_owned())
        };
        let size = |given, name: &str, usual: &str| {
            let text = text(given, name, usual);
            bytes(&text).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("`{name}` is `{text}`, which is no size"))
                    .help("write a size with its unit, such as 8GiB")
            })
        };
        let cpus = self.cpus.map_or_else(|| settings.parsed("cpus"), |cpus| Ok(Some(cpus)))?.unwrap_or(4);
        if !(1..=4_096).contains(&cpus) {
            return Err(Failure::new(Exit::Usage, format!("`cpus` is {cpus}")).help("write a number from 1 to 4096"));
        }
        let boot_time = text(&self.boot_time, "boot-time", "0s");
        let time = |text: &str, name: &str| {
            parse_duration(text, Timestamp::default()).map_err(|error| {
                Failure::new(Exit::Usage, format!("`{name}`: {error}")).help("write a time such as 5s")
            })
        };
        let boot_time = time(&boot_time, "boot-time")?;
        let crash_after = self.crash_after.as_deref().or_else(|| settings.text("crash-after"));
        let crash_after = crash_after.map(|text| time(text, "crash-after")).transpose()?;
        let images = text(&self.images, "images", "std:tiny,debian-12");
        Ok(MemoryHostConfig {
            cpus,
            memory_bytes: size(&self.memory, "memory", "8GiB")?.saturating_add(CONTROL_MEMORY_BYTES),
            control_memory_bytes: CONTROL_MEMORY_BYTES,
            disk_bytes: size(&self.disk, "disk", "100GiB")?,
            boot_time: boot_time.min(TimeSpan::from_seconds(3_600)),
            crash_after,
            images: images.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            network: PrivateNetwork::numbered(1),
            ..MemoryHostConfig::default()
        })
    }
}

fn bytes(text: &str) -> Option<u64> {
    tycoon_lang::bytes_of(text)
}

impl DriverChoice {
    /// The hypervisor.
    pub fn open(
        &self,
        name: &HostName,
        database: &sled::Db,
        simulated: &MemoryHostConfig,
    ) -> Result<Arc<dyn Hypervisor>, Failure> {
        match self {
            Self::Memory => Ok(Arc::new(open_memory(database, simulated)?)),
            Self::Enforce(path) => {
                let connector = SocketConnector::new(name.as_str(), path.clone());
                Ok(Arc::new(RemoteHypervisor::over(Arc::new(connector))))
            }
        }
    }
}

/// The simulated machine that is kept in a database.
pub fn open_memory(database: &sled::Db, config: &MemoryHostConfig) -> Result<MemoryHost, Failure> {
    let tree = database.open_tree("machine").map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let opened = MemoryHost::open(tree, config.clone());
    opened.map_err(|error| Failure::from_error(Exit::Failed, &error).context("the simulated machine cannot be opened"))
}
