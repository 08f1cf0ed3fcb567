//! `tycoon host install`: makes Xen machines hosts, over SSH, from anywhere; and members of a site, where that is wanted.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tycoon_market::HostId;

use super::member::choice::MemberArgs;
use super::member::{TLS_CERTIFICATES, TLS_KEY, TRUSTED};
use super::prepare::PrepareArgs;
use super::program::{PROGRAM, Program};
use super::serve::USUAL_PORT;
use super::there::{self, Machine, ThereArgs};
use crate::commands::site::admission::{self, Newcomer};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::identity::Identity;
use crate::output::Output;
use crate::parties::Parties;
use crate::site::world::Surroundings;

/// Arguments of `tycoon host install`.
#[derive(Args, Debug)]
pub struct InstallArgs {
    /// Which machines.
    #[command(flatten)]
    there: ThereArgs,
    /// The program to install; by default this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    #[command(flatten)]
    prepare: PrepareArgs,
    /// Make the machines members of a site, too, which strangers share: with services, and a market
    #[arg(long, help_heading = MEMBER)]
    member: bool,
    /// The folder with the site's key, by which the hosts are admitted; `site` in your configuration folder
    #[arg(long, value_name = "FOLDER", env = "TYCOON_SITE_FOLDER", help_heading = MEMBER)]
    site_folder: Option<PathBuf>,
    /// What is said of them.
    #[command(flatten, next_help_heading = MEMBER)]
    said: MemberArgs,
}

/// Over the options of members.
const MEMBER: &str = "Members of a site";

/// What was installed on a machine.
struct Installed {
    is_whole: bool,
    newcomer: Option<Newcomer>,
}

/// Installs on all machines.
pub fn run(arguments: &InstallArgs, output: &Output) -> Result<Exit, Failure> {
    let membership = Membership::of(arguments, output)?;
    let program = Program::read(arguments.program.as_deref())?;
    let count = arguments.there.hosts.len();
    let preparations: Vec<_> =
        (0..count).map(|number| preparation(&arguments.prepare, number, count)).collect::<Result<_, _>>()?;
    let outcomes = arguments.there.on_all(output, |machine| {
        if !arguments.prepare.dry_run {
            program.bring(&machine.connection, &|text| machine.say(text))?;
        } else if !program.is_there(&machine.connection)? {
            machine.say(&format!("would bring this program to {PROGRAM}"));
            if let Some(membership) = &membership {
                membership.foretell(machine);
            }
            return Ok(Installed { is_whole: true, newcomer: None });
        }
        machine.run(&preparations[machine.number])?;
        match &membership {
            Some(membership) => membership.join(machine, arguments.prepare.dry_run),
            None => Ok(Installed { is_whole: true, newcomer: None }),
        }
    })?;
    let admitted = match &membership {
        Some(membership) if !arguments.prepare.dry_run => {
            let newcomers: Vec<_> = outcomes.iter().flatten().filter_map(|done| done.newcomer.as_ref()).collect();
            admission::admit(&newcomers, arguments.site_folder.as_deref(), &membership.services, output)?
        }
        _ => Exit::Ok,
    };
    Ok(match report(arguments, &outcomes, output) {
        Exit::Ok => admitted,
        exit => exit,
    })
}

fn report(arguments: &InstallArgs, outcomes: &[Result<Installed, Failure>], output: &Output) -> Exit {
    let hosts = &arguments.there.hosts;
    let is_dry_run = arguments.prepare.dry_run;
    if output.json {
        let told = hosts.iter().zip(outcomes).map(|(host, outcome)| match outcome {
            Ok(done) => {
                let newcomer = done.newcomer.as_ref();
                json!({
                    "host": host, "installed": !is_dry_run, "is_whole": done.is_whole,
                    "name": newcomer.map(|newcomer| &newcomer.name), "id": newcomer.map(|newcomer| newcomer.id),
                })
            }
            Err(failure) => json!({ "host": host, "installed": false, "failure": failure.json() }),
        });
        output.print_json(&told.collect::<Vec<_>>());
    }
    let exit = there::ended(outcomes, |done| done.is_whole, output);
    let mut installed = String::new();
    for (host, _) in hosts.iter().zip(outcomes).filter(|(_, outcome)| outcome.is_ok()) {
        let _ = writeln!(installed, "    xen-host {} {{ ssh \"{host}\"; }}", component_name(host));
    }
    if !installed.is_empty() && !is_dry_run && !output.json && !arguments.member {
        output.message(
            "List your hosts in a file, for example hosts.kdl, and use them with `tycoon up --hosts hosts.kdl FILE`:",
        );
        output.print(&format!("site lab {{\n{installed}}}\n"));
    }
    exit
}

/// How machines become members of a site.
struct Membership {
    /// What is said of all of them.
    said: MemberArgs,
    /// The options that count where the machine's settings do not say otherwise.
    usual: Vec<String>,
    /// The services where they are admitted.
    services: admission::Services,
}

