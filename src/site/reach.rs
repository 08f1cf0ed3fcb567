//! The way to a real host: SSH, and on it the session that serves the host's hypervisor.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tycoon_executor::ssh::{self, SshConnection, SshError, SshTarget};
use tycoon_xen::remote::{ConnectError, Connector, Stream};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;

/// Where `[user@]host[:port]` leads, by OpenSSH's configuration. Keys of new hosts are noted in a list of our own where
/// `accept_new` says so; that list is read in any case.
pub fn target(
    destination: &str,
    config: Option<&Path>,
    folders: &Folders,
    accept_new: bool,
) -> Result<SshTarget, Failure> {
    let own_list = folders.known_hosts();
    let mut target =
        ssh::resolve(destination, config).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    target.known_hosts.push(own_list.clone());
    if accept_new {
        crate::folders::make(&folders.config)?;
        target.accept_new_into = Some(own_list);
    }
    Ok(target)
}

/// Opens sessions on one host, all on one connection.
pub struct HostConnector {
    name: String,
    target: SshTarget,
    command: String,
    connection: Mutex<Option<SshConnection>>,
}

impl HostConnector {
    /// Sessions of `program` on the host called `name` here.
    pub fn new(name: &str, target: SshTarget, program: &str) -> Self {
        // The path comes from a checked description: an absolute path without blanks or quotes of its own.
        let command = format!("'{}' host session", program.replace('\'', r"'\''"));
        Self { name: name.to_owned(), target, command, connection: Mutex::default() }
    }

    fn connection(&self) -> Result<SshConnection, SshError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = connection.as_ref().filter(|open| open.is_open()) {
            return Ok(open.clone());
        }
        let new = SshConnection::connect(&self.target)?;
        *connection = Some(new.clone());
        Ok(new)
    }
}

impl Connector for HostConnector {
    fn host(&self) -> &str {
        &self.name
    }

    fn open(&self) -> Result<Stream, ConnectError> {
        let failed = |error: SshError| ConnectError { is_lasting: error.is_lasting(), message: error.to_string() };
        let channel = self.connection().and_then(|connection| connection.exec(&self.command)).map_err(failed)?;
        let status = Arc::new(channel.status);
        let closing = status.clone();
        Ok(Stream {
            reader: Box::new(channel.reader),
            writer: Box::new(channel.writer),
            close: Arc::new(move || closing.close()),
            complaint: Box::new(move || {
                let said = status.stderr();
                (!said.trim().is_empty()).then(|| said.trim().to_owned())
            }),
        })
    }
}
