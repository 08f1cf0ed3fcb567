//! `tycoon host hand-over`: gives a disk that is on this machine already to a domain that is to come.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::json;
use tycoon_market::resource::show_bytes;
use tycoon_market::{AccountId, TimeSpan};
use tycoon_rpc::{Clock as _, SystemClock};
use tycoon_xen::spec::{Ownership, SpecDigest};
use tycoon_xen::spec_check::is_device_name;
use tycoon_xen::storage::{Handed, HandedTo, MachineStorage};

use crate::domains::DomainName;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;
use crate::time::{local, span};

/// Arguments of `tycoon host hand-over`.
#[derive(Args, Debug)]
pub struct HandOverArgs {
    /// Whose domain it is: the account that `tycoon user show` tells her
    #[arg(long = "to", value_name = "ACCOUNT")]
    to: AccountId,
    /// The domain that gets the disks, such as `hello/web.0`; it must not be there yet
    #[arg(value_name = "POOL/DOMAIN")]
    domain: DomainName,
    /// A name inside the domain, and the device of a logical volume or a raw file: `data=/dev/vg1/results`
    #[arg(value_name = "NAME=DISK", required = true)]
    volumes: Vec<HandedVolume>,
    /// For a disk named `root`: the image that the description will name, of which this is an instance
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// How long the domain has to come; then the disks are deleted
    #[arg(long = "for", value_name = "TIME", value_parser = span, default_value = "7d")]
    longest: TimeSpan,
}

#[derive(Clone, Debug)]
struct HandedVolume(Handed);

impl FromStr for HandedVolume {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a name inside the domain and a path, for example data=/dev/vg1/results".to_owned();
        let (name, source) = text.split_once('=').ok_or_else(wrong)?;
        let source = PathBuf::from(source);
        if !is_device_name(name) || !source.is_absolute() {
            return Err(wrong());
        }
        Ok(Self(Handed { name: name.to_owned(), source }))
    }
}

/// Hands disks over.
pub fn run(arguments: &HandOverArgs, output: &Output) -> Result<Exit, Failure> {
    let Some(path) = &arguments.domain.path else {
        return Err(Failure::new(Exit::Usage, "which domain of the pool gets the disks is not said")
            .help(format!("write it behind a slash, for example {}/web.0", arguments.domain.pool)));
    };
    let volumes: Vec<Handed> = arguments.volumes.iter().map(|volume| volume.0.clone()).collect();
    if arguments.image.is_none() && volumes.iter().any(|volume| volume.name == "root") {
        return Err(Failure::new(Exit::Usage, "which image the disk `root` is of is not said").help(
            "give the name that the description will have behind `image`, with --image; with another name the domain \
             would be made anew",
        ));
    }
    let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
    let storage = MachineStorage::open(machine::load(Path::new(MACHINE_FILE))?).map_err(|error| failed(&error))?;
    let to = HandedTo {
        owner: Ownership {
            account: arguments.to,
            pool: arguments.domain.pool.clone(),
            path: path.clone(),
            generation: 0,
            digest: SpecDigest::NONE,
        },
        image: arguments.image.clone().unwrap_or_default(),
        until: SystemClock.now().plus(arguments.longest),
    };
    let kept = storage.hand_over(&to, &volumes).map_err(|error| failed(&error))?;
    if output.json {
        output.print_json(&json!({ "domain": to.owner.hypervisor_name(), "volumes": kept, "kept_until": to.until }));
        return Ok(Exit::Ok);
    }
    for volume in kept.iter().filter(|kept| volumes.iter().any(|volume| volume.name == kept.name)) {
        let size = show_bytes(volume.size_bytes);
        output.message(&format!("{} ({size}) is a disk of {}/{path} now", volume.name, arguments.domain.pool));
    }
    let example: Vec<String> = volumes.iter().map(|volume| format!("volume {} existing=#true", volume.name)).collect();
    output.print(&format!(
        "{}/{path} of the account {} can take up until {}, on this host:\n  {}\n",
        arguments.domain.pool,
        arguments.to,
        local(to.until),
        example.join("\n  ")
    ));
    Ok(Exit::Ok)
}
