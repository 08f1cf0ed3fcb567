//! The door of a host over SSH: whose a key is, and what that account may bring. `tycoon host serve` knows, and answers
//! on a local socket; sshd asks it through `tycoon host authorized-keys`, which has neither a secret nor any right.
//!
//! ```text
//!  key ssh-ed25519 AAAA…     →  account ID  |  stranger  |  busy
//!  upload ID                 →  bytes NUMBER
//! ```
//!
//! One question, one answer, one line each. Nothing can be changed here. The kernel says who asks, and only users that
//! the owner names are answered. Keys that nothing is known of are looked up no more often than the host can bear; those
//! of accounts, always.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tycoon_market::{AccountId, PublicKey};

use crate::daemon::HostDaemon;
use crate::local_socket::LocalSocket;

/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 256;
/// How long a question or an answer may take to come.
const PATIENCE: Duration = Duration::from_secs(5);
/// Questions that are answered side by side.
const QUESTIONS_MAX: usize = 8;
/// Keys of strangers that are looked up in a second, and how many at once after a quiet time.
const STRANGERS_A_SECOND: f64 = 5.0;
const STRANGERS_AT_ONCE: f64 = 20.0;

/// What is asked at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whose is this key?
    Key(PublicKey),
    /// How many bytes may the images have that this account brings?
    Upload(AccountId),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The key acts for this account, which may come in.
    Account(AccountId),
    /// The key is nobody's here.
    Stranger,
    /// Too many strangers ask.
    Busy,
    /// So many bytes.
    Bytes(u64),
}

/// A line that is neither a question nor an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` makes no sense here")]
pub struct LineError(String);

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "key {key}"),
            Self::Upload(account) => write!(f, "upload {account}"),
        }
    }
}

impl FromStr for Question {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let read = || match line.split_once(' ')? {
            ("key", key) => key.parse().ok().map(Self::Key),
            ("upload", account) => account.parse().ok().map(Self::Upload),
            _ => None,
        };
        read().ok_or_else(|| LineError(line.chars().take(80).collect()))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => write!(f, "account {account}"),
            Self::Stranger => f.write_str("stranger"),
            Self::Busy => f.write_str("busy"),
            Self::Bytes(bytes) => write!(f, "bytes {bytes}"),
        }
    }
}

impl FromStr for Answer {
    type Err = LineError;

    fn from_str(line: &str) -> Result<Self, LineError> {
        let read = || match line.split_once(' ') {
            None if line == "stranger" => Some(Self::Stranger),
            None if line == "busy" => Some(Self::Busy),
            Some(("account", account)) => account.parse().ok().map(Self::Account),
            Some(("bytes", bytes)) => bytes.parse().ok().map(Self::Bytes),
            _ => None,
        };
        read().ok_or_else(|| LineError(line.chars().take(80).collect()))
    }
}

/// Asks the host whose door is at `socket`.
pub fn ask(socket: &Path, question: &Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    writeln!(stream, "{question}")?;
    let line = read_line(&mut stream)?;
    line.parse().map_err(io::Error::other)
}

/// A line without its end.
fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let (mut line, mut byte) = (Vec::new(), [0]);
    while line.len() < LINE_BYTES_MAX && Instant::now() < deadline {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => return String::from_utf8(line).map_err(io::Error::other),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::UnexpectedEof, "no whole line came"))
}

/// Answers at the door of a host until it is stopped.
#[derive(Debug)]
pub struct EntryServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads share.
struct Door {
    daemon: Arc<HostDaemon>,
    strangers: Mutex<Allowance>,
    under_way: AtomicUsize,
}

/// A bucket of tokens.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * STRANGERS_A_SECOND).min(STRANGERS_AT_ONCE);
        self.at = now;
        let is_good = self.left >= 1.0;
        if is_good {
            self.left -= 1.0;
        }
        is_good
    }
}

impl EntryServer {
    /// Answers at `path`, to processes of root, of this user, and of `users`, by number. A socket that an earlier process
    /// left there is replaced; anything else is left alone.
    pub fn start(path: &Path, mut users: Vec<u32>, daemon: Arc<HostDaemon>) -> io::Result<Self> {
        users.push(rustix::process::geteuid().as_raw());
        let socket = LocalSocket::listen(path, users)?;
        let strangers = Mutex::new(Allowance { left: STRANGERS_AT_ONCE, at: Instant::now() });
        let door = Arc::new(Door { daemon, strangers, under_way: AtomicUsize::new(0) });
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let serve = move || socket.serve(&asked, |stream, _| door.welcome(stream));
        let thread = thread::Builder::new().name("entry".into()).spawn(serve)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for EntryServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What it did not survive, it has told.
            let _ = thread.join();
        }
    }
}

/// A question that is being answered, until it is dropped.
struct UnderWay(Arc<Door>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Door {
    fn welcome(self: &Arc<Self>, stream: UnixStream) {
        let is_full = self.under_way.fetch_add(1, Ordering::SeqCst) >= QUESTIONS_MAX;
        let under_way = UnderWay(self.clone());
        if is_full {
            // Whoever asks finds the door closed, and tries again.
            return;
        }
        let answer = move || {
            if let Err(error) = under_way.0.answer(stream) {
                tracing::debug!(%error, "a question about a key came to nothing");
            }
        };
        if let Err(error) = thread::Builder::new().name("entry answer".into()).spawn(answer) {
            tracing::warn!(%error, "a question about a key cannot be answered");
        }
    }

    fn answer(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let question: Question = read_line(&mut stream)?.parse().map_err(io::Error::other)?;
        let answer = match question {
            Question::Key(key) => self.account_of(&key)?,
            Question::Upload(account) => Answer::Bytes(self.daemon.upload_bytes(&account)),
        };
        writeln!(stream, "{answer}")
    }

    fn account_of(&self, key: &PublicKey) -> io::Result<Answer> {
        let take = || self.strangers.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        if !self.daemon.knows_key(key) && !take() {
            return Ok(Answer::Busy);
        }
        let account = self.daemon.account_of_key(key).map_err(io::Error::other)?;
        Ok(account.map_or(Answer::Stranger, Answer::Account))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> PublicKey {
        (1..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap()
    }

    #[test]
    fn questions_and_answers_are_read_as_they_are_written_and_nothing_else_is() {
        let account = AccountId::of(&key());
        for question in [Question::Key(key()), Question::Upload(account)] {
            assert_eq!(question.to_string().parse(), Ok(question));
        }
        for answer in [Answer::Account(account), Answer::Stranger, Answer::Busy, Answer::Bytes(7)] {
            assert_eq!(answer.to_string().parse(), Ok(answer));
        }
        for bad in ["", "key", "key ssh-rsa AAAA", "upload ../x", "ban me", "account"] {
            assert!(bad.parse::<Question>().is_err(), "{bad}");
            assert!(bad.parse::<Answer>().is_err(), "{bad}");
        }
    }

    #[test]
    fn strangers_are_looked_up_only_so_often() {
        let start = Instant::now();
        let mut allowance = Allowance { left: STRANGERS_AT_ONCE, at: start };
        let taken = (0..100).filter(|_| allowance.take(start)).count();
        assert_eq!(taken, 20);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| allowance.take(later)).count(), 5);
    }
}
