//! The hosts of a real site: those that its operator admits, that a service location service has verified, and whose
//! records they signed themselves. Others are listed, and nothing is planned on them.

use std::fmt;

use tycoon_executor::link::LinkError;
use tycoon_market::{HostId, PublicKey};
use tycoon_sls::client::{Hosts, SeenHost};
use tycoon_sls::roll::Roll;
use tycoon_sls::{HostQuery, SlsClient, Standing};

use crate::commands::sls::access::one_line;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::parties::Parties;

/// Whether a host is planned, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is.
    Planned,
    /// The site does not admit it.
    NotAdmitted,
    /// It was admitted under another name.
    OtherName,
    /// No service has verified that it answers at its address.
    NotVerified,
    /// It says no address at which calls can be made.
    NoAddress,
    /// It is not registered.
    Silent,
}

impl Place {
    /// The place of a host by the site's roll.
    pub fn of(host: &SeenHost, roll: &Roll) -> Self {
        let record = host.record();
        match roll.hosts.get(&record.host) {
            None => Self::NotAdmitted,
            Some(admission) if admission.name != record.name => Self::OtherName,
            Some(_) if !host.is_live => Self::Silent,
            Some(_) if host.reach.standing != Standing::Verified => Self::NotVerified,
            Some(_) if url(host).is_none() => Self::NoAddress,
            Some(_) => Self::Planned,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Planned => "yes",
            Self::NotAdmitted => "no: not admitted",
            Self::OtherName => "no: admitted under another name",
            Self::NotVerified => "no: not verified",
            Self::NoAddress => "no: it has no address for calls",
            Self::Silent => "no: not heard of",
        })
    }
}

/// The first address at which a host takes calls.
pub fn url(host: &SeenHost) -> Option<&String> {
    host.addresses().iter().find(|address| address.starts_with("https://") || address.starts_with("http://"))
}

/// The hosts that services know.
#[derive(Debug, Default)]
pub struct Listed {
    /// Those on which something is planned; each has an address ([`url`]).
    pub planned: Vec<SeenHost>,
    /// The others.
    pub others: Vec<SeenHost>,
}

/// How the hosts of a site are found.
pub struct Directory {
    client: SlsClient,
    site: PublicKey,
}

impl Directory {
    /// The directory of the site that is pinned, at these services.
    pub fn of(client: SlsClient, parties: &Parties) -> Result<Self, Failure> {
        let Some(site) = parties.site else {
            return Err(Failure::new(Exit::Usage, "which hosts are to be trusted is not known: no site is pinned")
                .help("pin the site's key, which its operator tells you: tycoon init --site-key 'ssh-ed25519 AAAA…'"));
        };
        Ok(Self { client, site })
    }

    /// The key of the site.
    pub const fn site(&self) -> &PublicKey {
        &self.site
    }

    /// The hosts that match, ordered by name. Services that are down, or lie, are passed over as long as one answers.
    pub fn hosts(&self, query: &HostQuery) -> Result<Listed, LinkError> {
        let unreachable = |problem: &dyn std::error::Error| LinkError::Unreachable { reason: one_line(problem) };
        let found = self.client.roll(&self.site).map_err(|problem| unreachable(&problem))?;
        let Some((roll, _)) = found.newest else {
            return Err(LinkError::Nonsense {
                reason: "no service location service has the roll of the site; its operator publishes it with \
                         `tycoon site publish`"
                    .to_owned(),
            });
        };
        let Hosts { hosts, .. } = self.client.hosts(query).map_err(|problem| unreachable(&problem))?;
        let (planned, others) = hosts.into_iter().partition(|host| Place::of(host, &roll) == Place::Planned);
        Ok(Listed { planned, others })
    }

    /// One host, planned or not, with an address ([`url`]); `None` where no service knows it, or none answers.
    pub fn host(&self, id: &HostId) -> Option<SeenHost> {
        self.client.host(id).ok().flatten().filter(|host| url(host).is_some())
    }
}
