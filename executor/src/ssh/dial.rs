//! From a name to a session in which the host has proved who it is.

use std::io::{self, ErrorKind, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use ssh2::{BlockDirections, ErrorCode, MethodType, Session};

use super::ciphers;
use super::error::SshError;
use super::known_hosts::KnownHosts;
use super::target::SshTarget;

/// What the kernel keeps of what is to be sent, in bytes. While it says that a socket can be written, a third of it is
/// free: more than the longest packet of libssh2 (35,000 bytes), so that no packet is ever sent by halves.
const SEND_BUFFER_BYTES: usize = 256 << 10;
/// How much of the complaints of a command that leads to a host is shown, in bytes.
const COMPLAINT_BYTES_MAX: u64 = 2 << 10;
/// What libssh2 says where it would have to wait (`LIBSSH2_ERROR_EAGAIN`).
const WOULD_BLOCK: ErrorCode = ErrorCode::Session(-37);

/// A session and the socket it is on.
pub(super) struct Dialled {
    pub(super) session: Session,
    pub(super) socket: OwnedFd,
    pub(super) proxy: Option<Proxy>,
}

/// Connects, exchanges keys, and checks the host's.
pub(super) fn dial(target: &SshTarget) -> Result<Dialled, SshError> {
    let known = KnownHosts::read(target)?;
    let handshake = |reason: String| SshError::Handshake { host: target.host.clone(), port: target.port, reason };
    let (socket, proxy) = match &target.proxy {
        Some(command) => Proxy::start(command).map(|(socket, proxy)| (OwnedFd::from(socket), Some(proxy))),
        None => prepare(connect(target)?, target).map(|socket| (socket, None)),
    }
    .map_err(|error| handshake(error.to_string()))?;
    let prepare = || -> io::Result<OwnedFd> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES)?;
        socket.try_clone()
    };
    let ours = prepare().map_err(|error| handshake(error.to_string()))?;
    let mut dialled =
        Dialled { session: Session::new().map_err(|error| handshake(error.to_string()))?, socket: ours, proxy };
    match greet(target, &known, socket, &mut dialled) {
        // Where a command leads to the host, it knows best why it does not.
        Err(SshError::Handshake { reason, .. }) => Err(handshake(dialled.complaint().unwrap_or(reason))),
        Err(error) => Err(error),
        Ok(()) => Ok(dialled),
    }
}

fn greet(target: &SshTarget, known: &KnownHosts, socket: OwnedFd, dialled: &mut Dialled) -> Result<(), SshError> {
    let handshake = |reason: String| SshError::Handshake { host: target.host.clone(), port: target.port, reason };
    let session = &mut dialled.session;
    let preferred = known.preferred_algorithms(session, target)?;
    session.method_pref(MethodType::HostKey, &preferred).map_err(|error| handshake(error.to_string()))?;
    ciphers::prefer(session).map_err(|error| handshake(error.to_string()))?;
    session.set_tcp_stream(socket);
    session.set_blocking(false);
    let deadline = Deadline::after(target.times.handshake);
    retry(&dialled.socket, &deadline, session, Session::handshake).map_err(|error| match error {
        Interrupted::Late => SshError::TimedOut {
            host: target.host.clone(),
            what: "the exchange of keys",
            after: target.times.handshake,
        },
        Interrupted::Failed(error) => handshake(match error.code() {
            ErrorCode::Session(-7 | -13 | -43) => {
                "it closed the connection; is it an SSH server, and does it let this \
                 machine connect?"
                    .to_owned()
            }
            _ => error.message().to_owned(),
        }),
    })?;
    known.check(session, target)
}

