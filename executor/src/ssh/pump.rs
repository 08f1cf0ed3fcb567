//! One channel, pumped between libssh2 and the local socket whose other side is an [`super::ExecChannel`].
//!
//! ```text
//!  Opening ──> Starting ──> Running ──(the command has ended, or nobody wants it)──> Closing ──> Done
//! ```
//!
//! While the local side does not read, nothing is read of the channel, its window
//! stays closed, and the host stops sending; while the host does not take more, nothing is read of the local side.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use ssh2::{Channel, ErrorCode, Session};

use super::channel::{ExecChannel, Exit, Outcome};
use super::connection::Exec;
use super::dial::would_block;
use super::error::SshError;

/// How much is moved at once, in bytes.
///
/// Everything that is read of a channel is read in pieces of this one size. libssh2 opens the channel's window by what
/// the read has room for; where it cannot send that at once (keys are being exchanged anew, the network is slow), it
/// sends later what the first read asked for but counts what the second one asks for. With a smaller second piece it
/// believes the window smaller than the host does, and throws away what comes beyond it.
const PIECE_BYTES: usize = 32 << 10;
/// How much of what goes to the host is read at once, in bytes: some packets full, so that what is done for each step (to
/// look whether the host says anything, and whether anybody wants anything) is done less often.
const TO_HOST_BYTES: usize = 8 * PIECE_BYTES;
/// How long the host may take to confirm that a channel is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// One channel.
pub(super) struct Pump {
    host: String,
    exec: Option<Exec>,
    command: String,
    channel: Option<Channel>,
    state: State,
    local: UnixStream,
    /// The user's side, until the command has started.
    far: Option<UnixStream>,
    outcome: Arc<Outcome>,
    to_host: Buffer,
    to_local: Buffer,
    /// Where error output is read to.
    error_output: Box<[u8]>,
    local_has_ended: bool,
    told_host: bool,
    host_has_ended: bool,
    told_local: bool,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Opening,
    Starting,
    Running,
    Closing,
    Done,
}

/// What was read and is not yet written.
struct Buffer {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Buffer {
    fn new(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes].into_boxed_slice(), from: 0, to: 0 }
    }

    const fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something moved.
    Moved,
    /// Nothing can be done now.
    Idle,
}

impl Pump {
    pub(super) fn new(host: &str, exec: Exec) -> io::Result<Self> {
        let (local, far) = UnixStream::pair()?;
        local.set_nonblocking(true)?;
        Ok(Self {
            host: host.to_owned(),
            command: exec.command.clone(),
            exec: Some(exec),
            channel: None,
            state: State::Opening,
            local,
            far: Some(far),
            outcome: Arc::default(),
            to_host: Buffer::new(TO_HOST_BYTES),
            to_local: Buffer::new(PIECE_BYTES),
            error_output: vec![0; PIECE_BYTES].into_boxed_slice(),
            local_has_ended: false,
            told_host: false,
            host_has_ended: false,
            told_local: false,
            since: Instant::now(),
        })
    }

    /// True while it waits for its channel; libssh2 opens one at a time.
    pub(super) fn is_opening(&self) -> bool {
        self.state == State::Opening
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn local(&self) -> BorrowedFd<'_> {
        self.local.as_fd()
    }

    /// What of the local side is waited for.
    pub(super) fn local_interest(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        if self.state == State::Running {
            if self.to_host.is_empty() && !self.local_has_ended {
                flags |= PollFlags::IN;
            }
            if !self.to_local.is_empty() {
                flags |= PollFlags::OUT;
            }
        }
        flags
    }

    /// The connection is gone.
    pub(super) fn fail(&mut self, error: &SshError) {
        if let Some(exec) = self.exec.take() {
            // Who asked may have given up.
            let _ = exec.started.try_send(Err(error.clone()));
        }
        self.finish(Err(error.clone()));
    }

    /// Does what can be done without waiting. The socket takes a packet when this is called, and another one wherever
    /// `is_writable` says so.
    pub(super) fn step(&mut self, session: &Session, is_writable: &dyn Fn() -> bool) -> Result<Step, ssh2::Error> {
        match self.state {
            State::Opening => match session.channel_session() {
                Ok(channel) => {
                    self.channel = Some(channel);
                    self.state = State::Starting;
                    Ok(Step::Moved)
                }
                Err(error) if would_block(&error) => Ok(Step::Idle),
                Err(error) => self.refuse(error),
            },
            State::Starting => self.start(),
            State::Running => self.pump(session, is_writable),
            State::Closing => self.close(),
            State::Done => Ok(Step::Idle),
        }
    }

