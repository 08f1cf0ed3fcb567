//! `tycoon host join`: makes the machine it runs on a member of a site. It can be run again; what is there stays.

use std::path::Path;

use clap::Args;
use kdl::KdlValue;
use serde_json::json;
use tycoon_market::{PublicKey, ResourceKind};

use super::choice::MemberArgs;
use super::files::Changes;
use super::{
    ENFORCE_SETTINGS, HOST_SETTINGS, Member, POLICY, TLS_KEY, be_root, checks, door, services, settings_text, user,
};
use crate::commands::host::{driver, serve};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;

/// The settings files as they are where nobody has written any.
const HOST_TEXT: &str = include_str!("../../../../packaging/systemd/host.kdl");
const ENFORCE_TEXT: &str = include_str!("../../../../packaging/systemd/enforce.kdl");
const POLICY_TEXT: &str = include_str!("../../../../packaging/systemd/host-policy.kdl");
/// The least memory that is worth selling: what the smallest domain takes.
const MEMORY_BYTES_MIN: u64 = 128 << 20;

/// Arguments of `tycoon host join`.
#[derive(Args, Debug, Clone, Default)]
pub struct JoinArgs {
    /// What is said of the host.
    #[command(flatten)]
    pub member: MemberArgs,
    /// The owner where the settings name none yet
    #[arg(long, value_name = "KEY", hide = true)]
    pub usual_owner: Option<PublicKey>,
    /// Where the host listens, where the settings do not say
    #[arg(long, value_name = "ADDRESS:PORT", hide = true)]
    pub usual_listen: Option<std::net::SocketAddr>,
    /// Where clients reach the host, where the settings do not say
    #[arg(long, value_name = "URL", hide = true)]
    pub usual_address: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Joins.
pub fn run(arguments: &JoinArgs, output: &Output) -> Result<Exit, Failure> {
    be_root("tycoon host join")?;
    let host_text = host_text(arguments)?;
    let member = Member::of(&serve::settings_of(&host_text, HOST_SETTINGS)?)?;
    checks::parties(&member, output)?;
    sells_something(arguments.dry_run)?;
    let mut changes = Changes::none(arguments.dry_run, output);
    user::ensure(&mut changes)?;
    door::ensure(&mut changes)?;
    let mut is_new = changes.file(HOST_SETTINGS, &host_text)?;
    is_new |= changes.file(ENFORCE_SETTINGS, &read_or(ENFORCE_SETTINGS, ENFORCE_TEXT)?)?;
    // The market reads this one again by itself.
    let policy = arguments.member.prices().into_iter().fold(read_or(POLICY, POLICY_TEXT)?, with);
    changes.file(POLICY, &policy)?;
    if !arguments.dry_run && Path::new(TLS_KEY).exists() {
        user::give(TLS_KEY)?;
    }
    if !services::has_systemd() {
        return by_hand(&member, is_new, &changes, output);
    }
    is_new |= services::ensure_units(&mut changes)?;
    services::ensure_running(is_new, &mut changes)?;
    if arguments.dry_run {
        if !changes.any {
            output.message("nothing would be changed");
        }
        return Ok(Exit::Ok);
    }
    checks::wait_for_health(&member).map_err(|reason| {
        let said = services::last_words();
        let failure = Failure::new(Exit::Failed, format!("the host was started and is not well: {reason}"));
        failure.help(format!("`journalctl -u tycoon-host -u tycoon-host-enforce` says more; last:\n{said}"))
    })?;
    is_open(&member, &changes, output)
}

/// The text of the market's settings: what is there, or what is usual, with what is given.
fn host_text(arguments: &JoinArgs) -> Result<String, Failure> {
    let is_first = !Path::new(HOST_SETTINGS).exists();
    let mut text = read_or(HOST_SETTINGS, HOST_TEXT)?;
    let there = serve::settings_of(&text, HOST_SETTINGS)?;
    let has = |name: &str| there.text(name).is_some();
    if is_first && arguments.member.name.is_none() {
        text = with(text, ("name", own_name()?.into()));
    }
    if let Some(owner) = arguments.usual_owner.filter(|_| !has("owner") && !has("owner-account")) {
        text = with(text, ("owner", owner.to_string().into()));
    }
    if let Some(listen) = arguments.usual_listen.filter(|_| is_first) {
        text = with(text, ("listen", listen.to_string().into()));
    }
    if let Some(address) = arguments.usual_address.as_ref().filter(|_| is_first) {
        text = with(text, ("address", address.clone().into()));
    }
    let text = arguments.member.host_settings().into_iter().fold(text, with);
    let settings = serve::settings_of(&text, HOST_SETTINGS)?;
    let door = if is_first && settings.text("ssh").is_none() {
        door::settings(settings.text("address").and_then(|all| all.split(',').next()).map(str::trim))
    } else {
        Vec::new()
    };
    Ok(door.into_iter().fold(text, with))
}

fn with(text: String, (name, value): (&'static str, KdlValue)) -> String {
    settings_text::set(&text, name, value)
}

fn read_or(path: &str, usual: &str) -> Result<String, Failure> {
    if Path::new(path).exists() {
        crate::files::read_text("the settings file", Path::new(path), 64 << 10)
    } else {
        Ok(usual.to_owned())
    }
}

/// The machine's name, without its domain.
fn own_name() -> Result<String, Failure> {
    let whole = crate::files::read_text("the machine's name", Path::new("/proc/sys/kernel/hostname"), 4 << 10)?;
    let first = whole.trim().split('.').next().unwrap_or_default();
    if first.is_empty() || first == "localhost" {
        return Err(Failure::new(Exit::Usage, "this machine has no name of its own").help("give one with --name NAME"));
    }
    Ok(first.to_owned())
}

/// What dom0 has left is enough for a domain.
fn sells_something(is_dry_run: bool) -> Result<(), Failure> {
    if is_dry_run && !Path::new(MACHINE_FILE).exists() {
        return Ok(());
    }
    let machine = machine::load(Path::new(MACHINE_FILE))?;
    let facts = driver::open(&machine)?.hypervisor.facts();
    let facts = facts.map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let sold = |wanted: ResourceKind| {
        let amounts = facts.capacity.iter().filter(|(kind, _)| *kind == wanted);
        amounts.map(|(_, amount)| amount.amount()).sum::<u64>()
    };
    if sold(ResourceKind::Memory) < MEMORY_BYTES_MIN {
        let left = tycoon_market::resource::show_bytes(sold(ResourceKind::Memory));
        return Err(Failure::new(Exit::Failed, format!("the control domain leaves {left} of memory for domains"))
            .help("give it less: `dom0_mem=1024M,max:1024M` on Xen's command line; nothing was changed"));
    }
    if sold(ResourceKind::Disk) == 0 {
        return Err(Failure::new(Exit::Failed, "there is no room for volumes")
            .help(format!("name another store in {MACHINE_FILE}, or make room; nothing was changed")));
    }
    Ok(())
}

/// Where systemd is not there, somebody else starts the services.
fn by_hand(member: &Member, is_new: bool, changes: &Changes<'_>, output: &Output) -> Result<Exit, Failure> {
    if changes.is_dry_run {
        output.message("would start nothing: systemd is not the first program of this machine");
        return Ok(Exit::Ok);
    }
    match checks::health(member) {
        Ok(()) if is_new => {
            output.message("the services run, and have to be restarted by hand, for their settings are new");
            is_open(member, changes, output).map(|_| Exit::Partly)
        }
        Ok(()) => is_open(member, changes, output),
        Err(reason) => {
            output.message(&format!(
                "nothing was started: systemd is not the first program of this machine (the host says: {reason}). Start \
                 these two by hand, and whenever the machine starts; then run this again:\n{}",
                services::by_hand()
            ));
            if output.json {
                output.print_json(&json!({ "name": member.name, "is_open": false, "is_changed": changes.any }));
            }
            Ok(Exit::Partly)
        }
    }
}

/// The market is there; now the services have to know it.
fn is_open(member: &Member, changes: &Changes<'_>, output: &Output) -> Result<Exit, Failure> {
    let missing = checks::wait_for_registration(member)?;
    let identity = member.identity()?;
    let key = identity.map(|(_, key)| key.fingerprint()).unwrap_or_default();
    if !changes.any {
        output.message("nothing was changed");
    }
    let (known, all) = (member.services.len() - missing.len(), member.services.len());
    output.message(&format!("the host {} ({key}) is open, and registered with {known} of {all} services", member.name));
    for reason in &missing {
        output.error(&format!("warning: not registered with {reason}\n"));
    }
    if output.json {
        output.print_json(&json!({
            "name": member.name, "is_open": true, "is_changed": changes.any,
            "host": identity.map(|(id, _)| id), "key": identity.map(|(_, key)| key),
        }));
    } else if let Some((id, _)) = identity {
        output.print(&format!("{} {id}\n", member.name));
    }
    Ok(if missing.is_empty() { Exit::Ok } else { Exit::Partly })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_settings_with_what_is_needed_are_those_of_a_member() {
        let key: PublicKey =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c".parse().unwrap();
        let given = MemberArgs {
            owner: vec![key],
            bank: Some("http://127.0.0.1:1".to_owned()),
            bank_key: Some(key),
            ..MemberArgs::default()
        };
        let of = |given: &MemberArgs| {
            let text = given.host_settings().into_iter().fold(HOST_TEXT.to_owned(), with);
            Member::of(&serve::settings_of(&text, "host.kdl").unwrap())
        };
        let member = of(&given).unwrap();
        assert_eq!((member.name.as_str(), member.own_url()), ("host1", "http://127.0.0.1:7403".to_owned()));
        assert!(of(&MemberArgs::default()).unwrap_err().message().contains("which bank"));
        let open = MemberArgs { listen: Some("0.0.0.0:7403".parse().unwrap()), ..given };
        assert!(of(&open).unwrap_err().message().contains("where clients reach the host"));
        let open = MemberArgs { address: vec!["https://xen1:7403".to_owned()], ..open };
        assert_eq!(of(&open).unwrap().own_url(), "https://127.0.0.1:7403", "by its own key");
        let open = MemberArgs { tls_certificates: Some("a.pem".into()), tls_key: Some("b.pem".into()), ..open };
        assert_eq!(of(&open).unwrap().own_url(), "https://xen1:7403", "by the name in the certificate");
    }
}
