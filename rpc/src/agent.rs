//! Keys held by an `ssh-agent`: the secret never enters this process.
//!
//! The protocol is that of OpenSSH's PROTOCOL.agent (draft-ietf-sshm-ssh-agent): messages with a length in front, over
//! the Unix socket that `SSH_AUTH_SOCK` names. Two of them are spoken: listing keys, and signing.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tycoon_market::PublicKey;

use crate::keys::{Signer, SigningError};

/// The largest message that is read, in bytes.
const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// The most keys that are read.
const KEYS_MAX: usize = 1024;
/// How long an agent may take; it may have to ask its user.
const PATIENCE: Duration = Duration::from_secs(60);

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const ALGORITHM: &[u8] = b"ssh-ed25519";

/// Why an agent gave no key or signature.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The agent cannot be spoken to.
    #[error("the ssh-agent at {} cannot be spoken to; does it run, and does SSH_AUTH_SOCK name it?", path.display())]
    Unreachable {
        /// Its socket.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The agent said something that cannot be understood.
    #[error("the ssh-agent at {} gave an answer that cannot be understood", path.display())]
    Nonsense {
        /// Its socket.
        path: PathBuf,
    },
    /// The agent does not have the key, or its user said no.
    #[error(
        "the ssh-agent does not sign with the key {fingerprint}: it does not have it, or its user said no; `ssh-add -l` lists what it has"
    )]
    Refused {
        /// The key.
        fingerprint: String,
    },
}

/// An agent, by its socket.
#[derive(Clone, Debug)]
pub struct Agent(PathBuf);

impl Agent {
    /// The agent at `socket`.
    pub const fn at(socket: PathBuf) -> Self {
        Self(socket)
    }

    /// Its ed25519 keys with their comments, in its order.
    pub fn keys(&self) -> Result<Vec<(PublicKey, String)>, AgentError> {
        let answer = self.ask(&[REQUEST_IDENTITIES])?;
        self.read_keys(&answer).ok_or_else(|| self.nonsense())
    }

    fn read_keys(&self, answer: &[u8]) -> Option<Vec<(PublicKey, String)>> {
        let mut reader = Reader(answer);
        if reader.byte()? != IDENTITIES_ANSWER {
            return None;
        }
        let count = reader.number()? as usize;
        let mut keys = Vec::new();
        for _ in 0..count.min(KEYS_MAX) {
            let (blob, comment) = (reader.text()?, reader.text()?);
            let mut blob = Reader(blob);
            if blob.text()? != ALGORITHM {
                continue;
            }
            let bytes: [u8; 32] = blob.text()?.try_into().ok()?;
            if let Ok(key) = PublicKey::from_bytes(bytes) {
                keys.push((key, String::from_utf8_lossy(comment).into_owned()));
            }
        }
        Some(keys)
    }

    /// The signature of `message` by `key`.
    pub fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<[u8; 64], AgentError> {
        let mut blob = Vec::new();
        push(&mut blob, ALGORITHM);
        push(&mut blob, key.as_bytes());
        let mut request = vec![SIGN_REQUEST];
        push(&mut request, &blob);
        push(&mut request, message);
        request.extend_from_slice(&0_u32.to_be_bytes());
        let answer = self.ask(&request)?;
        let refused = || AgentError::Refused { fingerprint: key.fingerprint() };
        if answer.first() != Some(&SIGN_RESPONSE) {
            return Err(refused());
        }
        let signature = read_signature(&answer[1..]).ok_or_else(|| self.nonsense())?;
        if key.verifies(message, &signature) { Ok(signature) } else { Err(self.nonsense()) }
    }

    fn ask(&self, request: &[u8]) -> Result<Vec<u8>, AgentError> {
        let unreachable = |source| AgentError::Unreachable { path: self.0.clone(), source };
        let exchange = || -> io::Result<Option<Vec<u8>>> {
            let mut stream = UnixStream::connect(&self.0)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            let length = u32::try_from(request.len()).map_err(io::Error::other)?;
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(request)?;
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            let length = u32::from_be_bytes(length) as usize;
            if length == 0 || length > MESSAGE_BYTES_MAX {
                return Ok(None);
            }
            let mut answer = vec![0; length];
            stream.read_exact(&mut answer)?;
            Ok(Some(answer))
        };
        exchange().map_err(unreachable)?.ok_or_else(|| self.nonsense())
    }

