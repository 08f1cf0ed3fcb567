//! Why something over SSH did not work. Every message says what, where, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why something over SSH did not work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SshError {
    /// There is no way to the host.
    #[error("{host} port {port} cannot be reached: {reason}; check the name, the network and that the host is up")]
    Unreachable {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// Nothing listens there.
    #[error("{host} refuses connections to port {port}; is sshd running there, and is this its port?")]
    Refused {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// It took too long.
    #[error("{host}: {what} took longer than {} s; is the host overloaded, or is something between that drops packets?", .after.as_secs_f64())]
    TimedOut {
        /// The host.
        host: String,
        /// What took so long.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The other side is no SSH server that we can talk to.
    #[error("{host} port {port} and this program cannot agree on an SSH connection: {reason}")]
    Handshake {
        /// The host.
        host: String,
        /// The port.
        port: u16,
        /// Why.
        reason: String,
    },
    /// The host's key is in no list.
    #[error("the key of {host} is not known: {key_type} {fingerprint}; {remedy}")]
    HostKeyUnknown {
        /// The host, as lists of known hosts name it.
        host: String,
        /// The type of its key.
        key_type: String,
        /// The fingerprint of its key: `SHA256:…`.
        fingerprint: String,
        /// How to accept it.
        remedy: String,
    },
    /// The host shows another key than the known one. Nothing was said to it.
    #[error(transparent)]
    HostKeyChanged(Box<ChangedHostKey>),
    /// The host does not let this user in.
    #[error("{host} does not let {user} in with {}; {remedy}", keys_tried(.tried))]
    Authentication {
        /// The host.
        host: String,
        /// The user.
        user: String,
        /// The keys that were tried, with what became of them.
        tried: Vec<String>,
        /// What to do about it.
        remedy: String,
    },
    /// Something of the user's own settings is in the way.
    #[error("{what}: {reason}")]
    Settings {
        /// What is not right.
        what: String,
        /// What is wrong with it, and what to do about it.
        reason: String,
    },
    /// A file of the user's cannot be used.
    #[error("the file {} cannot be used: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why, and what to do about it.
        reason: String,
    },
    /// A command could not be started.
    #[error("{host} does not start the command `{command}`: {reason}")]
    Channel {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// Why.
        reason: String,
    },
    /// A command ended, and not well.
    #[error("the command `{command}` on {host} {ended}{}", complaint(.stderr))]
    Command {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// How it ended.
        ended: String,
        /// The last of what it wrote as errors.
        stderr: String,
    },
    /// A command writes more than it may.
    #[error("the command `{command}` on {host} writes more than {bytes_max} bytes")]
    TooMuchOutput {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// What is allowed.
        bytes_max: usize,
    },
    /// The connection is gone.
    #[error("the connection to {host} ended: {reason}")]
    Closed {
        /// The host.
        host: String,
        /// Why.
        reason: String,
    },
}

/// A host that shows another key than the known one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "THE KEY OF {host} HAS CHANGED. It was {expected} ({place}), and now it is {found} ({key_type}). Either the host was \
     installed anew, or somebody else answers in its place. Nothing was sent to it. If its owner confirms the new \
     fingerprint, {remedy}"
)]
pub struct ChangedHostKey {
    /// The host, as lists of known hosts name it.
    pub host: String,
    /// The type of the key that it shows.
    pub key_type: String,
    /// The fingerprint that is known.
    pub expected: String,
    /// The fingerprint of the key that it shows.
    pub found: String,
    /// Where the known one stands.
    pub place: String,
    /// How to accept the new one.
    pub remedy: String,
}

impl SshError {
    /// True where it does not pass by itself: keys and settings.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::HostKeyUnknown { .. }
                | Self::HostKeyChanged { .. }
                | Self::Authentication { .. }
                | Self::Settings { .. }
                | Self::File { .. }
        )
    }
}

fn keys_tried(tried: &[String]) -> String {
    if tried.is_empty() { "any key, for there is none to try".to_owned() } else { tried.join(", ") }
}

fn complaint(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}
