//! The hosts of a real site as they were found last, and whose account the user's is: enough to look after a pool while
//! services are down, or after a host has left the site.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tycoon_market::{AccountId, HostId, HostName, PublicKey, TimeSpan, Timestamp};

use super::door::SshWay;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// The most hosts that are remembered; the ones seen last stay.
const HOSTS_MAX: usize = 20_000;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How long a list of hosts may stand in for one that cannot be had.
const LIST_GOOD_FOR: TimeSpan = TimeSpan::from_seconds(86_400);
/// How old what is on disk may be before the same is written again.
const REFRESHED_AFTER: TimeSpan = TimeSpan::from_seconds(300);

/// A host, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedHost {
    /// Its name.
    pub name: HostName,
    /// Where it takes calls.
    pub url: String,
    /// Its key.
    pub key: PublicKey,
    /// Where it is reached over SSH, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshWay>,
    /// Who earns what it charges.
    pub owner: AccountId,
    /// True where it exists only in a process.
    pub is_simulated: bool,
    /// Its architecture.
    pub architecture: String,
    /// The owner's labels.
    pub labels: BTreeMap<String, String>,
    /// When it was found last.
    #[serde(alias = "listed_at")]
    pub seen_at: Timestamp,
}

/// What a site listed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct List {
    /// The key of the site.
    site: PublicKey,
    /// When that was.
    at: Timestamp,
    /// Its hosts.
    hosts: BTreeSet<HostId>,
}

/// What is written down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Content {
    /// The user's account at the bank, by the key it was told for.
    account: Option<(PublicKey, AccountId)>,
    #[serde(default)]
    list: Option<List>,
    hosts: BTreeMap<HostId, RememberedHost>,
}

/// The memory of one site.
#[derive(Debug)]
pub struct Remembered {
    path: PathBuf,
    content: Content,
}

impl Remembered {
    /// What is remembered in the folder of the site. It can be had again, so that a file that cannot be read is none.
    pub fn read(folder: &Path) -> Self {
        let path = folder.join("hosts.json");
        let is_small = std::fs::metadata(&path).is_ok_and(|facts| facts.len() <= FILE_BYTES_MAX);
        let bytes = if is_small { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let content = serde_json::from_slice(&bytes).unwrap_or_default();
        Self { path, content }
    }

    /// The account of this key, as the bank told last.
    pub fn account(&self, key: &PublicKey) -> Option<AccountId> {
        self.content.account.filter(|(of, _)| of == key).map(|(_, account)| account)
    }

    /// Notes whose account this key's is.
    pub fn note_account(&mut self, key: PublicKey, account: AccountId, output: &Output) {
        if self.account(&key) != Some(account) {
            self.content.account = Some((key, account));
            self.write(output);
        }
    }

    /// A host that was found at any time.
    pub fn host(&self, id: &HostId) -> Option<&RememberedHost> {
        self.content.hosts.get(id)
    }

    /// All of them.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostId, &RememberedHost)> {
        self.content.hosts.iter()
    }

    /// The hosts as this site listed them last, and when that was; `None` where that is too long ago.
    pub fn last_list(&self, site: &PublicKey, now: Timestamp) -> Option<(Timestamp, Vec<(&HostId, &RememberedHost)>)> {
        let list = self.content.list.as_ref().filter(|list| list.site == *site)?;
        let is_good = now.since(list.at) <= LIST_GOOD_FOR;
        is_good.then(|| (list.at, self.hosts().filter(|(id, _)| list.hosts.contains(*id)).collect()))
    }

    /// Notes what a site listed now.
    pub fn note_list(
        &mut self,
        site: PublicKey,
        found: &BTreeMap<HostId, RememberedHost>,
        now: Timestamp,
        output: &Output,
    ) {
        let list = List { site, at: now, hosts: found.keys().copied().collect() };
        let is_same = |before: &List| before.site == list.site && before.hosts == list.hosts;
        let is_new = |before: &List| now.since(before.at) < REFRESHED_AFTER;
        let is_noted = self.content.list.as_ref().is_some_and(|before| is_same(before) && is_new(before));
        if !is_noted || !self.is_noted(found, now) {
            self.content.list = Some(list);
            self.note(found, now, output);
        }
    }

    /// Notes hosts that were found now, and of which no site says that they are its own.
    pub fn note_hosts(&mut self, found: &BTreeMap<HostId, RememberedHost>, now: Timestamp, output: &Output) {
        if !self.is_noted(found, now) {
            self.note(found, now, output);
        }
    }

