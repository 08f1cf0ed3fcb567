//! Streams over a local socket: how the market of a host (`tycoon host serve`, which has no rights on the machine) has
//! domains made by `tycoon host enforce`, which is root.
//!
//! Who may connect is decided twice: by the rights of the socket's folder, and by the credentials of the process at the other end.
//!
//! A stream may also be that of one account, whose SSH session ends here ([`super::binding`]). Then it is served what is
//! that account's. Strangers have places of their own, a few each, so that they cannot take those of the market.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tycoon_market::AccountId;

use super::binding::{self, Beginning, Binding};
use super::serve::{self, Session};
use super::stream::{ConnectError, Connector, Stream};
use crate::local_socket::LocalSocket;

/// Streams of the market that are served at one time; further ones are closed at once.
const STREAMS_MAX: usize = 16;
/// Streams of accounts that are served at one time.
const ACCOUNT_STREAMS_MAX: usize = 32;
/// The same, of one account.
const STREAMS_OF_ACCOUNT_MAX: usize = 6;
/// Streams of which nobody knows yet whose they are.
const NEW_STREAMS_MAX: usize = 16;
/// How long a stream may take to say whose it is. Who opens it says that at once.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take no answer before its stream is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Opens streams to the socket at a path.
#[derive(Clone, Debug)]
pub struct SocketConnector {
    name: String,
    path: PathBuf,
}

impl SocketConnector {
    /// Streams to the socket at `path`, of the host called `name`.
    pub fn new(name: &str, path: PathBuf) -> Self {
        Self { name: name.to_owned(), path }
    }
}

impl Connector for SocketConnector {
    fn host(&self) -> &str {
        &self.name
    }

    fn is_here(&self) -> bool {
        true
    }

    fn open(&self) -> Result<Stream, ConnectError> {
        let failed = |error: io::Error| {
            let path = self.path.display();
            let message = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("there is no socket {path}: `tycoon host enforce` does not run on this machine")
                }
                io::ErrorKind::ConnectionRefused => {
                    format!("nobody listens on {path}: `tycoon host enforce` does not run on this machine")
                }
                io::ErrorKind::PermissionDenied => format!("this user may not connect to {path}"),
                _ => format!("{path}: {error}"),
            };
            ConnectError { message, is_lasting: false }
        };
        let stream = UnixStream::connect(&self.path).map_err(failed)?;
        let (reader, closing) = (stream.try_clone().map_err(failed)?, stream.try_clone().map_err(failed)?);
        Ok(Stream {
            reader: Box::new(reader),
            writer: Box::new(HalfClosing(stream)),
            // It fails where the other end has closed it already.
            close: Arc::new(move || drop(closing.shutdown(Shutdown::Both))),
            complaint: Arc::new(|| None),
        })
    }
}

/// Ends its direction when it is dropped.
struct HalfClosing(UnixStream);

impl io::Write for HalfClosing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for HalfClosing {
    fn drop(&mut self) {
        // It fails where the other end has closed it already.
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// Serves a session to every process of certain users that connects to a socket.
#[derive(Debug)]
pub struct SocketServer {
    socket: LocalSocket,
    sessions: Sessions,
    served: Arc<Mutex<Served>>,
    next_stream: AtomicU64,
}

/// Makes the session of an account.
type AccountSessions = Arc<dyn Fn(Binding) -> Session + Send + Sync>;

/// What is served to whom.
#[derive(Clone)]
struct Sessions {
    market: Session,
    account: Option<AccountSessions>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("market", &self.market).finish_non_exhaustive()
    }
}

/// Whose a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    /// It has not said so yet.
    New,
    Market,
    Account(AccountId),
}

/// The streams that are served, by number.
#[derive(Debug, Default)]
struct Served(BTreeMap<u64, (Party, UnixStream)>);

impl Served {
    /// Why there is no place for one more stream of this party; `None` where there is.
    fn no_place(&self, party: Party) -> Option<String> {
        let count = |is_one: &dyn Fn(Party) -> bool| self.0.values().filter(|(party, _)| is_one(*party)).count();
        let is_accounts = |party| matches!(party, Party::Account(_));
        let full = |most: usize, whose: &str| Some(format!("{most} connections {whose} are served already"));
        match party {
            Party::New if count(&|other| other == party) >= NEW_STREAMS_MAX => full(NEW_STREAMS_MAX, "of nobody known"),
            Party::Market if count(&|other| other == party) >= STREAMS_MAX => full(STREAMS_MAX, "of the market"),
            Party::Account(_) if count(&|other| other == party) >= STREAMS_OF_ACCOUNT_MAX => {
                full(STREAMS_OF_ACCOUNT_MAX, "of this account")
            }
            Party::Account(_) if count(&is_accounts) >= ACCOUNT_STREAMS_MAX => full(ACCOUNT_STREAMS_MAX, "of accounts"),
            _ => None,
        }
    }
}

