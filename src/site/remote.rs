//! A real site: its bank and its hosts are on the network, and every call is signed.
//!
//! Which hosts there are, a description with `network-host`s says, each with its address and its key; without a
//! description, the service location services that `tycoon init` has pinned: of what they know, hosts are used that the
//! pinned site admits and that a service has verified at their address (the [directory]). The bank is pinned too.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tycoon_bank::BankClient;
use tycoon_executor::HostLink;
use tycoon_executor::inventory::ask_all;
use tycoon_executor::link::{BankLink, LinkError, SiteHost};
use tycoon_lang::site::Site;
use tycoon_market::{AccountId, HostId, HostName, PublicKey, Timestamp};
use tycoon_rpc::{CallError, Caller, Clock, HttpSettings, HttpTransport, RetryPolicy, Signer};
use tycoon_sls::HostQuery;
use tycoon_sls::client::SeenHost;
use tycoon_sls::record::HostRecord;
use tycoon_xen::client::HostClient;
use tycoon_xen::market::HostInfo;
use tycoon_xen::remote::RemoteHypervisor;

use super::directory::{self, Directory};
use super::door::{Door, SshWay};
use super::links::{BankOfCaller, HostOfCaller, HostOutOfReach};
use super::remembered::{Remembered, RememberedHost};
use super::world::Surroundings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::Identity;
use crate::output::Output;
use crate::parties::Parties;
use crate::time::local;

/// A host at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHost {
    /// Where it answers.
    pub url: String,
    /// The key it must have.
    pub key: PublicKey,
    /// Where it is reached over SSH, where that is known.
    pub ssh: Option<SshWay>,
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
            let host_key = host.ssh_key.as_deref().map(str::parse).transpose().map_err(|error| {
                Failure::new(Exit::Usage, format!("{file}: the SSH key of the host at {} is none: {error}", host.url))
                    .help("write an ed25519 key as in ssh_host_ed25519_key.pub: ssh-key \"ssh-ed25519 AAAA…\"")
            })?;
            let ssh = host.ssh.clone().map(|place| SshWay { place, host_key });
            hosts.push(KnownHost { url: host.url.clone(), key, ssh });
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
    /// What was found on earlier days.
    remembered: Mutex<Remembered>,
    output: Output,
    /// True once it was said that no service answers.
    is_told: AtomicBool,
    signer: Arc<dyn Signer>,
    settings: HttpSettings,
    clock: Arc<dyn Clock>,
    /// The way into hosts over SSH.
    door: Option<Arc<Door>>,
}

impl RemoteSite {
    /// The same site, into whose hosts this way leads.
    #[must_use]
    pub fn with_door(self, door: Door) -> Self {
        Self { door: Some(Arc::new(door)), ..self }
    }

    /// What belongs to the user on one of the hosts that were seen.
    pub fn own_machine(&self, id: &HostId) -> Result<RemoteHypervisor, Failure> {
        let known = self.seen().get(id).cloned();
        let url = known.as_ref().map(|known| known.url.clone()).unwrap_or_default();
        let (Some(way), Some(door)) = (known.and_then(|known| known.ssh), &self.door) else {
            return Err(Failure::new(
                Exit::Failed,
                format!("where the host at {url} is reached over SSH is not known"),
            )
            .help(
                "its owner says it with `tycoon host serve --ssh PLACE --ssh-key KEY`; in a file of the site, write \
                     ssh \"tycoon@host1.example.org:22\" and ssh-key \"ssh-ed25519 AAAA…\" into its `network-host`",
            ));
        };
        door.machine(&url, &way)
    }

    /// The link to a host.
    fn link(&self, client: HostClient, known: &KnownHost) -> Arc<dyn HostLink> {
        let link = HostOfCaller::elsewhere(client);
        match (&self.door, &known.ssh) {
            (Some(door), Some(way)) => Arc::new(link.with_door(door.clone(), &known.url, way.clone())),
            _ => Arc::new(link),
        }
    }

