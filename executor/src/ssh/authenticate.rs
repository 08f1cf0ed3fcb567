//! Letting the user in, with the keys of an agent and of files.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh2::{ErrorCode, Session};

use super::dial::{Deadline, Dialled, Interrupted, retry};
use super::error::SshError;
use super::known_hosts::fingerprint;
use super::target::SshTarget;

/// The longest file of a private key, in bytes.
const KEY_BYTES_MAX: u64 = 64 << 10;
/// Keys of an agent that are tried. Servers cut off who tries too many.
const AGENT_KEYS_MAX: usize = 12;

/// Lets the user in.
pub(super) fn authenticate(dialled: &mut Dialled, target: &SshTarget) -> Result<(), SshError> {
    let mut attempt = Attempt { target, deadline: Deadline::after(target.times.authenticate), tried: Vec::new() };
    if attempt.with_agent(dialled)? || attempt.with_files(dialled)? {
        return Ok(());
    }
    let is_encrypted = attempt.tried.iter().any(|key| key.contains(ENCRYPTED));
    let remedy = if is_encrypted {
        "a key with a passphrase has to be in your agent: ssh-add KEY".to_owned()
    } else if let Some(remedy) = &target.entry_remedy {
        remedy.clone()
    } else {
        format!("have one of your keys added there: ssh-copy-id -p {} {}@{}", target.port, target.user, target.host)
    };
    let (host, user) = (target.host.clone(), target.user.clone());
    Err(SshError::Authentication { host, user, tried: attempt.tried, remedy })
}

const ENCRYPTED: &str = "has a passphrase";

struct Attempt<'a> {
    target: &'a SshTarget,
    deadline: Deadline,
    tried: Vec<String>,
}

impl Attempt<'_> {
    fn with_agent(&mut self, dialled: &mut Dialled) -> Result<bool, SshError> {
        let Some(path) = &self.target.agent else { return Ok(false) };
        let session = dialled.session.clone();
        let listed = session.agent().and_then(|mut agent| {
            agent.set_identity_path(path)?;
            agent.connect()?;
            agent.list_identities()?;
            let identities = agent.identities()?;
            Ok((agent, identities))
        });
        let (agent, identities) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.tried.push(format!("the agent at {} (it does not answer: {})", path.display(), error.message()));
                return Ok(false);
            }
        };
        let wanted: Option<Vec<Vec<u8>>> = match &self.target.agent_key {
            Some(key) => Some(blob(key).into_iter().collect()),
            None => self
                .target
                .identities_only
                .then(|| self.target.identities.iter().filter_map(|path| public_half(path)).collect()),
        };
        let is_wanted = |blob: &[u8]| wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|key| key == blob));
        for identity in identities.iter().filter(|identity| is_wanted(identity.blob())).take(AGENT_KEYS_MAX) {
            let name = format!("{} {} of the agent", fingerprint(identity.blob()), identity.comment());
            let user = self.target.user.clone();
            if self.attempt(dialled, name, |_| agent.userauth(&user, identity))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn with_files(&mut self, dialled: &mut Dialled) -> Result<bool, SshError> {
        for path in &self.target.identities {
            let name = path.display().to_string();
            let text = match read_key(path) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(reason) => {
                    self.tried.push(format!("{name} ({reason})"));
                    continue;
                }
            };
            if is_encrypted(&text) {
                self.tried.push(format!("{name} ({ENCRYPTED})"));
                continue;
            }
            let user = &self.target.user;
            if self.attempt(dialled, name, |session| session.userauth_pubkey_memory(user, None, &text, None))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// True where the key was good. What the host refuses is noted; what breaks the connection is an error.
    fn attempt(
        &mut self,
        dialled: &mut Dialled,
        name: String,
        mut call: impl FnMut(&mut Session) -> Result<(), ssh2::Error>,
    ) -> Result<bool, SshError> {
        match retry(&dialled.socket, &self.deadline, &mut dialled.session, |session| call(session)) {
            Ok(()) => Ok(true),
            Err(Interrupted::Late) => Err(SshError::TimedOut {
                host: self.target.host.clone(),
                what: "letting the user in",
                after: self.target.times.authenticate,
            }),
            // LIBSSH2_ERROR_SOCKET_SEND, _SOCKET_DISCONNECT and _SOCKET_RECV: too many keys were tried, or the host went.
            Err(Interrupted::Failed(error)) if matches!(error.code(), ErrorCode::Session(-7 | -13 | -43)) => {
                self.tried.push(format!("{name} (then the host ended the connection)"));
                let remedy = "say which key is the right one, so that fewer are tried".to_owned();
                let tried = std::mem::take(&mut self.tried);
                let (host, user) = (self.target.host.clone(), self.target.user.clone());
                Err(SshError::Authentication { host, user, tried, remedy })
            }
            Err(Interrupted::Failed(error)) => {
                let reason = match error.code() {
                    // LIBSSH2_ERROR_AUTHENTICATION_FAILED and LIBSSH2_ERROR_PUBLICKEY_UNVERIFIED.
                    ErrorCode::Session(-18 | -19) => String::new(),
                    _ => format!(" ({})", error.message()),
                };
                self.tried.push(format!("{name}{reason}"));
                Ok(false)
            }
        }
    }
}

/// The text of a key file; none where there is no file.
fn read_key(path: &Path) -> Result<Option<String>, String> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => {
            let read = file.take(KEY_BYTES_MAX + 1).read_to_string(&mut text);
            match read {
                Ok(bytes) if bytes as u64 > KEY_BYTES_MAX => Err("is too long for a key".to_owned()),
                Ok(_) if text.contains("PRIVATE KEY-----") => Ok(Some(text)),
                Ok(_) => Err("is no private key".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The public half of a key, from the file beside it.
fn public_half(path: &Path) -> Option<Vec<u8>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let mut text = String::new();
    File::open(Path::new(&name)).ok()?.take(KEY_BYTES_MAX).read_to_string(&mut text).ok()?;
    blob(&text)
}

/// What a public key is to SSH.
fn blob(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.split_ascii_whitespace().nth(1)?).ok()
}

/// Whether a private key needs a passphrase, in any form that OpenSSH writes.
fn is_encrypted(text: &str) -> bool {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return true;
    }
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let Ok(bytes) = STANDARD.decode(body.trim()) else { return false };
    // OpenSSH's own form begins with its name and then the name of the cipher.
    let cipher = bytes.strip_prefix(b"openssh-key-v1\0").and_then(|rest| rest.strip_prefix(&[0, 0, 0, 4]));
    let is_own_form = bytes.starts_with(b"openssh-key-v1\0");
    is_own_form && !cipher.is_some_and(|cipher| cipher.starts_with(b"none"))
}
