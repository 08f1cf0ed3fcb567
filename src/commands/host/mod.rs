//! `tycoon host`: making hosts, and what you have on one.

pub mod account;
mod addresses;
mod check;
mod driver;
mod install;
mod prepare;
mod session;
mod trial;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The commands of `tycoon host`.
#[derive(Subcommand, Debug)]
pub enum HostCommand {
    /// Explain what a host has charged you lately: what was used, of which share, at which rate, for how long
    Account(account::AccountArgs),
    /// Make Xen machines hosts, over SSH
    Install(install::InstallArgs),
    /// Make the machine this runs on a host
    Prepare(prepare::PrepareArgs),
    /// Say whether the machine this runs on is a good host, and what it sells
    Check,
    /// Try everything this machine has to do as a host, with small domains of its own
    Trial(trial::TrialArgs),
    /// Serve the hypervisor of this machine on standard input and output; what `tycoon` runs over SSH
    Session,
}

/// Runs one of the commands.
pub fn run(command: &HostCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        HostCommand::Account(arguments) => account::run(arguments, output),
        HostCommand::Install(arguments) => install::run(arguments, output),
        HostCommand::Prepare(arguments) => prepare::run(arguments, output),
        HostCommand::Check => check::run(output),
        HostCommand::Trial(arguments) => trial::run(arguments, output),
        HostCommand::Session => session::run(),
    }
}
