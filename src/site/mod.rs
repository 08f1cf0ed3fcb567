//! The site a command talks to: one in this very process, with bank, service location service and hosts as a description
//! says; or a real one, whose bank and hosts are on the network.

pub mod clock;
pub mod directory;
pub mod door;
pub mod embedded;
pub mod hosts;
pub mod images;
pub mod links;
pub mod machines;
pub mod reach;
pub mod remembered;
pub mod remote;
pub mod store;
pub mod world;

use std::sync::Arc;

use tycoon_executor::Site;
use tycoon_executor::engine::StopFlag;
use tycoon_executor::journal;
use tycoon_executor::link::{LinkError, SiteHost};
use tycoon_executor::run::Runner;
use tycoon_market::{HostId, PoolName, Timestamp};
use tycoon_planner::world::History;
use tycoon_xen::client::HostClient;
use tycoon_xen::remote::RemoteHypervisor;

use crate::description;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::identity::Identity;
use crate::output::Output;
use crate::progress::Progress;
use door::Door;
use embedded::EmbeddedSite;
use hosts::Standing;
use remote::{RemoteChoice, RemoteSite};
use world::Surroundings;

/// The site that is open.
#[derive(Clone)]
enum Opened {
    Embedded(Arc<EmbeddedSite>),
    Remote(Arc<RemoteSite>),
}

impl Opened {
    fn site(&self) -> Arc<dyn Site> {
        match self {
            Self::Embedded(site) => site.clone(),
            Self::Remote(site) => site.clone(),
        }
    }
}

/// A command's connection to its site.
pub struct Session {
    folders: Folders,
    identity: Identity,
    surroundings: Surroundings,
    site: Opened,
    command: String,
    stop: StopFlag,
}

impl Session {
    /// Opens the site. `command` is what others are told while it is open.
    pub fn open(output: &Output, command: &str) -> Result<Self, Failure> {
        Self::open_with(output, command, false)
    }

    /// Opens the embedded site, also where a real one is pinned. `command` is what others are told while it is open.
    pub fn open_embedded(output: &Output, command: &str) -> Result<(Self, Arc<EmbeddedSite>), Failure> {
        let session = Self::open_with(output, command, true)?;
        match &session.site {
            Opened::Embedded(site) => {
                let site = site.clone();
                Ok((session, site))
            }
            Opened::Remote(_) => unreachable!("the embedded site was asked for"),
        }
    }

    fn open_with(output: &Output, command: &str, is_embedded: bool) -> Result<Self, Failure> {
        let description = description::load_site(output)?;
        let surroundings = Surroundings::find()?;
        let remote = if is_embedded { None } else { RemoteChoice::of(&description, output)? };
        let folders = match &remote {
            Some(choice) => Folders::find(&choice.name())?,
            None => Folders::find(&description.name)?,
        };
        folders::make(&folders.journals())?;
        let identity = Identity::find_or_make(&folders, &surroundings, output)?;
        let stop = world::stop_on_interrupt()?;
        let site = match remote {
            Some(choice) => {
                let door = Door::new(&description, &folders, &identity, output, &stop);
                let site = RemoteSite::open(choice, &folders, &identity, &surroundings, output)?;
                Opened::Remote(Arc::new(site.with_door(door)))
            }
            None => {
                let site = EmbeddedSite::open(description, &folders, &identity, &surroundings, command, output, &stop)?;
                Opened::Embedded(Arc::new(site))
            }
        };
        Ok(Self { folders, identity, surroundings, site, command: command.to_owned(), stop })
    }

    /// The site.
    pub fn site(&self) -> Arc<dyn Site> {
        self.site.site()
    }

    /// The embedded site itself, for what only its operator may see; `None` where the site is a real one.
    pub fn embedded(&self) -> Option<&EmbeddedSite> {
        match &self.site {
            Opened::Embedded(site) => Some(site),
            Opened::Remote(_) => None,
        }
    }

    /// A client of one of the site's hosts, with the user's key; why there is none where the host cannot be reached.
    pub fn host_client(&self, id: &HostId) -> Result<HostClient, LinkError> {
        match &self.site {
            Opened::Embedded(site) => match site.host(id).map(|host| &host.standing) {
                Some(Standing::Open { client, .. }) => Ok(HostClient::clone(client)),
                Some(Standing::OutOfReach { reason }) => Err(LinkError::Unreachable { reason: reason.clone() }),
                None => Err(LinkError::Unreachable { reason: "the site has no such host".to_owned() }),
            },
            Opened::Remote(site) => site.client_of(id),
        }
    }

    /// The user's own things on one of the hosts of a real site, over SSH; `None` where the site is an embedded one.
    pub fn own_machine(&self, id: &HostId) -> Option<Result<RemoteHypervisor, Failure>> {
        match &self.site {
            Opened::Embedded(_) => None,
            Opened::Remote(site) => Some(site.own_machine(id)),
        }
    }

    /// Hosts that are known and not among `hosts`, which are those of the site now: they can be looked at, and nothing
    /// is put there.
    pub fn other_hosts(&self, hosts: &[SiteHost]) -> Vec<SiteHost> {
        match &self.site {
            Opened::Embedded(_) => Vec::new(),
            Opened::Remote(site) => site.other_hosts(hosts),
        }
    }

    /// True once Ctrl-C was pressed.
    pub fn is_interrupted(&self) -> bool {
        self.stop.is_set()
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
            site: self.site.site(),
            journals: self.folders.journals(),
            command: self.command.clone(),
            observer: Arc::new(Progress::new(output)),
            stop: self.stop.clone(),
            after_record: self.surroundings.after_record(),
        }
    }

    /// What a pool's journal remembers; nothing where it cannot be read, which is said.
    pub fn history(&self, pool: &PoolName, output: &Output) -> History {
        let path = self.folders.journals().join(format!("{pool}.journal"));
        match journal::read(&path) {
            Ok(records) => journal::history(&records),
            Err(error) => {
                output.message(&format!("note: {error}"));
                History::default()
            }
        }
    }

    /// Closes the site, so that what is not on disk yet is.
    pub fn close(&self) -> Result<(), Failure> {
        match &self.site {
            Opened::Embedded(site) => site.close(),
            // Bank and hosts have everything on disk before they answer.
            Opened::Remote(_) => Ok(()),
        }
    }
}
