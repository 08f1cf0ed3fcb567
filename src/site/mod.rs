//! The site a command talks to. Today that is one in this very process: bank, service location service and simulated
//! hosts, as a description of a site says.

pub mod clock;
pub mod directory;
pub mod embedded;
pub mod hosts;
pub mod images;
pub mod links;
pub mod machines;
pub mod reach;
pub mod store;
pub mod world;

use std::sync::Arc;

use tycoon_executor::Site;
use tycoon_executor::engine::StopFlag;
use tycoon_executor::run::Runner;
use tycoon_market::Timestamp;

use crate::description;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::identity::Identity;
use crate::output::Output;
use crate::progress::Progress;
use embedded::EmbeddedSite;
use world::Surroundings;

/// A command's connection to its site.
pub struct Session {
    folders: Folders,
    identity: Identity,
    surroundings: Surroundings,
    site: Arc<EmbeddedSite>,
    command: String,
    stop: StopFlag,
}

impl Session {
    /// Opens the site. `command` is what others are told while it is open.
    pub fn open(output: &Output, command: &str) -> Result<Self, Failure> {
        let description = description::load_site(output)?;
        let folders = Folders::find(&description.name)?;
        let surroundings = Surroundings::find()?;
        folders::make(&folders.journals())?;
        let identity = Identity::find_or_make(&folders, &surroundings, output)?;
        let stop = world::stop_on_interrupt()?;
        let site = EmbeddedSite::open(description, &folders, &identity, &surroundings, command, output, &stop)?;
        Ok(Self { folders, identity, surroundings, site: Arc::new(site), command: command.to_owned(), stop })
    }

    /// The site.
    pub fn site(&self) -> Arc<dyn Site> {
        self.site.clone()
    }

    /// The embedded site itself, for what only its operator may see.
    pub fn embedded(&self) -> &EmbeddedSite {
        &self.site
    }

    /// Where things are kept.
    pub const fn folders(&self) -> &Folders {
        &self.folders
    }

    /// Who runs the command.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.surroundings.clock.now()
    }

    /// What carries out plans on the site.
    pub fn runner(&self, output: &Output) -> Runner {
        Runner {
            site: self.site.clone(),
            journals: self.folders.journals(),
            command: self.command.clone(),
            observer: Arc::new(Progress::new(output)),
            stop: self.stop.clone(),
            after_record: self.surroundings.after_record(),
        }
    }

    /// Closes the site, so that what is not on disk yet is.
    pub fn close(&self) -> Result<(), Failure> {
        self.site.close()
    }
}
