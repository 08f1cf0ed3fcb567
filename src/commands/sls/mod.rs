//! `tycoon sls`: the hosts that are known, and the service that knows them.

pub mod access;
pub mod list;
pub mod serve;
pub mod show;
mod watch;

use clap::{Args, Subcommand};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use access::SlsChoice;

/// Arguments of `tycoon sls`.
#[derive(Args, Debug)]
pub struct SlsArgs {
    /// Which services.
    #[command(flatten)]
    pub choice: SlsChoice,
    /// What to do.
    #[command(subcommand)]
    pub command: SlsCommand,
}

/// What to ask the services, or to do with one.
#[derive(Subcommand, Debug)]
pub enum SlsCommand {
    /// List the hosts that are known
    List(list::ListArgs),
    /// Show everything that is known of a host
    Show(show::ShowArgs),
    /// Tell what changes, as it happens
    Watch(watch::WatchArgs),
    /// Show how much of the last hour, day and week hosts were there
    Uptime(list::UptimeArgs),
    /// Print the signed records of the hosts, for --hosts-file
    Export(list::ExportArgs),
    /// Show what the services say of themselves
    Info,
    /// Serve a service location service on the network
    Serve(serve::ServeArgs),
}

/// Does it.
pub fn run(arguments: &SlsArgs, output: &Output) -> Result<Exit, Failure> {
    let choice = &arguments.choice;
    match &arguments.command {
        SlsCommand::List(arguments) => list::run(arguments, choice, output),
        SlsCommand::Show(arguments) => show::run(arguments, choice, output),
        SlsCommand::Watch(arguments) => watch::run(arguments, choice, output),
        SlsCommand::Uptime(arguments) => list::uptime(arguments, choice, output),
        SlsCommand::Export(arguments) => list::export(arguments, choice, output),
        SlsCommand::Info => show::info(choice, output),
        SlsCommand::Serve(arguments) => serve::run(arguments, output),
    }
}
