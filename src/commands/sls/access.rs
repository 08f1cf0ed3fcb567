//! How a command reaches the service location services: those that are named or pinned, else that of the embedded site;
//! or a file with a list of hosts instead.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tycoon_market::PublicKey;
use tycoon_rpc::{Caller, HttpSettings, HttpTransport, RetryPolicy, Signer};
use tycoon_sls::client::{Hosts, NamedCaller, SeenHost, SlsProblem};
use tycoon_sls::facts::{Facts, Texts};
use tycoon_sls::fields::Field;
use tycoon_sls::{HostQuery, Reach, SignedRecord, SlsClient, Sort};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders::{self, Folders};
use crate::identity::Identity;
use crate::output::Output;
use crate::parties::Parties;
use crate::site::Session;
use crate::site::embedded::EmbeddedSite;
use crate::site::world::Surroundings;

/// The name under which nothing is kept: folders of the user are the same for every site.
const ANY_SITE: &str = "remote";
/// The largest list of hosts that is read, in bytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Which services a command talks to.
#[derive(Args, Debug, Clone, Default)]
pub struct SlsChoice {
    /// The services' addresses; the pinned ones (`tycoon init`) or that of the embedded site where none is given
    #[arg(long, global = true, value_name = "URLS", env = "TYCOON_SLS", value_delimiter = ',')]
    pub sls: Vec<String>,
    /// The keys that they must have, in the same order
    #[arg(long, global = true, value_name = "KEYS", env = "TYCOON_SLS_KEY", value_delimiter = ',')]
    pub sls_key: Vec<PublicKey>,
    /// Take the hosts from a file that `tycoon sls export` wrote, instead of asking
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "sls")]
    pub hosts_file: Option<PathBuf>,
    /// Trust these TLS certificates (PEM) instead of those that the operating system trusts
    #[arg(long = "trusted-certificates", global = true, value_name = "FILE", env = "TYCOON_TRUSTED_CERTIFICATES")]
    pub trusted: Option<PathBuf>,
    /// Use the embedded site, also where services are pinned
    #[arg(long = "embedded", global = true, conflicts_with = "sls")]
    pub is_embedded: bool,
}

/// Where hosts are known from.
pub enum Access {
    /// The service of the embedded site.
    Embedded {
        /// The session that has it open.
        session: Box<Session>,
        /// The site.
        site: Arc<EmbeddedSite>,
    },
    /// Services on the network, with their addresses and keys.
    Remote {
        /// The client of all of them.
        client: SlsClient,
        /// Where they are, and the transport to each.
        services: Vec<(String, HttpTransport)>,
    },
    /// A list in a file.
    File(Vec<SeenHost>),
}

impl SlsChoice {
    /// The addresses and keys that are chosen; none where that is the embedded site.
    pub fn services(&self, parties: &Parties, output: &Output) -> Result<Vec<(String, PublicKey)>, Failure> {
        if self.is_embedded {
            return Ok(Vec::new());
        }
        if self.sls.is_empty() {
            // A description of a site was asked for: that is an embedded one.
            return Ok(if output.site.is_some() { Vec::new() } else { parties.slses.clone() });
        }
        if !self.sls_key.is_empty() && self.sls_key.len() != self.sls.len() {
            let (urls, keys) = (self.sls.len(), self.sls_key.len());
            return Err(Failure::new(Exit::Usage, format!("there are {urls} addresses of services and {keys} keys"))
                .help("give as many --sls-key as --sls, in the same order; `tycoon sls serve` prints both"));
        }
        let mut services = Vec::new();
        for (number, url) in self.sls.iter().enumerate() {
            let pinned = || parties.slses.iter().find(|(pinned, _)| is_same(url, pinned)).map(|(_, key)| *key);
            let Some(key) = self.sls_key.get(number).copied().or_else(pinned) else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("which key the service at {url} must have is not known"),
                )
                .help(format!("pin it once with `tycoon init --sls {url}`, or give it with --sls-key")));
            };
            services.push((url.clone(), key));
        }
        Ok(services)
    }

    /// How HTTP is spoken.
    pub fn http(&self, parties: &Parties) -> HttpSettings {
        let trusted = self.trusted.clone().or_else(|| parties.trusted.clone());
        HttpSettings { trusted, ..HttpSettings::default() }
    }

    /// Opens what was chosen.
    pub fn open(&self, output: &Output, command: &str) -> Result<Access, Failure> {
        if let Some(path) = &self.hosts_file {
            return Ok(Access::File(read_hosts(path)?));
        }
        let folders = Folders::find(ANY_SITE)?;
        let parties = Parties::read(&folders.config)?;
        let services = self.services(&parties, output)?;
        if services.is_empty() {
            let (session, site) = Session::open_embedded(output, command)?;
            return Ok(Access::Embedded { session: Box::new(session), site });
        }
        let surroundings = Surroundings::find()?;
        folders::make(&folders.config)?;
        let identity = Identity::find_or_make(&folders, &surroundings, output)?;
        let http = self.http(&parties);
        let client = client(&services, &identity.key, &http, &surroundings)?;
        let services: Result<Vec<_>, Failure> =
            services.into_iter().map(|(url, _)| Ok((url.clone(), transport(&url, &http)?))).collect();
        Ok(Access::Remote { client, services: services? })
    }
}

