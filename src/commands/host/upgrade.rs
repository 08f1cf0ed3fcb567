//! `tycoon host upgrade`: brings a new program to hosts. Services are restarted; domains run on, for Xen has them.

use std::path::PathBuf;

use clap::Args;

use super::member::HOST_SETTINGS;
use super::program::{PROGRAM, Program};
use super::there::{self, ThereArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon host upgrade`.
#[derive(Args, Debug)]
pub struct UpgradeArgs {
    /// Which machines.
    #[command(flatten)]
    there: ThereArgs,
    /// The program to bring; by default this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Upgrades all of them.
pub fn run(arguments: &UpgradeArgs, output: &Output) -> Result<Exit, Failure> {
    let program = Program::read(arguments.program.as_deref())?;
    let outcomes = arguments.there.on_all(output, |machine| {
        let is_member = machine.has(HOST_SETTINGS)?;
        if arguments.dry_run {
            if program.is_there(&machine.connection)? {
                machine.say("the program is there already");
            } else {
                let services = if is_member { ", and restart both services" } else { "" };
                machine.say(&format!("would bring this program to {PROGRAM}{services}"));
            }
            return Ok(true);
        }
        program.bring(&machine.connection, &|text| machine.say(text))?;
        if !is_member {
            machine.say("it is no member of a site: it has no services to restart");
            return Ok(true);
        }
        // With the settings that are there. What runs an older program is restarted.
        Ok(machine.run(&["host".to_owned(), "join".to_owned()])?.is_whole)
    })?;
    Ok(there::ended(&outcomes, |is_whole| *is_whole, output))
}
