//! A real site: its bank and its hosts are on the network, and every call is signed.
//!
//! Which hosts there are, a description with `network-host`s says, each with its address and its key; without a
//! description, the service location services that `tycoon init` has pinned: of what they know, hosts are used that the
//! pinned site admits and that a service has verified at their address (the [directory]). The bank is pinned too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tycoon_bank::BankClient;
use tycoon_executor::HostLink;
use tycoon_executor::inventory::ask_all;
use tycoon_executor::link::{BankLink, LinkError, SiteHost};
use tycoon_lang::site::Site;
use tycoon_market::{AccountId, HostId, HostName, PublicKey};
use tycoon_rpc::{CallError, Caller, Clock, HttpSettings, HttpTransport, RetryPolicy, Signer};
use tycoon_sls::HostQuery;
use tycoon_sls::client::SeenHost;
use tycoon_xen::client::HostClient;
use tycoon_xen::market::HostInfo;

use super::directory::{self, Directory};
use super::links::{BankOfCaller, HostOfCaller, HostOutOfReach, link_error};
use super::world::Surroundings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::Identity;
use crate::output::Output;
use crate::parties::Parties;

/// A host at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Where it answers.
    pub url: String,
    /// The key it must have.
    pub key: PublicKey,
}

/// Which real site a command works on.
pub struct RemoteChoice {
    bank: (String, PublicKey),
    source: Source,
    parties: Parties,
}

/// Where hosts are known from.
enum Source {
    /// A description of the site.
    Listed(Vec<KnownHost>),
    /// Service location services.
    Services(Vec<(String, PublicKey)>),
}

impl RemoteChoice {
    /// The real site that the description, or what is pinned, points at; `None` where that is an embedded one.
    pub fn of(description: &Site, output: &Output) -> Result<Option<Self>, Failure> {
        if description.network_hosts.is_empty() {
            if output.site.is_some() {
                return Ok(None);
            }
            let parties = Parties::read(&Folders::find("remote")?.config)?;
            return Ok(match &parties.bank {
                Some(bank) if !parties.slses.is_empty() => {
                    let (bank, source) = (bank.clone(), Source::Services(parties.slses.clone()));
                    Some(Self { bank, source, parties })
                }
                _ => None,
            });
        }
        let file = output.site.as_deref().unwrap_or(&description.name);
        if let Some(host) = description.hosts.first() {
            return Err(Failure::new(
                Exit::Usage,
                format!("{file}: the site `{}` has hosts on the network beside `{}`", description.name, host.address),
            )
            .help(
                "hosts on the network are paid by a bank on the network, others by that of this process; use two sites",
            ));
        }
        let parties = Parties::read(&Folders::find("remote")?.config)?;
        let Some(bank) = parties.bank.clone() else {
            return Err(Failure::new(Exit::Usage, "the hosts on the network are paid by a bank, and none is pinned")
                .help("pin the site's bank once: `tycoon init --bank URL`"));
        };
        let mut hosts = Vec::with_capacity(description.network_hosts.len());
        for host in &description.network_hosts {
            let key = host.key.parse().map_err(|error| {
                Failure::new(Exit::Usage, format!("{file}: the key of the host at {} is none: {error}", host.url))
                    .help("write it as `tycoon host serve` prints it: key \"ssh-ed25519 AAAA…\"")
            })?;
            hosts.push(KnownHost { url: host.url.clone(), key });
        }
        Ok(Some(Self { bank, source: Source::Listed(hosts), parties }))
    }

    /// The name under which what is remembered of the site is kept: sites are told apart by their banks.
    pub fn name(&self) -> String {
        format!("bank-{}", &AccountId::of(&self.bank.1).to_string()[..16])
    }
}

/// Where hosts are known from, ready to be asked.
enum OpenSource {
    Listed(Vec<KnownHost>),
    Services(Directory),
}

/// A real site.
pub struct RemoteSite {
    account: AccountId,
    bank: BankOfCaller,
    source: OpenSource,
    /// Where hosts were when they were looked for last.
    seen: Mutex<BTreeMap<HostId, KnownHost>>,
    signer: Arc<dyn Signer>,
    settings: HttpSettings,
    clock: Arc<dyn Clock>,
}

impl RemoteSite {
    /// The site of the user. Her bank is asked for her account.
    pub fn open(choice: RemoteChoice, identity: &Identity, surroundings: &Surroundings) -> Result<Self, Failure> {
        let settings = HttpSettings { trusted: choice.parties.trusted.clone(), ..HttpSettings::default() };
        let source = match choice.source {
            Source::Listed(hosts) => OpenSource::Listed(hosts),
            Source::Services(services) => {
                let client = crate::commands::sls::access::client(&services, &identity.key, &settings, surroundings)?;
                OpenSource::Services(Directory::of(client, &choice.parties)?)
            }
        };
        let (url, key) = &choice.bank;
        let transport = HttpTransport::new(url, &settings).map_err(|error| Failure::from_error(Exit::Usage, &error))?;
        let caller = Caller::new(identity.key.clone(), *key, Arc::new(transport))
            .with_clock(surroundings.clock.clone())
            .with_retries(RetryPolicy::NETWORK);
        let bank = BankClient::new(caller);
        let account = match bank.own_account() {
            Ok(account) => account.id,
            // Without an account there is nothing to pay with, but prices can be looked at.
            Err(CallError::Refused(_)) => identity.account(),
            Err(error) => {
                return Err(crate::commands::bank::access::failed(&error)
                    .context(&format!("the bank at {url} does not tell which account is yours")));
            }
        };
        Ok(Self {
            account,
            bank: BankOfCaller::new(bank, account),
            source,
            seen: Mutex::default(),
            signer: identity.key.clone(),
            settings,
            clock: surroundings.clock.clone(),
        })
    }