    fn start(&mut self) -> Result<Step, ssh2::Error> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Idle) };
        match channel.exec(&self.command) {
            Ok(()) => {}
            Err(error) if would_block(&error) => return Ok(Step::Idle),
            Err(error) => return self.refuse(error),
        }
        self.state = State::Running;
        if let (Some(exec), Some(far)) = (self.exec.take(), self.far.take()) {
            let failed = |error: io::Error| SshError::Channel {
                host: self.host.clone(),
                command: self.command.clone(),
                reason: format!("this machine has no descriptors left ({error})"),
            };
            let started = ExecChannel::new(far, self.outcome.clone(), exec.handle).map_err(failed);
            // Who asked may have given up; then the local side is gone, which closes the channel.
            let _ = exec.started.try_send(started);
        }
        Ok(Step::Moved)
    }

    /// The host refuses a channel or its command; other errors end the connection.
    fn refuse(&mut self, error: ssh2::Error) -> Result<Step, ssh2::Error> {
        // LIBSSH2_ERROR_CHANNEL_FAILURE and LIBSSH2_ERROR_CHANNEL_REQUEST_DENIED.
        if !matches!(error.code(), ErrorCode::Session(-21 | -22)) {
            return Err(error);
        }
        let reason = match self.state {
            State::Opening => "it allows no more sessions on one connection (MaxSessions of its sshd)".to_owned(),
            _ => error.message().to_owned(),
        };
        let refusal = SshError::Channel { host: self.host.clone(), command: self.command.clone(), reason };
        self.fail(&refusal);
        Ok(Step::Moved)
    }

    fn pump(&mut self, session: &Session, is_writable: &dyn Fn() -> bool) -> Result<Step, ssh2::Error> {
        let is_alone = Arc::strong_count(&self.outcome) == 1;
        if is_alone || self.outcome.known().is_unwanted {
            self.begin_close();
            return Ok(Step::Moved);
        }
        let mut step = self.read_stderr(session)?;
        step = merge(step, self.read_host(session)?);
        step = merge(step, self.write_local());
        step = merge(step, self.read_local());
        step = merge(step, self.write_host(session)?);
        while !self.to_host.is_empty() && is_writable() && self.write_host(session)? == Step::Moved {}
        if self.is_over()? {
            step = Step::Moved;
        }
        Ok(step)
    }

    /// Error output is always taken, except where output waits: reading either opens the window for both.
    fn read_stderr(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Idle) };
        if !self.to_local.is_empty() {
            return Ok(Step::Idle);
        }
        match channel.stderr().read(&mut self.error_output) {
            Ok(0) => Ok(Step::Idle),
            Ok(count) => {
                self.outcome.note_stderr(&self.error_output[..count]);
                Ok(Step::Moved)
            }
            Err(error) => idle_or(&error, session),
        }
    }

    fn read_host(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Idle) };
        if !self.to_local.is_empty() || self.host_has_ended {
            return Ok(Step::Idle);
        }
        match channel.read(&mut self.to_local.bytes) {
            Ok(0) => {
                self.host_has_ended = channel.eof();
                Ok(if self.host_has_ended { Step::Moved } else { Step::Idle })
            }
            Ok(count) => {
                (self.to_local.from, self.to_local.to) = (0, count);
                Ok(Step::Moved)
            }
            Err(error) => idle_or(&error, session),
        }
    }

    fn write_local(&mut self) -> Step {
        if self.to_local.is_empty() {
            if self.host_has_ended && !self.told_local {
                self.told_local = true;
                let _ = self.local.shutdown(Shutdown::Write);
            }
            return Step::Idle;
        }
        match self.local.write(&self.to_local.bytes[self.to_local.from..self.to_local.to]) {
            Ok(count) => {
                self.to_local.from += count;
                Step::Moved
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Step::Idle,
            Err(_) => {
                // Nobody reads any more, which is no reason for the command to wait.
                self.to_local.from = self.to_local.to;
                Step::Moved
            }
        }
    }

    fn read_local(&mut self) -> Step {
        if !self.to_host.is_empty() || self.local_has_ended {
            return Step::Idle;
        }
        match self.local.read(&mut self.to_host.bytes) {
            Ok(count) if count > 0 => {
                (self.to_host.from, self.to_host.to) = (0, count);
                Step::Moved
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Step::Idle,
            _ => {
                self.local_has_ended = true;
                Step::Moved
            }
        }
    }

    fn write_host(&mut self, session: &Session) -> Result<Step, ssh2::Error> {
        let Some(channel) = &mut self.channel else { return Ok(Step::Idle) };
        if self.told_host {
            return Ok(Step::Idle);
        }
        if self.to_host.is_empty() {
            if !self.local_has_ended {
                return Ok(Step::Idle);
            }
            return match channel.send_eof() {
                Ok(()) => {
                    self.told_host = true;
                    Ok(Step::Moved)
                }
                Err(error) if would_block(&error) => Ok(Step::Idle),
                // The host has closed the channel: it wants nothing more.
                Err(error) if is_closed(&error) => {
                    self.told_host = true;
                    Ok(Step::Idle)
                }
                Err(error) => Err(error),
            };
        }
        match channel.write(&self.to_host.bytes[self.to_host.from..self.to_host.to]) {
            Ok(count) => {
                self.to_host.from += count;
                Ok(if count > 0 { Step::Moved } else { Step::Idle })
            }
            Err(error) => match idle_or(&error, session) {
                Err(error) if is_closed(&error) => {
                    // The command has ended without reading all.
                    self.to_host.from = self.to_host.to;
                    self.local_has_ended = true;
                    self.told_host = true;
                    Ok(Step::Moved)
                }
                other => other,
            },
        }
    }

    /// Notices the end of the command, and reads what the network brings also where the output is not wanted yet.
    fn is_over(&mut self) -> Result<bool, ssh2::Error> {
        let Some(channel) = &mut self.channel else { return Ok(false) };
        if !self.host_has_ended {
            return match channel.wait_eof() {
                Ok(()) => Ok(false),
                Err(error) if would_block(&error) => Ok(false),
                Err(error) => Err(error),
            };
        }
        match channel.wait_close() {
            Ok(()) => {}
            Err(error) if would_block(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        if !self.told_local {
            return Ok(false);
        }
        let signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        let exit = match (signal, channel.exit_status()) {
            (Some(signal), _) => Exit::Signal(signal),
            (None, Ok(code)) => Exit::Code(code),
            (None, Err(_)) => Exit::Unknown,
        };
        self.outcome.end(Ok(exit));
        self.begin_close();
        Ok(true)
    }

    fn begin_close(&mut self) {
        self.state = State::Closing;
        self.since = Instant::now();
    }

    fn close(&mut self) -> Result<Step, ssh2::Error> {
        if let Some(channel) = &mut self.channel {
            match channel.close() {
                Ok(()) => {}
                Err(error) if would_block(&error) && self.since.elapsed() < CLOSE_PATIENCE => return Ok(Step::Idle),
                Err(error) if would_block(&error) || is_closed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let reason = "the channel was closed before the command had ended".to_owned();
        self.finish(Err(SshError::Closed { host: self.host.clone(), reason }));
        Ok(Step::Moved)
    }

    fn finish(&mut self, end: Result<Exit, SshError>) {
        self.state = State::Done;
        self.outcome.end(end);
        // The user's side may be gone.
        let _ = self.local.shutdown(Shutdown::Both);
    }
}

fn merge(a: Step, b: Step) -> Step {
    if a == Step::Moved { a } else { b }
}

/// LIBSSH2_ERROR_CHANNEL_CLOSED and LIBSSH2_ERROR_CHANNEL_EOF_SENT.
fn is_closed(error: &ssh2::Error) -> bool {
    matches!(error.code(), ErrorCode::Session(-26 | -27))
}

/// The code of an error gets lost on its way through [`io::Error`]; the session still knows it.
fn idle_or(error: &io::Error, session: &Session) -> Result<Step, ssh2::Error> {
    match error.kind() {
        ErrorKind::WouldBlock => Ok(Step::Idle),
        _ => Err(ssh2::Error::last_session_error(session).unwrap_or_else(ssh2::Error::unknown)),
    }
}
