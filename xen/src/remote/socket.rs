//! Streams over a local socket: how the market of a host (`tycoon host serve`, which has no rights on the machine) has
//! domains made by `tycoon host enforce`, which is root.
//!
//! Who may connect is decided twice: by the rights of the socket's folder, and by the credentials of the process at the
//! other end, which the kernel vouches for.

use std::collections::BTreeMap;
use std::io;
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::serve::Session;
use super::stream::{ConnectError, Connector, Stream};

/// Streams that are served at one time; further ones are closed at once.
const STREAMS_MAX: usize = 16;
/// How long a client may take no answer before its stream is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often somebody looks whether to stop.
const LOOK: Duration = Duration::from_millis(200);

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
    listener: UnixListener,
    path: PathBuf,
    users: Vec<u32>,
    session: Session,
    streams: Streams,
    next_stream: AtomicU64,
}

/// The streams that are served, by number.
type Streams = Arc<Mutex<BTreeMap<u64, UnixStream>>>;

/// A place among those that are served; it is free again once this is dropped, also by a panic.
struct Place {
    served: Arc<AtomicUsize>,
    kept: Option<(Streams, u64)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((streams, number)) = &self.kept {
            streams.lock().unwrap_or_else(PoisonError::into_inner).remove(number);
        }
        self.served.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SocketServer {
    /// Listens at `path`, for processes of `users` (by number) and of root. A socket that an earlier process left there
    /// is replaced; anything else is left alone.
    pub fn listen(path: &Path, users: Vec<u32>, session: Session) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                if UnixStream::connect(path).is_ok() {
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
                }
                std::fs::remove_file(path)?;
            }
            Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is no socket")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Who may try is the folder's matter; who may stay is looked up in the credentials.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            users,
            session,
            streams: Arc::default(),
            next_stream: AtomicU64::new(0),
        })
    }

    /// Serves until `stop` is true; then the streams are ended and the socket is removed.
    pub fn serve(&self, stop: &AtomicBool) -> io::Result<()> {
        let served = Arc::new(AtomicUsize::new(0));
        while !stop.load(Ordering::SeqCst) {
            match self.listener.accept() {
                Ok((stream, _)) => self.welcome(stream, &served),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    thread::sleep(LOOK);
                }
            }
        }
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).values() {
            // It fails where the client has closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        std::fs::remove_file(&self.path)
    }

    fn wait(&self) -> io::Result<()> {
        let mut watched = [rustix::event::PollFd::new(&self.listener, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        match rustix::event::poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn welcome(&self, stream: UnixStream, served: &Arc<AtomicUsize>) {
        let user = match rustix::net::sockopt::socket_peercred(&stream) {
            Ok(credentials) => credentials.uid.as_raw(),
            Err(error) => return tracing::warn!(%error, "who connects is not known, so that the connection is closed"),
        };
        if user != 0 && !self.users.contains(&user) {
            return tracing::warn!(user, "a user who may not connect has tried");
        }
        let is_full = served.fetch_add(1, Ordering::SeqCst) >= STREAMS_MAX;
        let place = Place { served: served.clone(), kept: None };
        if is_full {
            return tracing::warn!(user, "there are {STREAMS_MAX} connections already");
        }
        if let Err(error) = self.begin(stream, user, place) {
            tracing::warn!(%error, user, "a connection cannot be served");
        }
    }

    fn begin(&self, stream: UnixStream, user: u32, mut place: Place) -> io::Result<()> {
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let (reader, writer, kept) = (stream.try_clone()?, stream.try_clone()?, stream.try_clone()?);
        let session = self.session.clone();
        let number = self.next_stream.fetch_add(1, Ordering::SeqCst);
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).insert(number, kept);
        place.kept = Some((self.streams.clone(), number));
        let serve = move || {
            let _place = place;
            tracing::info!(user, "connected");
            if let Err(error) = session.serve(reader, writer) {
                tracing::warn!(user, %error, "the connection ended early");
            } else {
                tracing::info!(user, "disconnected");
            }
            // It fails where the client has closed it already.
            let _ = stream.shutdown(Shutdown::Both);
        };
        thread::Builder::new().name("enforce".into()).spawn(serve).map(drop)
    }
}
