//! The way to a real host: SSH, and on it the session that serves the host's hypervisor.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tycoon_executor::ssh::{SshConnection, SshError, SshSurroundings, SshTarget};
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
    let (user, place) = match destination.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, destination),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => {
            let port = port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(|| {
                Failure::new(Exit::Usage, format!("`{port}` in `{destination}` is no port"))
                    .help("write USER@HOST or USER@HOST:PORT, with a port from 1 to 65535")
            })?;
            (host, Some(port))
        }
        _ => (place, None),
    };
    let surroundings = SshSurroundings {
        user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
        home: folders.home.clone(),
        agent: std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        program: PathBuf::from("ssh"),
        config: config.map(Path::to_owned),
    };
    let failed = |error| Failure::from_error(Exit::Failed, &error);
    let mut target = SshTarget::resolve(host, user, port, &surroundings).map_err(failed)?;
    let own_list = folders.known_hosts();
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
            complaint: Arc::new(move || {
                let said = status.stderr();
                (!said.trim().is_empty()).then(|| said.trim().to_owned())
            }),
        })
    }
}
