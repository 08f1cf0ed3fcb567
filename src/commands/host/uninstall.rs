//! `tycoon host uninstall`: hosts of a site become plain machines again. What makes them hosts for those who have root on
//! them stays: the program, and `machine.kdl`.

use std::path::PathBuf;

use clap::Args;

use super::member::leave::LeaveArgs;
use super::program::PROGRAM;
use super::there::{self, ThereArgs};
use crate::commands::site::admission;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon host uninstall`.
#[derive(Args, Debug)]
pub struct UninstallArgs {
    /// Which machines.
    #[command(flatten)]
    there: ThereArgs,
    /// How they leave.
    #[command(flatten)]
    leave: LeaveArgs,
    /// The folder with the site's key, if it is here; `site` in your configuration folder
    #[arg(long, value_name = "FOLDER", env = "TYCOON_SITE_FOLDER")]
    site_folder: Option<PathBuf>,
}

/// Uninstalls all of them.
pub fn run(arguments: &UninstallArgs, output: &Output) -> Result<Exit, Failure> {
    let leave = &arguments.leave;
    let mut words = vec!["host".to_owned(), "leave".to_owned()];
    let flags =
        [(leave.despite_accounts, "--despite-accounts"), (leave.purge, "--purge"), (leave.dry_run, "--dry-run")];
    words.extend(flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()));
    let outcomes = arguments.there.on_all(output, |machine| {
        if !machine.has(PROGRAM)? {
            machine.say("the program is not there, so there is nothing to uninstall");
            return Ok(None);
        }
        let done = machine.run(&words)?;
        Ok(done.stdout.lines().last().and_then(|line| line.split_once(' ')).map(|(name, _)| name.to_owned()))
    })?;
    if !leave.dry_run {
        for name in outcomes.iter().flatten().flatten() {
            output.message(&admission::how_to_revoke(name, arguments.site_folder.as_deref())?);
        }
    }
    Ok(there::ended(&outcomes, |_| true, output))
}
