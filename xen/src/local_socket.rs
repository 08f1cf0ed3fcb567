//! A socket on this machine that processes of certain users may connect to.
//!
//! Who may connect is decided twice: by the rights of the socket's folder, and by the credentials of the process at the
//! other end, which the kernel vouches for.

use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often somebody looks whether to stop.
const LOOK: Duration = Duration::from_millis(200);

/// Listens at a path until it is dropped, which removes the socket.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    path: PathBuf,
    users: Vec<u32>,
}

impl LocalSocket {
    /// Listens at `path`, for processes of `users`, by number, and of root. A socket that an earlier process left there is
    /// replaced; anything else is left alone.
    pub fn listen(path: &Path, mut users: Vec<u32>) -> io::Result<Self> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                if UnixStream::connect(path).is_ok() {
                    return Err(io::Error::new(ErrorKind::AddrInUse, "another process listens there"));
                }
                std::fs::remove_file(path)?;
            }
            Ok(_) => return Err(io::Error::new(ErrorKind::AlreadyExists, "there is something that is no socket")),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        users.push(0);
        let socket = Self { listener, path: path.to_owned(), users };
        // Who may try is the folder's matter; who may stay is looked up in the credentials.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        socket.listener.set_nonblocking(true)?;
        Ok(socket)
    }

    /// Hands every connection to `welcome`, with the number of its user, until `stop` is true.
    pub fn serve(&self, stop: &AtomicBool, welcome: impl Fn(UnixStream, u32)) {
        while !stop.load(Ordering::SeqCst) {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(user) = self.user(&stream) {
                        welcome(stream, user);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                Err(error) => {
                    tracing::warn!(socket = %self.path.display(), %error, "a connection could not be accepted");
                    thread::sleep(LOOK);
                }
            }
        }
    }

    /// Who connects, where he may.
    fn user(&self, stream: &UnixStream) -> Option<u32> {
        let socket = self.path.display();
        match rustix::net::sockopt::socket_peercred(stream).map(|credentials| credentials.uid.as_raw()) {
            Ok(user) if self.users.contains(&user) => match stream.set_nonblocking(false) {
                Ok(()) => return Some(user),
                Err(error) => tracing::warn!(%socket, user, %error, "a connection cannot be served"),
            },
            Ok(user) => tracing::warn!(%socket, user, "a user who may not connect has tried"),
            Err(error) => {
                tracing::warn!(%socket, %error, "who connects is not known, so that the connection is closed")
            }
        }
        None
    }

    fn wait(&self) {
        let mut watched = [rustix::event::PollFd::new(&self.listener, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(LOOK.subsec_nanos()) };
        // Interrupted or not, it is looked at next; but not all the time.
        if rustix::event::poll(&mut watched, Some(&timeout)).is_err() {
            thread::sleep(LOOK);
        }
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}
