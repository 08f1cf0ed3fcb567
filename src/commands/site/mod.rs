//! `tycoon site`: which hosts are the site's. The operator's key signs the roll of those that are admitted.

pub mod admission;
mod roll;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::commands::sls::access::SlsChoice;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon site`.
#[derive(Args, Debug)]
pub struct SiteArgs {
    /// Which services.
    #[command(flatten)]
    pub choice: SlsChoice,
    /// The folder with the site's key and its roll; `site` in your configuration folder where none is given
    #[arg(long, global = true, value_name = "FOLDER", env = "TYCOON_SITE_FOLDER")]
    pub folder: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: SiteCommand,
}

/// What an operator does.
#[derive(Subcommand, Debug)]
pub enum SiteCommand {
    /// Make the key of a site, and show what services and users are told
    Init,
    /// Admit hosts that are registered: users' pools run on them from now on
    Admit(roll::AdmitArgs),
    /// Revoke the admission of hosts: nothing new is planned on them
    Revoke(roll::RevokeArgs),
    /// List the hosts that are admitted, and those that are registered and are not
    List,
    /// Publish the roll again, for a service that is new or has lost it
    Publish,
}

/// Does it.
pub fn run(arguments: &SiteArgs, output: &Output) -> Result<Exit, Failure> {
    let choice = &arguments.choice;
    let folder = roll::SiteFolder::of(arguments.folder.as_deref())?;
    match &arguments.command {
        SiteCommand::Init => roll::init(&folder, output),
        SiteCommand::Admit(arguments) => roll::admit(arguments, &folder, choice, output),
        SiteCommand::Revoke(arguments) => roll::revoke(arguments, &folder, choice, output),
        SiteCommand::List => roll::list(&folder, choice, output),
        SiteCommand::Publish => roll::publish(&folder, choice, output),
    }
}
