//! The thread of a connection: it alone touches libssh2.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use super::authenticate::authenticate;
use super::connection::Order;
use super::dial::{Dialled, dial, directions, timespec, wait};
use super::error::SshError;
use super::pump::{Pump, Step};
use super::target::{SshTarget, SshTimes};

/// How long the goodbye may take.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(2);

/// Whether, and why, a connection has ended.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<Option<String>>);

impl Ended {
    fn reason(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.reason().is_none()
    }

    pub(super) fn error(&self, host: &str) -> SshError {
        let reason = self.reason().clone().unwrap_or_else(|| "it was closed here".to_owned());
        SshError::Closed { host: host.to_owned(), reason }
    }
}

/// Ends with the connection.
pub(super) fn run(
    target: &SshTarget,
    orders: &Receiver<Order>,
    woken: UnixStream,
    tell: &SyncSender<Result<(), SshError>>,
    ended: &Ended,
) {
    let connected = dial(target).and_then(|mut dialled| {
        authenticate(&mut dialled, target)?;
        Ok(dialled)
    });
    let dialled = match connected {
        Ok(dialled) => dialled,
        Err(error) => {
            *ended.reason() = Some(error.to_string());
            // Who asked may have given up.
            let _ = tell.send(Err(error));
            return;
        }
    };
    let keep_alive = u32::try_from(target.times.keep_alive.as_secs()).unwrap_or(u32::MAX).max(2);
    dialled.session.set_keepalive(true, keep_alive);
    if tell.send(Ok(())).is_err() {
        return;
    }
    let mut worker = Worker {
        host: target.host.clone(),
        times: target.times,
        dialled,
        woken,
        pumps: Vec::new(),
        last_heard: Instant::now(),
    };
    let reason = worker.work(orders);
    let reason = reason.unwrap_or_else(|| "it was closed here".to_owned());
    *ended.reason() = Some(reason.clone());
    let error = SshError::Closed { host: worker.host.clone(), reason };
    worker.pumps.iter_mut().for_each(|pump| pump.fail(&error));
    // Orders that came too late are told the reason by the end of their channel.
}

struct Worker {
    host: String,
    times: SshTimes,
    dialled: Dialled,
    woken: UnixStream,
    pumps: Vec<Pump>,
    last_heard: Instant,
}

impl Worker {
    /// Works until the connection is to be closed, or breaks: then why.
    fn work(&mut self, orders: &Receiver<Order>) -> Option<String> {
        loop {
            loop {
                match orders.try_recv() {
                    Ok(Order::Exec(exec)) => match Pump::new(&self.host, exec) {
                        Ok(pump) => self.pumps.push(pump),
                        Err(error) => return Some(format!("this machine has no descriptors left ({error})")),
                    },
                    Ok(Order::Close) | Err(TryRecvError::Disconnected) => {
                        self.say_goodbye();
                        return None;
                    }
                    Err(TryRecvError::Empty) => break,
                }
            }
            let has_moved = match self.step_all() {
                Ok(step) => step == Step::Moved,
                Err(error) => return Some(self.why(&error)),
            };
            self.pumps.retain(|pump| !pump.is_done());
            let mut pause = self.times.keep_alive;
            if self.is_writable() {
                match self.dialled.session.keepalive_send() {
                    Ok(seconds) => pause = Duration::from_secs(u64::from(seconds.max(1))),
                    Err(error) => return Some(self.why(&error)),
                }
            }
            if let Some(reason) = self.sleep(if has_moved { Duration::ZERO } else { pause }) {
                return Some(reason);
            }
        }
    }

    /// Every channel does what it can, each once, so that none holds up the others.
    fn step_all(&mut self) -> Result<Step, ssh2::Error> {
        let mut all = Step::Idle;
        let mut is_opening = false;
        for index in 0..self.pumps.len() {
            if !self.is_writable() {
                break;
            }
            let socket = &self.dialled.socket;
            let pump = &mut self.pumps[index];
            // libssh2 remembers one channel that is being opened: the first is finished before the next begins.
            if pump.is_opening() && std::mem::replace(&mut is_opening, true) {
                continue;
            }
            if pump.step(&self.dialled.session, &|| is_writable(socket))? == Step::Moved {
                all = Step::Moved;
            }
        }
        Ok(all)
    }

    fn is_writable(&self) -> bool {
        is_writable(&self.dialled.socket)
    }

    /// Waits until something can be done; why the connection is over, where it is.
    fn sleep(&mut self, pause: Duration) -> Option<String> {
        let mut on_socket = directions(&self.dialled.session) | PollFlags::RDHUP;
        if self.pumps.is_empty() {
            // Nobody reads what comes now, which is only answers to signs of life.
            on_socket -= PollFlags::IN;
        } else {
            on_socket |= PollFlags::IN;
        }
        if !self.is_writable() {
            on_socket |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::new(&self.dialled.socket, on_socket), PollFd::new(&self.woken, PollFlags::IN)];
        for pump in &self.pumps {
            // A socket of which nothing is wanted would still tell, again and again, that it is closed.
            let interest = pump.local_interest();
            if !interest.is_empty() {
                fds.push(PollFd::from_borrowed_fd(pump.local(), interest));
            }
        }
        match poll(&mut fds, Some(&timespec(pause))) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Some(format!("poll failed: {error}")),
        }
        let (socket, wake) = (fds[0].revents(), fds[1].revents());
        if wake.contains(PollFlags::IN) {
            // Any number of wakes is one.
            let _ = (&self.woken).read(&mut [0; 64]);
        }
        if socket.contains(PollFlags::IN) || self.pumps.is_empty() {
            self.last_heard = Instant::now();
        }
        if self.pumps.is_empty() && socket.intersects(PollFlags::RDHUP | PollFlags::ERR | PollFlags::HUP) {
            return Some("the host ended it".to_owned());
        }
        let silence = self.last_heard.elapsed();
        (silence > self.times.silence).then(|| format!("nothing was heard of it for {} s", silence.as_secs()))
    }

    fn why(&self, error: &ssh2::Error) -> String {
        let socket = rustix::net::sockopt::socket_error(&self.dialled.socket);
        match (socket, error.code()) {
            (Ok(Err(error)), _) => std::io::Error::from(error).to_string(),
            // LIBSSH2_ERROR_SOCKET_DISCONNECT and LIBSSH2_ERROR_SOCKET_RECV.
            (_, ssh2::ErrorCode::Session(-13 | -43)) => "the host ended it".to_owned(),
            (_, _) => error.message().to_owned(),
        }
    }

    fn say_goodbye(&self) {
        let deadline = Instant::now() + GOODBYE_PATIENCE;
        while Instant::now() < deadline {
            match self.dialled.session.disconnect(None, "done", None) {
                Err(error) if super::dial::would_block(&error) => {
                    let _ = wait(self.dialled.socket.as_fd(), PollFlags::OUT, Duration::from_millis(100));
                }
                _ => return,
            }
        }
    }
}

/// True where the socket takes a whole packet. What cannot be sent whole is not begun: libssh2 would want exactly the same
/// call again before any other.
fn is_writable(socket: &OwnedFd) -> bool {
    let now = wait(socket.as_fd(), PollFlags::OUT, Duration::ZERO);
    now.is_ok_and(|flags| flags.intersects(PollFlags::OUT | PollFlags::ERR | PollFlags::HUP))
}
