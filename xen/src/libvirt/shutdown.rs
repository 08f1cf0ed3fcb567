//! Shutdowns that were asked for: asked again, since a guest that boots does not hear, and ended by force after their
//! grace. A thread does it, so that nobody waits for a guest.
//!
//! The deadlines are in the file of the runs: where this process ends, the next one goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use super::Host;
use super::connection::failed;
use super::look::find;
use super::runs::uptime_ms;
use crate::hypervisor::HypervisorError;

/// How long a guest has between two requests, in milliseconds. A request while it boots is lost.
const ASK_EVERY_MS: u64 = 5_000;

/// The thread; it ends when this is dropped.
pub(super) struct Shutdowns {
    bell: Arc<Bell>,
}

#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    is_rung: Condvar,
}

#[derive(Default)]
struct Rung {
    is_to_look: bool,
    is_to_end: bool,
}

impl Bell {
    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut self.rung.lock().unwrap_or_else(PoisonError::into_inner));
        self.is_rung.notify_all();
    }

    /// Waits until there is something to look at, or for this time. True where it is to end.
    fn wait(&self, longest: Option<Duration>) -> bool {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |rung: &mut Rung| !rung.is_to_look && !rung.is_to_end;
        let mut rung = match longest {
            Some(longest) => {
                self.is_rung.wait_timeout_while(rung, longest, is_quiet).unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.is_rung.wait_while(rung, is_quiet).unwrap_or_else(PoisonError::into_inner),
        };
        rung.is_to_look = false;
        rung.is_to_end
    }
}

impl Shutdowns {
    pub(super) fn begin(host: &Arc<Host>) -> Result<Self, HypervisorError> {
        let bell = Arc::new(Bell::default());
        let (weak, rings) = (Arc::downgrade(host), Arc::clone(&bell));
        let thread = std::thread::Builder::new().name("shutdowns".to_owned());
        thread
            .spawn(move || run(&weak, &rings))
            .map_err(|error| failed("opening the host", format!("no thread for shutdowns: {error}")))?;
        Ok(Self { bell })
    }

    /// Has the thread look at once.
    pub(super) fn look(&self) {
        self.bell.ring(|rung| rung.is_to_look = true);
    }
}

impl Drop for Shutdowns {
    fn drop(&mut self) {
        self.bell.ring(|rung| rung.is_to_end = true);
    }
}

fn run(host: &Weak<Host>, bell: &Bell) {
    // When each run was asked last.
    let mut asked: BTreeMap<(String, u32), u64> = BTreeMap::new();
    loop {
        let Some(host) = host.upgrade() else { return };
        let pause = host.look_after_shutdowns(&mut asked);
        drop(host);
        if bell.wait(pause) {
            return;
        }
    }
}

impl Host {
    /// Asks or ends what is due. How long there is nothing to do; `None` where nothing is pending.
    fn look_after_shutdowns(&self, asked: &mut BTreeMap<(String, u32), u64>) -> Option<Duration> {
        let again = Some(Duration::from_millis(ASK_EVERY_MS));
        // What cannot be read or reached now is tried again; whoever asks about domains is told what is wrong.
        let Ok(runs) = self.runs.read() else { return again };
        let pending: Vec<(String, u32, u64)> = runs
            .domains
            .into_iter()
            .filter_map(|(name, entry)| {
                let run = entry.run?;
                Some((name, run.id, run.shutdown_until_ms?))
            })
            .collect();
        asked.retain(|(name, id), _| pending.iter().any(|(pending, run, _)| (pending, run) == (name, id)));
        let mut next = None;
        for (name, id, until) in pending {
            let now = uptime_ms();
            let ask_at = asked.entry((name.clone(), id)).or_insert(now).saturating_add(ASK_EVERY_MS);
            let outcome = if now >= until {
                match self.busy.turn_now(&name) {
                    Some(_turn) => self.connection.with("ending the domain", |connect| self.end(connect, &name, id)),
                    // Somebody changes it right now, and may end it.
                    None => Err(failed("ending the domain", "it is being changed")),
                }
            } else if now >= ask_at {
                asked.insert((name.clone(), id), now);
                self.ask_again(&name, id)
            } else {
                Ok(())
            };
            let due = if outcome.is_err() { now + ASK_EVERY_MS } else { until.min(now.max(ask_at) + 1) };
            if now < until || outcome.is_err() {
                next = Some(next.map_or(due, |next: u64| next.min(due)));
            }
        }
        next.map(|next| Duration::from_millis(next.saturating_sub(uptime_ms()).max(10)))
    }

    fn ask_again(&self, name: &str, id: u32) -> Result<(), HypervisorError> {
        let seen = self.connection.with("asking the domain to shut down", |connect| find(connect, name))?;
        let Some(seen) = seen else { return Ok(()) };
        if seen.id == Some(id) {
            // Where it cannot hear it now either, it is asked the next time.
            let _ = seen.domain.shutdown();
        }
        // Where it is gone, this notes so.
        self.note(std::slice::from_ref(&seen)).map(drop)
    }
}
