//! `tycoon host leave`: the machine it runs on is no member of a site any more.

use std::path::Path;

use clap::Args;
use serde_json::json;
use tycoon_market::Timestamp;

use super::files::Changes;
use super::services::{self, run_program};
use super::{
    ENFORCE_SETTINGS, HOST_SETTINGS, Member, POLICY, STORE, TLS_CERTIFICATES, TLS_KEY, TRUSTED, USER, be_root, checks,
    door, user,
};
use crate::commands::host::driver;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;

/// How a machine leaves.
#[derive(Args, Debug, Clone, Copy, Default)]
pub struct LeaveArgs {
    /// Leave also where there are accounts or domains: they stay as they are, and nobody accounts for them
    #[arg(long)]
    pub despite_accounts: bool,
    /// Remove the host's books and its key, too; what it has not drawn yet is lost to the owner
    #[arg(long)]
    pub purge: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Leaves.
pub fn run(arguments: &LeaveArgs, output: &Output) -> Result<Exit, Failure> {
    be_root("tycoon host leave")?;
    let mut changes = Changes::none(arguments.dry_run, output);
    let settings = Path::new(HOST_SETTINGS);
    let member = settings.exists().then(|| Member::read(settings)).transpose()?;
    let host = match &member {
        Some(member) => member.identity()?.map(|(id, _)| id),
        None => None,
    };
    if let Some(member) = &member {
        refuse_others(member, arguments)?;
    }
    if services::has_systemd() {
        services::remove(&mut changes)?;
    } else {
        user::end_processes(&mut changes)?;
    }
    for path in [HOST_SETTINGS, ENFORCE_SETTINGS, POLICY, TLS_CERTIFICATES, TLS_KEY, TRUSTED] {
        if Path::new(path).exists() {
            changes.make(&format!("remove {path}"), &format!("removed {path}"), || {
                run_program("rm", &["-f", path]).map(drop)
            })?;
        }
    }
    door::remove(&mut changes)?;
    user::remove(USER, &mut changes)?;
    if Path::new(STORE).exists() {
        if arguments.purge {
            changes.make(&format!("remove {STORE}"), &format!("removed {STORE}"), || {
                run_program("rm", &["-rf", STORE]).map(drop)
            })?;
        } else {
            output.message(&format!("the host's books and its key stay in {STORE}; --purge removes them"));
        }
    }
    if !changes.any {
        output.message("nothing was changed: this machine is no member of a site");
    }
    let name = member.map(|member| member.name);
    if output.json {
        output.print_json(&json!({ "name": name, "host": host, "is_changed": changes.any }));
    } else if let (Some(name), Some(host)) = (name, host) {
        output.print(&format!("{name} {host}\n"));
    }
    Ok(Exit::Ok)
}

/// Who has money or domains here is not left alone without a word.
fn refuse_others(member: &Member, arguments: &LeaveArgs) -> Result<(), Failure> {
    if arguments.despite_accounts {
        return Ok(());
    }
    let mut found = Vec::new();
    match checks::page(member, "/metrics") {
        Some(page) => {
            let accounts = accounts(&page);
            if accounts > 0 {
                found.push(format!("{accounts} host account(s)"));
            }
        }
        // Who never was open has no accounts.
        None if member.identity()?.is_some() => {
            found.push("books that cannot be looked into, because the host does not answer".to_owned());
        }
        None => {}
    }
    if Path::new(MACHINE_FILE).exists() {
        let hypervisor = driver::open(&machine::load(Path::new(MACHINE_FILE))?)?.hypervisor;
        let now = Timestamp::from_micros(jiff::Timestamp::now().as_microsecond());
        let domains = hypervisor.domains(now).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let ours = domains.iter().filter(|domain| domain.ownership.is_some());
        found.extend(ours.map(|domain| {
            let kept = if domain.kept.is_some() { "volumes that are kept of " } else { "" };
            format!("{kept}the domain {}", domain.name)
        }));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("there are still {} on this host", found.join(", "))).help(
        "`tycoon host drain` admits nobody new, `tycoon host evict` puts domains out, kept volumes go when \
         their time is over; --despite-accounts leaves all the same",
    ))
}

/// The accounts that the metrics count, wherever they stand.
fn accounts(page: &str) -> u64 {
    let counts = page.lines().filter(|line| line.starts_with("tycoon_host_accounts{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_counted_wherever_they_stand() {
        let page = "# HELP tycoon_host_accounts x\ntycoon_host_accounts{state=\"active\"} 2\n\
                    tycoon_host_accounts{state=\"warned\"} 1\nother 9\n";
        assert_eq!(accounts(page), 3);
    }
}