/// A client of services.
pub fn client(
    services: &[(String, PublicKey)],
    signer: &Arc<dyn Signer>,
    http: &HttpSettings,
    surroundings: &Surroundings,
) -> Result<SlsClient, Failure> {
    let named: Result<Vec<NamedCaller>, Failure> = services
        .iter()
        .map(|(url, key)| {
            let caller = Caller::new(signer.clone(), *key, Arc::new(transport(url, http)?))
                .with_clock(surroundings.clock.clone())
                .with_retries(RetryPolicy::NETWORK);
            Ok(NamedCaller { name: url.clone(), caller })
        })
        .collect();
    Ok(SlsClient::new(named?))
}

/// The way to the service at `url`.
pub fn transport(url: &str, http: &HttpSettings) -> Result<HttpTransport, Failure> {
    HttpTransport::new(url, http).map_err(|error| Failure::from_error(Exit::Usage, &error))
}

fn is_same(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

impl Access {
    /// The hosts that match; the first `most` in the query's order, where that is said.
    pub fn hosts(&self, query: &HostQuery, most: Option<usize>, output: &Output) -> Result<Vec<SeenHost>, Failure> {
        let client = match self {
            Self::Embedded { site, .. } => site.sls_client(),
            Self::Remote { client, .. } => client,
            Self::File(hosts) => return of_file(hosts, query, most),
        };
        // Without an end all are read, in the order in which nothing is missed while pages are turned.
        let found = match most {
            Some(most) => client.first_hosts(query, most),
            None => client.hosts(query),
        };
        let Hosts { hosts, problems } = found.map_err(|problem| failed(&problem))?;
        warn(&problems, output);
        // What is the first of many is in its order already.
        Ok(if most.is_some() { hosts } else { first(hosts, &query.sort, None) })
    }

    /// Closes the embedded site, so that what is not on disk yet is.
    pub fn close(&self) -> Result<(), Failure> {
        match self {
            Self::Embedded { session, .. } => session.close(),
            Self::Remote { .. } | Self::File(_) => Ok(()),
        }
    }
}

/// Tells of services that were of no use.
pub fn warn(problems: &[SlsProblem], output: &Output) {
    for problem in problems {
        output.error(&format!("warning: {problem}: {}\n", one_line(&problem.source)));
    }
}

/// An error with its causes, on one line.
pub fn one_line(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// Services that gave no answer, for the user.
pub fn failed(problem: &SlsProblem) -> Failure {
    let failure = Failure::from_error(Exit::Failed, problem);
    match &problem.source {
        tycoon_sls::client::SlsError::Call(error) => match error.problem() {
            Some(told) => {
                let failure = Failure::coded(Exit::Failed, &told.code, told.to_string());
                match &told.help {
                    Some(help) => failure.help(help.clone()),
                    None => failure,
                }
            }
            None => failure.help("`tycoon sls info` asks every service; `tycoon init --sls URL` pins another"),
        },
        _ => failure,
    }
}

/// The hosts of a file that match, in the query's order, at most `most`.
fn of_file(hosts: &[SeenHost], query: &HostQuery, most: Option<usize>) -> Result<Vec<SeenHost>, Failure> {
    if query.filter.as_ref().is_some_and(|filter| filter.asks_for(&Field::Silence)) {
        return Err(Failure::new(Exit::Usage, "for how long a host was silent is not in a file of hosts")
            .help("leave `silence` out of the filter, or ask a service: without --hosts-file"));
    }
    let is_wanted = |host: &&SeenHost| {
        let facts = Facts::of(host.record(), &mut Texts::default());
        query.matches(&host.seen(&facts))
    };
    Ok(first(hosts.iter().filter(is_wanted).cloned().collect(), &query.sort, most))
}

/// The first `most` of hosts in an order. Services have looked at what is wanted of them: how long a host was silent, which
/// may be asked for, only they know.
pub fn first(hosts: Vec<SeenHost>, sort: &Sort, most: Option<usize>) -> Vec<SeenHost> {
    let mut texts = Texts::default();
    let seen: Vec<(SeenHost, Facts)> = hosts
        .into_iter()
        .map(|host| {
            let facts = Facts::of(host.record(), &mut texts);
            (host, facts)
        })
        .collect();
    let mut order: Vec<usize> = (0..seen.len()).collect();
    let place = |number: usize| {
        let (host, facts) = &seen[number];
        sort.place(&host.seen(facts))
    };
    order.sort_by(|one, other| sort.compare(&place(*one), &place(*other)));
    order.truncate(most.unwrap_or(usize::MAX));
    order.into_iter().map(|number| seen[number].0.clone()).collect()
}

/// The hosts in a file: a signed record on every line; empty lines and those with `#` first are passed over.
fn read_hosts(path: &Path) -> Result<Vec<SeenHost>, Failure> {
    let text = files::read_text("the list of hosts", path, FILE_BYTES_MAX)?;
    let mut hosts = Vec::new();
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    for (number, line) in lines {
        let at = || format!("{}: line {number}", path.display());
        let signed: SignedRecord = serde_json::from_str(line).map_err(|error| {
            Failure::new(Exit::Failed, format!("{}: it is no signed record of a host: {error}", at()))
                .help("`tycoon sls export` writes such a list")
        })?;
        let record = signed.verify().map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", at())))?;
        let issued_at = record.record().issued_at;
        hosts.push(SeenHost {
            record,
            first_seen: issued_at,
            last_seen: issued_at,
            is_live: true,
            reach: Reach::default(),
            uptime: tycoon_sls::uptime::Uptime::default().fractions(),
        });
    }
    Ok(hosts)
}
