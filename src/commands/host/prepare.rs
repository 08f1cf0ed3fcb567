//! `tycoon host prepare`: makes the machine it runs on a host. It can be run again; what is there stays.

use std::fmt::Write as _;
use std::path::Path;

use clap::Args;
use tycoon_xen::survey::{self, Survey};
use tycoon_xen::tiny::build_tiny as build_tiny_image;

use super::addresses::AddressSpan;
use super::check;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;

/// Where the parts of `std:tiny` are made.
const TINY_FOLDER: &str = "/var/lib/tycoon/std-tiny";
/// Where volumes are kept as files.
const VOLUMES_FOLDER: &str = "/var/lib/tycoon/volumes";
/// The boot loader that Debian's grub-xen-host brings for paravirtualised guests.
const BOOT_LOADER: &str = "/usr/lib/grub-xen/grub-x86_64-xen.bin";

/// What Xen needs for itself and for each domain, besides the memory of the control domain and of the domains.
const RESERVED_MEMORY: &str = "\"32MiB\"";

/// Arguments of `tycoon host prepare`.
#[derive(Args, Debug, Clone, Default)]
pub struct PrepareArgs {
    /// The volume group or folder for volumes; by default every volume group, and /var/lib/tycoon/volumes
    #[arg(long, value_name = "GROUP|FOLDER")]
    pub store: Vec<String>,
    /// The bridge for interfaces; by default the only one there is
    #[arg(long, value_name = "DEVICE")]
    pub bridge: Option<String>,
    /// Addresses for interfaces; without them the network's DHCP server gives them
    #[arg(long, value_name = "FIRST-LAST/PREFIX")]
    pub addresses: Option<AddressSpan>,
    /// The gateway for these addresses
    #[arg(long, value_name = "ADDRESS", requires = "addresses")]
    pub gateway: Option<std::net::Ipv4Addr>,
    /// A name server for these addresses
    #[arg(long, value_name = "ADDRESS", requires = "addresses")]
    pub name_server: Vec<std::net::Ipv4Addr>,
    /// Install no Debian packages
    #[arg(long)]
    pub no_packages: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Prepares this machine.
pub fn run(arguments: &PrepareArgs, output: &Output) -> Result<Exit, Failure> {
    let mut survey = Survey::take();
    if !survey.missing_packages.is_empty() && !arguments.no_packages {
        let packages = survey.missing_packages.join(" ");
        if arguments.dry_run {
            output.print(&format!("would install {packages}\n"));
        } else {
            output.message(&format!("installing {packages}"));
            survey::install_packages(&survey.missing_packages).map_err(|error| {
                Failure::from_error(Exit::Failed, &error)
                    .help(format!("install them yourself: apt-get install {packages}"))
            })?;
            survey = Survey::take();
        }
    }
    refuse_problems(&survey, arguments)?;
    let path = Path::new(MACHINE_FILE);
    if path.exists() {
        output.message(&format!("{MACHINE_FILE} is there and stays as it is"));
    } else {
        let text = describe(&survey, arguments)?;
        if arguments.dry_run {
            output.print(&format!("would write {MACHINE_FILE}:\n{text}"));
        } else {
            files::write(path, text.as_bytes(), 0o644)?;
            output.message(&format!("wrote {MACHINE_FILE}"));
        }
    }
    if arguments.dry_run {
        return Ok(Exit::Ok);
    }
    let machine = machine::load(path)?;
    if machine.images.iter().any(|image| image.disk.starts_with(TINY_FOLDER)) {
        build_tiny(output)?;
    }
    let checked = check::run(output);
    // What was installed and written survives a power cut from here on.
    rustix::fs::sync();
    checked
}

/// What cannot be mended here ends the preparation before anything is changed.
fn refuse_problems(survey: &Survey, arguments: &PrepareArgs) -> Result<(), Failure> {
    let is_mended = |what: &str| arguments.dry_run && what.contains("missing");
    let problems = survey.problems.iter().filter(|problem| !is_mended(&problem.what));
    let told: Vec<String> = problems.map(|problem| format!("{}\n    {}", problem.what, problem.remedy)).collect();
    if told.is_empty() {
        return Ok(());
    }
    let message = format!("this machine cannot become a host yet:\n  {}", told.join("\n  "));
    Err(Failure::new(Exit::Failed, message).help("mend this and run the command again; nothing was changed"))
}

/// The text of a new machine.kdl.
fn describe(survey: &Survey, arguments: &PrepareArgs) -> Result<String, Failure> {
    let mut text = String::from(
        "// What this machine exports to pools. It is read at every call; edit it freely, then `tycoon host check`.\nxen-machine here {\n",
    );
    for (name, store) in stores(survey, arguments)? {
        let _ = writeln!(text, "    store {name} {store}");
    }
    let device = bridge(survey, arguments)?;
    let mut bridge = format!("    bridge lan device={device}");
    if let Some(addresses) = &arguments.addresses {
        let _ =
            write!(bridge, " first=\"{}\" last=\"{}\" prefix={}", addresses.first, addresses.last, addresses.prefix);
        if let Some(gateway) = arguments.gateway {
            let _ = write!(bridge, " gateway=\"{gateway}\"");
        }
    }
    if arguments.name_server.is_empty() {
        let _ = writeln!(text, "{bridge}");
    } else {
        let servers: Vec<String> = arguments.name_server.iter().map(|server| format!("\"{server}\"")).collect();
        let _ = writeln!(text, "{bridge} {{\n        name-servers {}\n    }}", servers.join(" "));
    }
    let _ = writeln!(text, "    reserved-memory {RESERVED_MEMORY}");
    if Path::new(BOOT_LOADER).exists() {
        let _ = writeln!(text, "    boot-loader \"{BOOT_LOADER}\"");
    }
    let _ = writeln!(
        text,
        "    image \"std:tiny\" disk=\"{TINY_FOLDER}/disk.raw\" kernel=\"{TINY_FOLDER}/kernel\" ramdisk=\"{TINY_FOLDER}/ramdisk\""
    );
    text.push_str("}\n");
    Ok(text)
}

/// The stores' names and what they are.
fn stores(survey: &Survey, arguments: &PrepareArgs) -> Result<Vec<(String, String)>, Failure> {
    let folder = |path: &str| ("files".to_owned(), format!("directory=\"{path}\""));
    let group = |name: &str| (name.to_owned(), format!("group={name}"));
    if arguments.store.is_empty() {
        let groups = survey.groups.iter().filter(|found| found.free_bytes > 0).map(|found| group(&found.name));
        return Ok(groups.chain([folder(VOLUMES_FOLDER)]).collect());
    }
    let wanted = arguments.store.iter().map(|store| match store {
        path if path.starts_with('/') => Ok(folder(path)),
        name if survey.groups.iter().any(|found| found.name == *name) => Ok(group(name)),
        name => {
            let names: Vec<&str> = survey.groups.iter().map(|found| found.name.as_str()).collect();
            let there =
                if names.is_empty() { "there is none".to_owned() } else { format!("there is {}", names.join(", ")) };
            Err(Failure::new(Exit::Failed, format!("there is no volume group `{name}` on this machine; {there}"))
                .help("name another, make it with `vgcreate`, or name a folder by its absolute path"))
        }
    });
    wanted.collect()
}

fn bridge(survey: &Survey, arguments: &PrepareArgs) -> Result<String, Failure> {
    let all = survey.bridges.join(", ");
    match (&arguments.bridge, &survey.bridges[..]) {
        (Some(wanted), bridges) if bridges.contains(wanted) => Ok(wanted.clone()),
        (Some(wanted), _) => Err(Failure::new(Exit::Failed, format!("there is no bridge `{wanted}` on this machine"))
            .help(format!("there is {all}"))),
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Failure::new(Exit::Usage, "this machine has several bridges")
            .help(format!("say which one with `--bridge`: {all}"))),
    }
}

/// Makes the image std:tiny from what is installed here.
fn build_tiny(output: &Output) -> Result<(), Failure> {
    if Path::new(TINY_FOLDER).join("disk.raw").exists() {
        return Ok(());
    }
    output.message("making the image std:tiny");
    build_tiny_image(Path::new("/"), Path::new(TINY_FOLDER))
        .map_err(|error| Failure::from_error(Exit::Failed, &error).context("the image std:tiny cannot be made"))?;
    Ok(())
}
