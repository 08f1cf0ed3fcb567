//! `tycoon host`: for owners of hosts.

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

/// The commands for hosts.
#[derive(Subcommand, Debug)]
pub enum HostCommand {
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

/// Runs one.
pub fn run(command: &HostCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        HostCommand::Install(arguments) => install::run(arguments, output),
        HostCommand::Prepare(arguments) => prepare::run(arguments, output),
        HostCommand::Check => check::run(output),
        HostCommand::Trial(arguments) => trial::run(arguments, output),
        HostCommand::Session => session::run(),
    }
}
