//! Where to, as whom, and how long to wait for it.

use std::path::PathBuf;
use std::time::Duration;

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// The user there.
    pub user: String,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The name under which the host's key is known, where it is another than `host`.
    pub host_key_alias: Option<String>,
    /// The fingerprint of the host's key (`SHA256:…`), where it is known from elsewhere. Then no list is asked.
    pub host_key: Option<String>,
    /// Files with private keys, in the order in which they are tried. Those that are not there are passed over.
    pub identities: Vec<PathBuf>,
    /// The socket of the user's agent. Its keys are tried first.
    pub agent: Option<PathBuf>,
    /// True where of the agent's keys only those are tried whose public half (`FILE.pub`) belongs to `identities`.
    pub identities_only: bool,
    /// The only one of the agent's keys that is tried, as OpenSSH writes public keys; where there is one, `identities_only`
    /// says nothing about the agent.
    pub agent_key: Option<String>,
    /// What to do where the user is not let in, where that is known better than by OpenSSH's users.
    pub entry_remedy: Option<String>,
    /// A command whose input and output lead to the host, instead of a connection of our own. A shell reads it.
    pub proxy: Option<String>,
    /// Lists of known hosts. Those that are not there are passed over.
    pub known_hosts: Vec<PathBuf>,
    /// Where the keys of hosts are noted that are seen for the first time. It is read like the others; without it such
    /// hosts are refused.
    pub accept_new_into: Option<PathBuf>,
    /// How long to wait.
    pub times: SshTimes,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SshTimes {
    /// For the network.
    pub connect: Duration,
    /// For the exchange of keys.
    pub handshake: Duration,
    /// For the user to be let in, all keys together. An agent may ask its user.
    pub authenticate: Duration,
    /// For a command to be started.
    pub start: Duration,
    /// How often a sign of life is asked of a quiet host; whole seconds, 2 or more.
    pub keep_alive: Duration,
    /// A host from which nothing comes for so long, although asked, is taken for gone.
    pub silence: Duration,
}

impl Default for SshTimes {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(20),
            authenticate: Duration::from_secs(60),
            start: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            silence: Duration::from_secs(60),
        }
    }
}

impl SshTarget {
    /// A target with nothing but its place: no keys, no lists.
    pub fn new(user: &str, host: &str, port: u16) -> Self {
        Self {
            user: user.to_owned(),
            host: host.to_owned(),
            port,
            host_key_alias: None,
            host_key: None,
            identities: Vec::new(),
            agent: None,
            identities_only: false,
            agent_key: None,
            entry_remedy: None,
            proxy: None,
            known_hosts: Vec::new(),
            accept_new_into: None,
            times: SshTimes::default(),
        }
    }

    /// The name under which lists know the host.
    pub(super) fn known_as(&self) -> &str {
        self.host_key_alias.as_deref().unwrap_or(&self.host)
    }
}