    /// A client of the host at an address, with the user's key.
    pub fn client(&self, host: &KnownHost) -> Result<HostClient, LinkError> {
        let transport = HttpTransport::new(&host.url, &self.settings)
            .map_err(|error| LinkError::Unreachable { reason: error.to_string() })?;
        let caller = Caller::new(self.signer.clone(), host.key, Arc::new(transport))
            .with_clock(self.clock.clone())
            .with_retries(RetryPolicy::NETWORK);
        Ok(HostClient::new(caller))
    }

    /// A client of one of the hosts that were seen; `None` where there is none of this id, or no way to it.
    pub fn client_of(&self, id: &HostId) -> Option<HostClient> {
        let known = self.seen().get(id).cloned()?;
        self.client(&known).ok()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<HostId, KnownHost>> {
        // It is only added to, so that a panic elsewhere leaves it good.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host by its record, which it has signed.
    fn of_record(&self, seen: &SeenHost) -> SiteHost {
        let record = seen.record();
        // Hosts that are planned have an address for calls.
        let url = directory::url(seen).cloned().unwrap_or_default();
        let known = KnownHost { url, key: record.key };
        let link: Arc<dyn HostLink> = match self.client(&known) {
            Ok(client) => Arc::new(HostOfCaller::elsewhere(client)),
            Err(error) => Arc::new(HostOutOfReach { reason: format!("{}: {error}", known.url) }),
        };
        self.seen().insert(record.host, known);
        SiteHost {
            id: record.host,
            name: record.name.clone(),
            owner: record.owner,
            key: record.key,
            is_simulated: record.is_simulated,
            architecture: record.architecture.clone(),
            labels: record.labels.clone(),
            link,
        }
    }

    fn introduced(&self, known: &KnownHost) -> Result<(HostClient, HostInfo), LinkError> {
        let client = self.client(known)?;
        let info = client.info().map_err(link_error)?;
        let is_itself = info.key == known.key && info.host == HostId::of(&known.key);
        if is_itself {
            Ok((client, info))
        } else {
            Err(LinkError::Nonsense { reason: "it says it is another host".into() })
        }
    }

    fn site_host(known: &KnownHost, answer: Result<(HostClient, HostInfo), LinkError>) -> SiteHost {
        let (id, key) = (HostId::of(&known.key), known.key);
        match answer {
            Ok((client, info)) => SiteHost {
                id,
                name: info.name,
                owner: info.owner,
                key,
                is_simulated: info.is_simulated,
                architecture: info.architecture,
                labels: info.labels,
                link: Arc::new(HostOfCaller::elsewhere(client)) as Arc<dyn HostLink>,
            },
            Err(error) => SiteHost {
                id,
                name: name_of(&known.url, &id),
                owner: AccountId::of(&key),
                key,
                is_simulated: false,
                architecture: String::new(),
                labels: BTreeMap::new(),
                link: Arc::new(HostOutOfReach { reason: format!("{}: {error}", known.url) }),
            },
        }
    }
}

/// What a host is called that has not told its name.
fn name_of(url: &str, id: &HostId) -> HostName {
    let place = url.split("://").last().unwrap_or(url).split(['/', ':']).next().unwrap_or_default();
    // Every id is a good name, and so is nearly every host in an address.
    let fallback = || format!("host-{}", &id.to_string()[..12]).parse();
    match place.parse::<HostName>().or_else(|_| fallback()) {
        Ok(name) => name,
        Err(_) => unreachable!("an id is made of hexadecimal digits, which make a name"),
    }
}

impl tycoon_executor::Site for RemoteSite {
    fn account(&self) -> AccountId {
        self.account
    }

    fn bank(&self) -> &dyn BankLink {
        &self.bank
    }

    fn hosts(&self) -> Result<Vec<SiteHost>, LinkError> {
        let mut hosts: Vec<SiteHost> = match &self.source {
            OpenSource::Listed(listed) => {
                let answers = ask_all(listed, |known| self.introduced(known));
                self.seen().extend(listed.iter().map(|known| (HostId::of(&known.key), known.clone())));
                listed.iter().zip(answers).map(|(known, answer)| Self::site_host(known, answer)).collect()
            }
            OpenSource::Services(directory) => {
                directory.hosts(&HostQuery::default())?.iter().map(|seen| self.of_record(seen)).collect()
            }
        };
        hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(hosts)
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
