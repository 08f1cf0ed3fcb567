//! A connection to a host.

use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::channel::ExecChannel;
use super::error::SshError;
use super::target::{SshTarget, SshTimes};
use super::worker::{self, Ended};

/// What is asked of the thread of a connection.
pub(super) enum Order {
    /// Start a command.
    Exec(Exec),
    /// Say goodbye. Commands under way are left alone by then, for they hold the connection open.
    Close,
}

/// A command to be started.
pub(super) struct Exec {
    pub(super) command: String,
    pub(super) started: SyncSender<Result<ExecChannel, SshError>>,
    pub(super) handle: Handle,
}

/// A connection to a host. It is cheap to clone, and ends when the last clone and the last channel are dropped.
#[derive(Clone, Debug)]
pub struct SshConnection {
    handle: Handle,
}

/// Holds a connection open.
pub(super) type Handle = Arc<Open>;

pub(super) struct Open {
    host: String,
    times: SshTimes,
    orders: Mutex<Sender<Order>>,
    waker: UnixStream,
    ended: Arc<Ended>,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshConnection").field("host", &self.host).finish_non_exhaustive()
    }
}

impl SshConnection {
    /// Connects, checks the host's key, and has the user let in. It returns within the target's times.
    pub fn connect(target: &SshTarget) -> Result<Self, SshError> {
        let host = target.host.clone();
        let no_thread = |error: std::io::Error| SshError::Settings {
            what: format!("the connection to {host}"),
            reason: format!("this machine has no threads or descriptors left ({error})"),
        };
        let (waker, woken) = UnixStream::pair().map_err(no_thread)?;
        waker.set_nonblocking(true).map_err(no_thread)?;
        woken.set_nonblocking(true).map_err(no_thread)?;
        let (orders, ordered) = channel();
        let (tell, told) = sync_channel(1);
        let ended = Arc::new(Ended::default());
        let (of_thread, owned) = (ended.clone(), target.clone());
        thread::Builder::new()
            .name(format!("ssh {host}"))
            .spawn(move || worker::run(&owned, &ordered, woken, &tell, &of_thread))
            .map_err(no_thread)?;
        let times = target.times;
        // Each part has its own end; this one is for what has none, such as an agent that never answers.
        let patience = times.connect + times.handshake + times.authenticate + Duration::from_secs(1);
        match told.recv_timeout(patience) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(error),
            Err(RecvTimeoutError::Timeout) => {
                return Err(SshError::TimedOut {
                    host,
                    what: "connecting, with an agent that does not answer,",
                    after: patience,
                });
            }
            Err(RecvTimeoutError::Disconnected) => return Err(ended.error(&host)),
        }
        Ok(Self { handle: Arc::new(Open { host, times, orders: Mutex::new(orders), waker, ended }) })
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        &self.handle.host
    }

    /// False where the connection is known to be gone.
    pub fn is_open(&self) -> bool {
        self.handle.ended.is_open()
    }

    /// Starts a command. The host's shell reads it, so that what comes from elsewhere has to be quoted.
    pub fn exec(&self, command: &str) -> Result<ExecChannel, SshError> {
        let host = self.handle.host.clone();
        let (tell, started) = sync_channel(1);
        self.handle.order(Order::Exec(Exec {
            command: command.to_owned(),
            started: tell,
            handle: self.handle.clone(),
        }))?;
        match started.recv_timeout(self.handle.times.start) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(SshError::TimedOut { host, what: "starting a command", after: self.handle.times.start })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.handle.ended.error(&host)),
        }
    }
}

impl Open {
    fn order(&self, order: Order) -> Result<(), SshError> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.send(order).map_err(|_| self.ended.error(&self.host))?;
        self.wake();
        Ok(())
    }

    /// Has the thread look around.
    pub(super) fn wake(&self) {
        // It fails where so many wakes wait already that one more is of no use, and where the thread is gone.
        let _ = (&self.waker).write(&[0]);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Where the thread is gone, so is the connection.
        let _ = self.order(Order::Close);
    }
}