    fn nonsense(&self) -> AgentError {
        AgentError::Nonsense { path: self.0.clone() }
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.0
    }
}

/// A key that an agent holds.
#[derive(Clone, Debug)]
pub struct AgentKey {
    agent: Agent,
    key: PublicKey,
}

impl AgentKey {
    /// The key `key` of `agent`.
    pub const fn new(agent: Agent, key: PublicKey) -> Self {
        Self { agent, key }
    }
}

impl Signer for AgentKey {
    fn public_key(&self) -> PublicKey {
        self.key
    }

    /// What nobody verifies, where the agent does not sign; [`Signer::try_sign`] says why.
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.try_sign(message).unwrap_or([0; 64])
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SigningError> {
        self.agent.sign(&self.key, message).map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            SigningError(format!("{error}{cause}"))
        })
    }
}

/// Reads the form of SSH: numbers of four bytes, texts with their length in front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }
}

fn read_signature(answer: &[u8]) -> Option<[u8; 64]> {
    let mut blob = Reader(Reader(answer).text()?);
    (blob.text()? == ALGORITHM).then_some(())?;
    blob.text()?.try_into().ok()
}

fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    // Nothing that is pushed here comes near 4 GiB.
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SecretKey;
    use std::os::unix::net::UnixListener;

    /// An agent that gives one answer after the other.
    fn agent(answers: Vec<Vec<u8>>) -> (tempfile::TempDir, Agent, std::thread::JoinHandle<()>) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("agent");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        (folder, Agent::at(socket), thread)
    }

    fn message(parts: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        push(&mut message, parts);
        message
    }

    #[test]
    fn keys_are_listed_and_other_kinds_left_out() {
        let key = SecretKey::from_seed(&[1; 32]).public_key();
        let mut answer = vec![IDENTITIES_ANSWER];
        answer.extend(2_u32.to_be_bytes());
        let (mut rsa, mut own) = (Vec::new(), Vec::new());
        push(&mut rsa, b"ssh-rsa");
        push(&mut own, ALGORITHM);
        push(&mut own, key.as_bytes());
        for (blob, comment) in [(rsa, "old"), (own, "jane")] {
            push(&mut answer, &blob);
            push(&mut answer, comment.as_bytes());
        }
        let (_folder, agent, thread) = agent(vec![message(&answer)]);
        assert_eq!(agent.keys().unwrap(), [(key, "jane".to_owned())]);
        thread.join().unwrap();
    }

    #[test]
    fn a_signature_is_believed_only_where_it_verifies() {
        let secret = SecretKey::from_seed(&[1; 32]);
        let signed = |signature: &[u8]| {
            let mut blob = Vec::new();
            push(&mut blob, ALGORITHM);
            push(&mut blob, signature);
            let mut answer = vec![SIGN_RESPONSE];
            push(&mut answer, &blob);
            message(&answer)
        };
        let answers = vec![signed(&secret.sign(b"x")), signed(&secret.sign(b"y")), message(&[5]), message(&[14, 0])];
        let (_folder, agent, thread) = agent(answers);
        let key = AgentKey::new(agent, secret.public_key());
        assert_eq!(key.try_sign(b"x").unwrap(), secret.sign(b"x"));
        assert!(key.try_sign(b"x").unwrap_err().0.contains("cannot be understood"));
        assert!(key.try_sign(b"x").unwrap_err().0.contains("ssh-add -l"));
        assert!(key.try_sign(b"x").unwrap_err().0.contains("cannot be understood"));
        thread.join().unwrap();
        assert!(key.try_sign(b"x").unwrap_err().0.contains("SSH_AUTH_SOCK"));
    }

    #[test]
    fn endless_answers_are_not_read() {
        let (_folder, agent, thread) = agent(vec![u32::MAX.to_be_bytes().to_vec()]);
        assert!(matches!(agent.keys(), Err(AgentError::Nonsense { .. })));
        thread.join().unwrap();
    }
}
