//! `tycoon host`: one host, and what you have there.

pub mod account;

use clap::Subcommand;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The commands of `tycoon host`.
#[derive(Subcommand, Debug)]
pub enum HostCommand {
    /// Explain what a host has charged you lately: what was used, of which share, at which rate, for how long
    Account(account::AccountArgs),
}

/// Runs one of the commands.
pub fn run(command: &HostCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        HostCommand::Account(arguments) => account::run(arguments, output),
    }
}