/// What only a socket of the network has.
fn prepare(socket: TcpStream, target: &SshTarget) -> io::Result<OwnedFd> {
    socket.set_nodelay(true)?;
    // Data that nobody confirms ends the connection, not only keep-alives that nobody answers.
    let silence = u32::try_from(target.times.silence.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(&socket, silence)?;
    Ok(socket.into())
}

/// A command that leads to the host. It ends with the connection.
pub(super) struct Proxy {
    child: Child,
}

impl Proxy {
    fn start(command: &str) -> io::Result<(UnixStream, Self)> {
        let (near, far) = UnixStream::pair()?;
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(OwnedFd::from(far.try_clone()?))
            .stdout(OwnedFd::from(far))
            .stderr(Stdio::piped())
            .spawn()?;
        Ok((near, Self { child }))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dialled {
    /// What the command that leads to the host says of its troubles.
    fn complaint(&mut self) -> Option<String> {
        let proxy = self.proxy.as_mut()?;
        let _ = proxy.child.kill();
        let mut text = Vec::new();
        proxy.child.stderr.take()?.take(COMPLAINT_BYTES_MAX).read_to_end(&mut text).ok()?;
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (!text.is_empty()).then(|| format!("what leads to it says: {text}"))
    }
}

fn connect(target: &SshTarget) -> Result<TcpStream, SshError> {
    let (host, port) = (target.host.clone(), target.port);
    let deadline = Deadline::after(target.times.connect);
    let late = || SshError::TimedOut { host: host.clone(), what: "connecting", after: target.times.connect };
    let unreachable = |reason: String| SshError::Unreachable { host: host.clone(), port, reason };
    // The resolver cannot be told how long to take, so it is asked by a thread that nobody has to wait for.
    let (tell, told) = sync_channel(1);
    let name = host.clone();
    let resolve = move || drop(tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    thread::Builder::new()
        .name("resolver".into())
        .spawn(resolve)
        .map_err(|error| unreachable(format!("no thread can be started: {error}")))?;
    let addresses = told.recv_timeout(deadline.left()).map_err(|_| late())?;
    let addresses = addresses.map_err(|error| unreachable(format!("its name has no address ({error})")))?;
    let mut failure = unreachable("its name has no address".to_owned());
    for address in addresses {
        if deadline.left().is_zero() {
            return Err(late());
        }
        failure = match TcpStream::connect_timeout(&address, deadline.left()) {
            Ok(socket) => return Ok(socket),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => SshError::Refused { host: host.clone(), port },
                ErrorKind::TimedOut => late(),
                _ => unreachable(error.to_string()),
            },
        };
    }
    Err(failure)
}

/// A time until which to wait.
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(span: Duration) -> Self {
        Self(Instant::now() + span)
    }

    pub(super) fn left(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// Why a call of libssh2 did not come to its end.
pub(super) enum Interrupted {
    /// It took too long.
    Late,
    /// It failed.
    Failed(ssh2::Error),
}

pub(super) fn would_block(error: &ssh2::Error) -> bool {
    error.code() == WOULD_BLOCK
}

/// Repeats a call of libssh2 until it is done, waiting for the network in between.
pub(super) fn retry<T>(
    socket: &OwnedFd,
    deadline: &Deadline,
    session: &mut Session,
    mut call: impl FnMut(&mut Session) -> Result<T, ssh2::Error>,
) -> Result<T, Interrupted> {
    loop {
        match call(session) {
            Err(error) if would_block(&error) => {}
            Err(error) => return Err(Interrupted::Failed(error)),
            Ok(value) => return Ok(value),
        }
        let left = deadline.left();
        if left.is_zero() {
            return Err(Interrupted::Late);
        }
        // A poll that is interrupted only means that the call is tried again early.
        let _ = wait(socket.as_fd(), directions(session), left);
    }
}

/// What the session waits for.
pub(super) fn directions(session: &Session) -> PollFlags {
    match session.block_directions() {
        BlockDirections::None | BlockDirections::Inbound => PollFlags::IN,
        BlockDirections::Outbound => PollFlags::OUT,
        BlockDirections::Both => PollFlags::IN | PollFlags::OUT,
    }
}

/// Waits for one descriptor.
pub(super) fn wait(fd: BorrowedFd<'_>, flags: PollFlags, span: Duration) -> io::Result<PollFlags> {
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    poll(&mut fds, Some(&timespec(span)))?;
    Ok(fds[0].revents())
}

/// A time span as poll wants it.
pub(super) fn timespec(span: Duration) -> Timespec {
    let tv_sec = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    Timespec { tv_sec, tv_nsec: i64::from(span.subsec_nanos()) }
}
