//! How a command reaches its bank: over the network where one is named or pinned, else that of the embedded site.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tycoon_bank::BankClient;
use tycoon_market::{AccountId, PublicKey};
use tycoon_rpc::{CallError, Caller, HttpSettings, HttpTransport, RetryPolicy};

use crate::description::load_site;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::identity::Identity;
use crate::output::Output;
use crate::parties::Parties;
use crate::site::Session;
use crate::site::embedded::EmbeddedSite;
use crate::site::world::Surroundings;

/// The name under which nothing is kept: folders of the user are the same for every site.
const ANY_SITE: &str = "remote";

/// Which bank a command talks to.
#[derive(Args, Debug, Clone, Default)]
pub struct BankChoice {
    /// The bank's address; the pinned one (`tycoon init`) or that of the embedded site where none is given
    #[arg(long, global = true, value_name = "URL", env = "TYCOON_BANK")]
    pub bank: Option<String>,
    /// The key that the bank must have
    #[arg(long, global = true, value_name = "KEY", env = "TYCOON_BANK_KEY", requires = "bank")]
    pub bank_key: Option<PublicKey>,
    /// Trust these TLS certificates (PEM) instead of those that the operating system trusts
    #[arg(long, global = true, value_name = "FILE", env = "TYCOON_TRUSTED_CERTIFICATES")]
    pub trusted_certificates: Option<PathBuf>,
    /// Use the embedded site, also where a bank is pinned
    #[arg(long, global = true, conflicts_with = "bank")]
    pub embedded: bool,
}

/// A connection to a bank.
pub enum Access {
    /// The bank of the embedded site.
    Embedded {
        /// The session that has it open.
        session: Box<Session>,
        /// The site.
        site: Arc<EmbeddedSite>,
    },
    /// A bank on the network.
    Remote {
        /// The client.
        client: BankClient,
        /// The caller behind the client.
        caller: Caller,
        /// Where the bank is.
        url: String,
    },
}

impl BankChoice {
    /// The address and the key of the bank that was chosen; `None` where that is the embedded site's.
    pub fn pinned(&self, parties: &Parties, output: &Output) -> Result<Option<(String, PublicKey)>, Failure> {
        Ok(match (&self.bank, self.bank_key, &parties.bank) {
            _ if self.embedded => None,
            (Some(url), Some(key), _) => Some((url.clone(), key)),
            (Some(url), None, Some((pinned, key))) if same(url, pinned) => Some((url.clone(), *key)),
            (Some(url), None, _) => {
                return Err(Failure::new(Exit::Usage, format!("which key the bank at {url} must have is not known"))
                    .help(format!("pin it once with `tycoon init --bank {url}`, or give it with --bank-key")));
            }
            // A description of a site was asked for: that is an embedded one.
            (None, _, _) if output.site.is_some() && load_site(output)?.network_hosts.is_empty() => None,
            (None, _, pinned) => pinned.clone(),
        })
    }

    /// Opens the bank that was chosen.
    pub fn open(&self, output: &Output, command: &str) -> Result<Access, Failure> {
        let folders = Folders::find(ANY_SITE)?;
        let parties = Parties::read(&folders.config)?;
        let Some((url, key)) = self.pinned(&parties, output)? else {
            let (session, site) = Session::open_embedded(output, command)?;
            return Ok(Access::Embedded { session: Box::new(session), site });
        };
        let surroundings = Surroundings::find()?;
        folders::make(&folders.config)?;
        let identity = Identity::find_or_make(&folders, &surroundings, output)?;
        let transport = self.transport(&url, &parties)?;
        let caller = Caller::new(identity.key, key, Arc::new(transport))
            .with_clock(surroundings.clock.clone())
            .with_retries(RetryPolicy::NETWORK);
        Ok(Access::Remote { client: BankClient::new(caller.clone()), caller, url })
    }

    /// The way to the service at `url`.
    pub fn transport(&self, url: &str, parties: &Parties) -> Result<HttpTransport, Failure> {
        let trusted = self.trusted_certificates.clone().or_else(|| parties.trusted.clone());
        let settings = HttpSettings { trusted, ..HttpSettings::default() };
        HttpTransport::new(url, &settings).map_err(|error| Failure::from_error(Exit::Usage, &error))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

impl Access {
    /// The client.
    pub fn client(&self) -> &BankClient {
        match self {
            Self::Embedded { site, .. } => site.bank_client(),
            Self::Remote { client, .. } => client,
        }
    }

    /// The caller's account.
    pub fn own_id(&self) -> Result<AccountId, Failure> {
        match self {
            Self::Embedded { session, .. } => Ok(session.identity().account()),
            Self::Remote { client, .. } => Ok(client.own_account().map_err(|error| failed(&error))?.id),
        }
    }

    /// Puts on disk what is not there yet.
    pub fn close(&self) -> Result<(), Failure> {
        match self {
            Self::Embedded { session, .. } => session.close(),
            Self::Remote { .. } => Ok(()),
        }
    }
}

/// A call that failed, for the user.
pub fn failed(error: &CallError) -> Failure {
    let Some(problem) = error.problem() else {
        let failure = Failure::from_error(Exit::Failed, error);
        return match error {
            CallError::Untrusted { said, .. } if !said.detail.is_empty() => {
                failure.help(format!("nobody vouches for what it said: {said}"))
            }
            CallError::Untrusted { .. } => failure.help(
                "compare the bank's key with the pinned one: `tycoon bank info`, and the bank's log at its start",
            ),
            _ => failure,
        };
    };
    let exit = if problem.code == "bank.insufficient-funds" || problem.code == "bank.over-limit" {
        Exit::Budget
    } else {
        Exit::Failed
    };
    let failure = Failure::coded(exit, &problem.code, problem.to_string());
    match &problem.help {
        Some(help) => failure.help(help.clone()),
        None => failure,
    }
}
