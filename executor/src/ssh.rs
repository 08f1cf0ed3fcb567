//! SSH to hosts: one connection and one thread per host, any number of channels on it.
//!
//! [`SshConnection`] owns a thread that alone touches libssh2, which serialises a session anyway. The thread never
//! waits for anything but `poll(2)`: a slow command, or a slow reader of its output, holds up nobody else. A channel's
//! two ends are ordinary streams ([`ExecChannel`]) that other threads read and write.
//!
//! Host keys are checked before anything is said about the user. A changed key is a hard stop.

pub mod channel;
pub mod connection;
pub mod error;
pub mod resolve;
pub mod target;

mod authenticate;
mod ciphers;
mod command;
mod dial;
mod known_hosts;
mod pump;
mod worker;

pub use channel::{ExecChannel, ExecReader, ExecStatus, ExecWriter, Exit};
pub use command::{Output, RunLimits};
pub use connection::SshConnection;
pub use error::{ChangedHostKey, SshError};
pub use resolve::SshSurroundings;
pub use target::{SshTarget, SshTimes};