    /// The site of the user. Her bank is asked for her account; where it is down, the one it told last is hers.
    pub fn open(
        choice: RemoteChoice,
        folders: &Folders,
        identity: &Identity,
        surroundings: &Surroundings,
        output: &Output,
    ) -> Result<Self, Failure> {
        let mut remembered = Remembered::read(&folders.site());
        let own_key = identity.key.public_key();
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
        let mut bank = BankClient::new(caller.clone());
        let account = match bank.own_account() {
            Ok(account) => {
                remembered.note_account(own_key, account.id, output);
                account.id
            }
            // Without an account there is nothing to pay with, but prices can be looked at.
            Err(CallError::Refused(_)) => identity.account(),
            Err(error) => match remembered.account(&own_key) {
                Some(account) => {
                    // It was just asked patiently: what needs it all the same does not wait as long again.
                    bank = BankClient::new(caller.with_retries(RetryPolicy::NEVER));
                    account
                }
                None => {
                    return Err(crate::commands::bank::access::failed(&error)
                        .context(&format!("the bank at {url} does not tell which account is yours")));
                }
            },
        };
        Ok(Self {
            account,
            bank: BankOfCaller::new(bank, account),
            source,
            seen: Mutex::default(),
            remembered: Mutex::new(remembered),
            output: output.clone(),
            is_told: AtomicBool::new(false),
            signer: identity.key.clone(),
            settings,
            clock: surroundings.clock.clone(),
            door: None,
        })
    }

    /// A client of the host at an address, with the user's key.
    pub fn client(&self, host: &KnownHost) -> Result<HostClient, LinkError> {
        let settings = HttpSettings { known_key: Some(host.key), ..self.settings.clone() };
        let transport = HttpTransport::new(&host.url, &settings)
            .map_err(|error| LinkError::Unreachable { reason: error.to_string() })?;
        let caller = Caller::new(self.signer.clone(), host.key, Arc::new(transport))
            .with_clock(self.clock.clone())
            .with_retries(RetryPolicy::NETWORK);
        Ok(HostClient::new(caller))
    }

