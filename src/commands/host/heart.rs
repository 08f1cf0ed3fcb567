//! The heart of a served host: at every interval time is charged and everything divided anew. What the owner's file or
//! the machine says now holds from the next beat on. The bank is told by a thread of its own, so that one that is out of
//! reach does not hold the market up.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tycoon_market::TimeSpan;
use tycoon_sls::announce::Announcing;
use tycoon_xen::daemon::HostDaemon;
use tycoon_xen::hypervisor::Hypervisor;

use super::policy_file::PolicyFile;
use super::serve::one_line;
use super::steady_clock::{SteadyClock, Step};
use super::stop::Stop;

/// How often it is looked whether a domain is to be started again.
const KEEP: Duration = Duration::from_millis(250);

/// A thread that beats until it is stopped.
pub struct Heart {
    stop: Arc<Stop>,
    heart: JoinHandle<()>,
    teller: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

/// What beats.
struct Beating {
    daemon: Arc<HostDaemon>,
    hypervisor: Arc<dyn Hypervisor>,
    policy: PolicyFile,
    clock: Arc<SteadyClock>,
    announcing: Option<Arc<Announcing>>,
    /// Has the bank told.
    teller: SyncSender<()>,
    last: Instant,
    has_failed: bool,
}

impl Heart {
    /// Begins to beat.
    pub fn start(
        daemon: Arc<HostDaemon>,
        hypervisor: Arc<dyn Hypervisor>,
        policy: PolicyFile,
        clock: Arc<SteadyClock>,
        announcing: Option<Arc<Announcing>>,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let stopping = stop.clone();
        // One that waits is enough: whoever is told hears everything.
        let (teller, asked) = sync_channel(1);
        let telling = daemon.clone();
        let tell = move || asked.into_iter().for_each(|()| telling.tell());
        // Starting a domain takes long: the market does not wait for it.
        let (kept, ending) = (daemon.clone(), stop.clone());
        let keep = move || {
            while !ending.wait(KEEP) {
                kept.restart_due();
            }
        };
        let last = Instant::now();
        let mut beating = Beating { daemon, hypervisor, policy, clock, announcing, teller, last, has_failed: false };
        let beat = move || {
            loop {
                // An interval is counted from beat to beat, however long a beat takes.
                let interval = Duration::from_micros(beating.daemon.interval().micros());
                if stopping.wait(interval.saturating_sub(beating.last.elapsed())) {
                    return;
                }
                beating.beat();
            }
        };
        let teller = thread::Builder::new().name("teller".into()).spawn(tell)?;
        let heart = thread::Builder::new().name("heart".into()).spawn(beat)?;
        let keeper = thread::Builder::new().name("keeper".into()).spawn(keep)?;
        Ok(Self { stop, heart, teller, keeper })
    }

    /// Stops, once a beat that has begun is done, and the bank has been told what it is being told.
    pub fn stop(self) {
        self.stop.ask();
        // They fail only by a panic, of which its own message has told. With the heart ends who asks the teller.
        let _ = self.heart.join();
        let _ = self.teller.join();
        let _ = self.keeper.join();
    }
}

impl Beating {
    fn beat(&mut self) {
        let passed = self.last.elapsed();
        self.last = Instant::now();
        self.prepare();
        let passed = TimeSpan::from_micros(u64::try_from(passed.as_micros()).unwrap_or(u64::MAX));
        let ticked = self.daemon.beat(|| match self.clock.follow() {
            Step::None => None,
            Step::Forward(by) => {
                tracing::warn!(by = %by, "the machine's clock was set forward; only the time that passed is charged");
                Some(passed)
            }
            Step::Back(by) => {
                tracing::warn!(by = %by, "the machine's clock was set back; no time is charged");
                None
            }
        });
        // Where it is still being told, and asked for again already, that is enough.
        let _ = self.teller.try_send(());
        match ticked {
            Ok(()) if self.has_failed => {
                tracing::info!("the market goes on");
                self.has_failed = false;
            }
            Ok(()) => {}
            Err(error) if self.has_failed => tracing::debug!(error = %one_line(&error), "the market stands still"),
            Err(error) => {
                tracing::error!(error = %one_line(&error), "the market stands still; it is tried again at every interval");
                self.has_failed = true;
            }
        }
    }

    /// Takes in what file and machine say now.
    fn prepare(&mut self) {
        let prepared = match self.policy.changed_config(&*self.hypervisor) {
            Ok(Some(config)) => self.daemon.prepare(config).map_err(|error| one_line(&error)),
            Ok(None) => return,
            Err(failure) => Err(failure.message()),
        };
        match prepared {
            Ok(()) => {
                tracing::info!("what is sold has changed");
                if let Some(announcing) = &self.announcing {
                    announcing.now();
                }
            }
            Err(error) => tracing::error!(error, "what is sold cannot be changed; it stays as it was"),
        }
    }
}