    /// True where all that is said of these hosts was written down a short while ago.
    fn is_noted(&self, found: &BTreeMap<HostId, RememberedHost>, now: Timestamp) -> bool {
        found.iter().all(|(id, host)| {
            self.host(id).is_some_and(|before| {
                let is_new = now.since(before.seen_at) < REFRESHED_AFTER;
                is_new && *host == RememberedHost { seen_at: host.seen_at, ..before.clone() }
            })
        })
    }

    fn note(&mut self, found: &BTreeMap<HostId, RememberedHost>, now: Timestamp, output: &Output) {
        let found = found.iter().map(|(id, host)| (*id, RememberedHost { seen_at: now, ..host.clone() }));
        self.content.hosts.extend(found);
        while self.content.hosts.len() > HOSTS_MAX {
            let oldest = self.content.hosts.iter().min_by_key(|(_, host)| host.seen_at).map(|(id, _)| *id);
            let Some(oldest) = oldest else { break };
            self.content.hosts.remove(&oldest);
        }
        self.write(output);
    }

    /// Nothing depends on it, so that a full disk keeps no command from its work.
    fn write(&self, output: &Output) {
        let written = serde_json::to_vec(&self.content)
            .map_err(|error| Failure::from_error(crate::exit::Exit::Failed, &error))
            .and_then(|bytes| files::write(&self.path, &bytes, 0o600));
        if let Err(failure) = written {
            output.message(&format!("note: where the hosts are cannot be written down: {}", failure.message()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{ColorChoice, Global};
    use tycoon_rpc::{SecretKey, Signer as _};

    fn silent() -> Output {
        Output::new(&Global { json: false, quiet: true, site: None, color: ColorChoice::Never })
    }

    fn host(seed: u8, name: &str) -> (HostId, RememberedHost) {
        let key = SecretKey::from_seed(&[seed; 32]).public_key();
        let remembered = RememberedHost {
            name: name.parse().unwrap(),
            url: format!("http://{name}:7403"),
            key,
            ssh: None,
            owner: AccountId::of(&key),
            is_simulated: false,
            architecture: "x86_64".to_owned(),
            labels: BTreeMap::new(),
            seen_at: Timestamp::from_seconds(0),
        };
        (HostId::of(&key), remembered)
    }

    #[test]
    fn a_host_that_left_is_remembered_and_the_last_list_is_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = silent();
        let (one, two, site) = (host(1, "one"), host(2, "two"), host(9, "site").1.key);
        let mut remembered = Remembered::read(folder.path());
        let at = Timestamp::from_seconds;
        remembered.note_list(site, &BTreeMap::from([one.clone(), two.clone()]), at(100), &output);
        remembered.note_list(site, &BTreeMap::from([two.clone()]), at(110), &output);
        let again = Remembered::read(folder.path());
        assert_eq!(again.host(&one.0).map(|host| host.url.as_str()), Some("http://one:7403"));
        let (when, list) = again.last_list(&site, at(200)).unwrap();
        assert_eq!((when, list.len(), *list[0].0), (at(110), 1, two.0));
        assert!(again.last_list(&site, at(110 + 86_401)).is_none(), "a day later it is too old to plan by");
    }

    #[test]
    fn the_list_of_a_site_is_its_own_word() {
        let folder = tempfile::tempdir().unwrap();
        let output = silent();
        let (one, two) = (host(1, "one"), host(2, "two"));
        let (site, other) = (host(9, "site").1.key, host(8, "other").1.key);
        let mut remembered = Remembered::read(folder.path());
        let now = Timestamp::from_seconds(100);
        remembered.note_list(site, &BTreeMap::from([one.clone()]), now, &output);
        // The hosts of a description, looked at in the same moment.
        remembered.note_hosts(&BTreeMap::from([two.clone()]), now, &output);
        let again = Remembered::read(folder.path());
        assert!(again.host(&two.0).is_some(), "where it is is known");
        let (_, list) = again.last_list(&site, now).unwrap();
        assert_eq!(list.iter().map(|(id, _)| **id).collect::<Vec<_>>(), [one.0], "the site does not admit it");
        assert!(again.last_list(&other, now).is_none(), "another site has said nothing");
    }

    #[test]
    fn an_account_is_remembered_for_the_key_it_was_told_for() {
        let folder = tempfile::tempdir().unwrap();
        let (key, other) = (SecretKey::from_seed(&[1; 32]).public_key(), SecretKey::from_seed(&[2; 32]).public_key());
        let mut remembered = Remembered::read(folder.path());
        remembered.note_account(key, AccountId::of(&other), &silent());
        let again = Remembered::read(folder.path());
        assert_eq!(again.account(&key), Some(AccountId::of(&other)));
        assert_eq!(again.account(&other), None);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_none() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("hosts.json"), "{").unwrap();
        assert_eq!(Remembered::read(folder.path()).hosts().count(), 0);
    }
}