impl Membership {
    /// What was asked for; bank and services are those that are pinned where none are given.
    fn of(arguments: &InstallArgs, output: &Output) -> Result<Option<Self>, Failure> {
        let mut said = arguments.said.clone();
        if !arguments.member {
            return match said.is_silent() {
                true => Ok(None),
                false => Err(Failure::new(Exit::Usage, "these options are for members of a site")
                    .help("add --member, and the machines become some")),
            };
        }
        if arguments.there.hosts.len() > 1 && (said.name.is_some() || !said.address.is_empty()) {
            return Err(Failure::new(Exit::Usage, "several machines cannot have one name or one address")
                .help("install them one by one; or leave --name and --address out"));
        }
        let folders = Folders::find("remote")?;
        let parties = Parties::read(&folders.config)?;
        if said.bank.is_none()
            && let Some((url, key)) = &parties.bank
        {
            (said.bank, said.bank_key) = (Some(url.clone()), Some(*key));
        }
        if said.sls.is_empty() {
            (said.sls, said.sls_key) = parties.slses.iter().cloned().unzip();
        }
        let trusted = said.trusted_certificates.clone().or_else(|| parties.trusted.clone());
        let services = said.sls.iter().cloned().zip(said.sls_key.iter().copied()).collect();
        let services = admission::Services { services, trusted: trusted.clone() };
        said.trusted_certificates = trusted;
        let mut usual = Vec::new();
        if said.owner.is_empty() {
            folders::make(&folders.config)?;
            let identity = Identity::find_or_make(&folders, &Surroundings::find()?, output)?;
            usual.extend(["--usual-owner".to_owned(), identity.key.public_key().to_string()]);
        }
        Ok(Some(Self { said, usual, services }))
    }

    /// Says what would be done on a machine that has no program yet.
    fn foretell(&self, machine: &Machine<'_>) {
        machine.say("would make it a member of the site: user, settings, services; say --dry-run again when the program is there");
    }

    fn join(&self, machine: &Machine<'_>, is_dry_run: bool) -> Result<Installed, Failure> {
        let mut said = self.said.clone();
        let files = [
            (&mut said.tls_certificates, TLS_CERTIFICATES),
            (&mut said.tls_key, TLS_KEY),
            (&mut said.trusted_certificates, TRUSTED),
        ];
        for (file, path) in files {
            if let Some(file) = file {
                if is_dry_run {
                    machine.say(&format!("would bring {} to {path}", file.display()));
                } else {
                    machine.bring(file, path)?;
                }
                *file = PathBuf::from(path);
            }
        }
        let mut words = vec!["host".to_owned(), "join".to_owned()];
        words.extend(said.words());
        words.extend(self.usual.iter().cloned());
        if said.listen.is_none() {
            words.extend(["--usual-listen".to_owned(), format!("0.0.0.0:{USUAL_PORT}")]);
        }
        if said.address.is_empty() && said.listen.is_none_or(|listen| !listen.ip().is_loopback()) {
            let port = said.listen.map_or(USUAL_PORT, |listen| listen.port());
            words.extend(["--usual-address".to_owned(), format!("https://{}:{port}", place(machine.host))]);
        }
        if is_dry_run {
            words.push("--dry-run".to_owned());
        }
        let done = machine.run(&words)?;
        Ok(Installed { is_whole: done.is_whole, newcomer: newcomer(&done.stdout) })
    }
}

/// The name and the id that the program on the machine printed last.
fn newcomer(stdout: &str) -> Option<Newcomer> {
    let (name, id) = stdout.lines().last()?.split_once(' ')?;
    let id: HostId = id.trim().parse().ok()?;
    Some(Newcomer { name: name.to_owned(), id })
}

/// The name or address of a machine: `xen1.example.org` of `root@xen1.example.org:22`.
fn place(host: &str) -> &str {
    let place = host.rsplit('@').next().unwrap_or(host);
    place.split(':').next().unwrap_or(place)
}

/// The name of a host as a component: `xen1` of `root@xen1.example.org:22`.
fn component_name(host: &str) -> String {
    let name = place(host);
    let first = name.split('.').next().unwrap_or(name);
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if is_address { format!("xen-{}", name.replace(['.', ':'], "-")) } else { first.to_owned() }
}

/// The arguments of `tycoon host prepare` for the `number`th of `count` machines, each with its part of the addresses.
fn preparation(arguments: &PrepareArgs, number: usize, count: usize) -> Result<Vec<String>, Failure> {
    let mut words = vec!["host".to_owned(), "prepare".to_owned()];
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    arguments.store.iter().for_each(|store| option("store", store.clone()));
    arguments.bridge.iter().for_each(|bridge| option("bridge", bridge.clone()));
    if let Some(addresses) = &arguments.addresses {
        let part = addresses.part(number, count).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{addresses} has fewer addresses than there are hosts"))
                .help("give a larger span")
        })?;
        option("addresses", part.to_string());
    }
    arguments.gateway.iter().for_each(|gateway| option("gateway", gateway.to_string()));
    arguments.name_server.iter().for_each(|server| option("name-server", server.to_string()));
    let flags = [(arguments.no_packages, "--no-packages"), (arguments.dry_run, "--dry-run")];
    words.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_plain_names() {
        assert_eq!(component_name("root@xen1.example.org:2222"), "xen1");
        assert_eq!(component_name("xen1"), "xen1");
        assert_eq!(component_name("root@10.0.0.7"), "xen-10-0-0-7");
    }

    #[test]
    fn who_joined_is_told_in_the_last_line() {
        let id = HostId::of(&tycoon_rpc::Signer::public_key(&tycoon_rpc::SecretKey::from_seed(&[1; 32])));
        let found = newcomer(&format!("Xen sells much\nxen1 {id}\n")).unwrap();
        assert_eq!((found.name.as_str(), found.id), ("xen1", id));
        assert!(newcomer("").is_none() && newcomer("images: std:tiny\n").is_none());
    }

    #[test]
    fn each_host_gets_its_part_of_the_addresses() {
        let arguments =
            PrepareArgs { addresses: Some("10.0.0.100-10.0.0.119/24".parse().unwrap()), ..PrepareArgs::default() };
        let words = |number| preparation(&arguments, number, 2).unwrap().join(" ");
        assert!(words(0).ends_with("--addresses 10.0.0.100-10.0.0.109/24"), "{}", words(0));
        assert!(words(1).ends_with("--addresses 10.0.0.110-10.0.0.119/24"), "{}", words(1));
    }
}