/// A place among the streams that are served; it is free again once this is dropped, also by a panic.
struct Place {
    served: Arc<Mutex<Served>>,
    number: u64,
}

impl Place {
    /// The stream is this party's from now on; why it cannot be.
    fn take(&self, party: Party) -> Result<(), String> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = served.no_place(party) {
            return Err(why);
        }
        if let Some((of, _)) = served.0.get_mut(&self.number) {
            *of = party;
        }
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&self.number);
    }
}

impl SocketServer {
    /// Listens at `path`, for processes of `users` (by number) and of root. A socket that an earlier process left there
    /// is replaced; anything else is left alone.
    pub fn listen(path: &Path, users: Vec<u32>, session: Session) -> io::Result<Self> {
        Ok(Self {
            socket: LocalSocket::listen(path, users)?,
            sessions: Sessions { market: session, account: None },
            served: Arc::default(),
            next_stream: AtomicU64::new(0),
        })
    }

    /// Serves accounts too, each what `session` makes for it.
    #[must_use]
    pub fn with_accounts(mut self, session: impl Fn(Binding) -> Session + Send + Sync + 'static) -> Self {
        self.sessions.account = Some(Arc::new(session));
        self
    }

    /// Serves until `stop` is true; then the streams are ended.
    pub fn serve(&self, stop: &AtomicBool) {
        self.socket.serve(stop, |stream, user| {
            if let Err(error) = self.begin(stream, user) {
                tracing::warn!(%error, user, "a connection cannot be served");
            }
        });
        for (_, stream) in self.served.lock().unwrap_or_else(PoisonError::into_inner).0.values() {
            // It fails where the client has closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn begin(&self, stream: UnixStream, user: u32) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let kept = stream.try_clone()?;
        let number = self.next_stream.fetch_add(1, Ordering::SeqCst);
        let place = {
            let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(why) = served.no_place(Party::New) {
                return Err(io::Error::other(why));
            }
            served.0.insert(number, (Party::New, kept));
            Place { served: self.served.clone(), number }
        };
        let sessions = self.sessions.clone();
        let serve = move || {
            if let Err(error) = sessions.serve(&stream, user, &place) {
                tracing::warn!(%error, user, "a connection ended before it began");
            }
            // It fails where the client has closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        };
        thread::Builder::new().name("enforce".into()).spawn(serve).map(drop)
    }
}

impl Sessions {
    /// Hears whose the stream is, and serves it.
    fn serve(&self, stream: &UnixStream, user: u32, place: &Place) -> io::Result<()> {
        let (mut reader, mut writer) = (stream.try_clone()?, stream.try_clone()?);
        reader.set_read_timeout(Some(BEGIN_TIMEOUT))?;
        let beginning = binding::read(&mut reader)?;
        reader.set_read_timeout(None)?;
        let (party, session, read) = match (beginning, &self.account) {
            (Beginning::Bound(binding), Some(account)) => {
                (Party::Account(binding.account), account(binding), Vec::new())
            }
            (Beginning::Bound(_), None) => {
                let why = "this host serves no accounts over SSH";
                return serve::refuse(&mut writer, why).map_err(io::Error::other);
            }
            // What is no session at all is told so by the session.
            (Beginning::Other(read), _) => (Party::Market, self.market.clone(), read),
        };
        if let Err(why) = place.take(party) {
            tracing::warn!(user, ?party, %why, "a connection is refused");
            return serve::refuse(&mut writer, &why).map_err(io::Error::other);
        }
        tracing::info!(user, ?party, "connected");
        match session.serve(io::Cursor::new(read).chain(reader), writer) {
            Err(error) => tracing::warn!(user, ?party, %error, "the connection ended early"),
            Ok(()) => tracing::info!(user, ?party, "disconnected"),
        }
        Ok(())
    }
}
