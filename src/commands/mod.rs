//! One file per command.

pub mod bank;
pub mod check;
pub mod completions;
pub mod console;
pub mod cp;
pub mod down;
pub mod explain;
pub mod fmt;
pub mod graph;
pub mod host;
pub mod hosts;
pub mod init;
pub mod keep;
pub mod ls;
pub mod lsp;
pub mod man;
pub mod market;
pub mod plan;
pub mod resolve;
pub mod rpc;
pub mod save_image;
pub mod sim;
pub mod site;
pub mod sls;
pub mod ssh;
pub mod status;
pub mod suspend;
pub mod test;
pub mod up;
pub mod user;
pub mod volumes;

use crate::cli::Command;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Runs a command.
pub fn run(command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Check(arguments) => check::run(arguments, output),
        Command::Plan(arguments) => plan::run(arguments, output),
        Command::Up(arguments) => up::run(arguments, output),
        Command::Down(arguments) => down::run(arguments, output),
        Command::Status(arguments) => status::run(arguments, output),
        Command::Suspend(arguments) => suspend::suspend(arguments, output),
        Command::Resume(arguments) => suspend::resume(arguments, output),
        Command::Keep(arguments) => keep::run(arguments, output),
        Command::Ls(arguments) => ls::run(arguments, output),
        Command::Ssh(arguments) => ssh::run(arguments, output),
        Command::Cp(arguments) => cp::run(arguments, output),
        Command::Volumes(arguments) => volumes::run(arguments, output),
        Command::SaveImage(arguments) => save_image::run(arguments, output),
        Command::Console(arguments) => console::run(arguments, output),
        Command::Hosts(arguments) => hosts::run(arguments, output),
        Command::Host(command) => host::run(command, output),
        Command::Bank(arguments) => bank::run(arguments, output),
        Command::Site(arguments) => site::run(arguments, output),
        Command::Sls(arguments) => sls::run(arguments, output),
        Command::Init(arguments) => init::run(arguments, output),
        Command::Rpc(command) => rpc::run(command, output),
        Command::Market(command) => market::run(command, output),
        Command::Sim(arguments) => sim::run(arguments, output),
        Command::User(command) => user::run(command, output),
        Command::Fmt(arguments) => fmt::run(arguments, output),
        Command::Test(arguments) => test::run(arguments, output),
        Command::Resolve(arguments) => resolve::run(arguments, output),
        Command::Graph(arguments) => graph::run(arguments, output),
        Command::Explain(arguments) => explain::run(arguments, output),
        Command::Lsp(arguments) => lsp::run(arguments),
        Command::Completions(arguments) => completions::run(arguments, output),
        Command::Man(arguments) => man::run(arguments, output),
    }
}