    /// A client of one of the hosts that were seen; why there is none where no way leads to it.
    pub fn client_of(&self, id: &HostId) -> Result<HostClient, LinkError> {
        let known = self.seen().get(id).cloned();
        self.client(&known.ok_or_else(|| LinkError::Unreachable { reason: "no way to it is known".to_owned() })?)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<HostId, KnownHost>> {
        // It is only added to, so that a panic elsewhere leaves it good.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        // What is remembered can be had again.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host as it is remembered, or was found now.
    fn of_memory(&self, id: HostId, host: &RememberedHost) -> SiteHost {
        let known = KnownHost { url: host.url.clone(), key: host.key, ssh: host.ssh.clone() };
        let link: Arc<dyn HostLink> = match self.client(&known) {
            Ok(client) => self.link(client, &known),
            Err(error) => Arc::new(HostOutOfReach { reason: format!("{}: {error}", known.url) }),
        };
        self.seen().insert(id, known);
        SiteHost {
            id,
            name: host.name.clone(),
            owner: host.owner,
            key: host.key,
            is_simulated: host.is_simulated,
            architecture: host.architecture.clone(),
            labels: host.labels.clone(),
            link,
        }
    }

    /// What services list, which is remembered; what they listed last where none answers.
    fn listed(&self, directory: &Directory) -> Result<Vec<SiteHost>, LinkError> {
        let now = self.clock.now();
        match directory.hosts(&HostQuery::default()) {
            Ok(listed) => {
                let found: BTreeMap<HostId, RememberedHost> =
                    listed.planned.iter().map(|seen| (seen.record().host, memory_of(seen, now))).collect();
                self.remembered().note_list(*directory.site(), &found, now, &self.output);
                Ok(found.iter().map(|(id, host)| self.of_memory(*id, host)).collect())
            }
            Err(error) => {
                let remembered = self.remembered();
                let Some((at, hosts)) = remembered.last_list(directory.site(), now) else { return Err(error) };
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    self.output.message(&format!(
                        "note: no service location service is of use ({error}); the hosts are those of {}",
                        local(at)
                    ));
                }
                Ok(hosts.into_iter().map(|(id, host)| self.of_memory(*id, host)).collect())
            }
        }
    }

    /// Every host that is known beside those of the site now: what services list and the site does not admit, and what
    /// was found on earlier days. Ordered by name.
    pub fn other_hosts(&self, hosts: &[SiteHost]) -> Vec<SiteHost> {
        let mut others: BTreeMap<HostId, RememberedHost> =
            self.remembered().hosts().map(|(id, host)| (*id, host.clone())).collect();
        if let OpenSource::Services(directory) = &self.source
            && let Ok(listed) = directory.hosts(&HostQuery::default())
        {
            let now = self.clock.now();
            let with_address = listed.others.iter().filter(|seen| directory::url(seen).is_some());
            others.extend(with_address.map(|seen| (seen.record().host, memory_of(seen, now))));
        }
        for host in hosts {
            others.remove(&host.id);
        }
        let mut others: Vec<SiteHost> = others.iter().map(|(id, host)| self.of_memory(*id, host)).collect();
        others.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        others
    }

    fn introduced(&self, known: &KnownHost) -> Result<(HostClient, HostInfo), LinkError> {
        let client = self.client(known)?;
        let info = client.info().map_err(LinkError::from)?;
        let is_itself = info.key == known.key && info.host == HostId::of(&known.key);
        if is_itself {
            Ok((client, info))
        } else {
            Err(LinkError::Nonsense { reason: "it says it is another host".into() })
        }
    }

    /// Remembers where the hosts of a description are that answered.
    fn remember(&self, listed: &[KnownHost], answers: &[Result<(HostClient, HostInfo), LinkError>]) {
        let now = self.clock.now();
        let told = listed.iter().zip(answers).filter_map(|(known, answer)| {
            let (_, info) = answer.as_ref().ok()?;
            let host = RememberedHost {
                name: info.name.clone(),
                url: known.url.clone(),
                key: known.key,
                ssh: known.ssh.clone(),
                owner: info.owner,
                is_simulated: info.is_simulated,
                architecture: info.architecture.clone(),
                labels: info.labels.clone(),
                seen_at: now,
            };
            Some((HostId::of(&known.key), host))
        });
        self.remembered().note_hosts(&told.collect(), now, &self.output);
    }

    fn site_host(&self, known: &KnownHost, answer: Result<(HostClient, HostInfo), LinkError>) -> SiteHost {
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
                link: self.link(client, known),
            },
            Err(error) => SiteHost {
                id,
                // A host that was seen before keeps its name while it is silent.
                name: self.remembered().host(&id).map_or_else(|| name_of(&known.url, &id), |host| host.name.clone()),
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
                self.remember(listed, &answers);
                listed.iter().zip(answers).map(|(known, answer)| self.site_host(known, answer)).collect()
            }
            OpenSource::Services(directory) => self.listed(directory)?,
        };
        hosts.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(hosts)
    }

    fn other_host(&self, id: &HostId) -> Option<SiteHost> {
        // Where a service heard of it last is newer than what is remembered.
        let heard = match &self.source {
            OpenSource::Services(directory) => directory.host(id).map(|seen| memory_of(&seen, self.clock.now())),
            OpenSource::Listed(_) => None,
        };
        let known = heard.or_else(|| self.remembered().host(id).cloned())?;
        Some(self.of_memory(*id, &known))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

/// The SSH host key of a record, where it is one that is pinned.
fn host_key_of(record: &HostRecord) -> Option<PublicKey> {
    record.ssh_host_key.as_deref()?.parse().ok()
}

/// A host by its record, which it has signed.
fn memory_of(seen: &SeenHost, now: Timestamp) -> RememberedHost {
    let record = seen.record();
    RememberedHost {
        name: record.name.clone(),
        url: directory::url(seen).cloned().unwrap_or_default(),
        key: record.key,
        ssh: record.ssh.clone().map(|place| SshWay { place, host_key: host_key_of(record) }),
        owner: record.owner,
        is_simulated: record.is_simulated,
        architecture: record.architecture.clone(),
        labels: record.labels.clone(),
        seen_at: now,
    }
}
