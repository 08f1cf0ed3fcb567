//! What the program takes from the machine it runs on: the time, chance, and Ctrl-C.
//!
//! Tests set the time and the seed, so that every run prints the same: `TYCOON_CLOCK` stops the clock at a number of
//! seconds since the Unix epoch, `TYCOON_SEED` makes the keys. Only the embedded site knows them.

use std::io;
use std::sync::atomic::AtomicBool;
#[cfg(debug_assertions)]
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use tycoon_executor::engine::StopFlag;
use tycoon_executor::journal::AfterRecord;
use tycoon_market::Timestamp;
use tycoon_rpc::{Clock, FixedClock, SystemClock};

use crate::exit::Exit;
use crate::failure::Failure;

/// The time and the seed.
#[derive(Clone)]
pub struct Surroundings {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The seed of all keys, where tests set one.
    pub seed: Option<u64>,
}

impl Surroundings {
    /// What the environment says.
    pub fn find() -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = match number("TYCOON_CLOCK")? {
            Some(seconds) => {
                Arc::new(FixedClock::new(Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))))
            }
            None => Arc::new(SystemClock),
        };
        Ok(Self { clock, seed: number("TYCOON_SEED")? })
    }

    /// Where a test asks for it, ends or interrupts the program after a record of the journal. Only programs built for
    /// tests have this.
    #[cfg(debug_assertions)]
    pub fn after_record(&self) -> Option<AfterRecord> {
        let strike = strike("journal")?;
        Some(Arc::new(move |_| strike()))
    }

    /// Programs that are not built for tests are never ended.
    #[cfg(not(debug_assertions))]
    pub fn after_record(&self) -> Option<AfterRecord> {
        None
    }
}

/// What a test wants to happen at a write of `what`: `TYCOON_CRASH_AFTER=what:N` ends the program at the Nth as if it
/// were killed, `TYCOON_INTERRUPT_AFTER=what:N` presses Ctrl-C.
#[cfg(debug_assertions)]
fn strike(what: &str) -> Option<impl Fn() + Send + Sync + use<>> {
    let wish = |variable: &str| {
        let wish = std::env::var(variable).ok()?;
        let (place, count) = wish.split_once(':')?;
        (place == what).then(|| count.parse::<u64>().ok()).flatten()
    };
    let (crash_at, interrupt_at) = (wish("TYCOON_CRASH_AFTER"), wish("TYCOON_INTERRUPT_AFTER"));
    crash_at.or(interrupt_at)?;
    let seen = std::sync::atomic::AtomicU64::new(0);
    Some(move || {
        let now = Some(seen.fetch_add(1, Ordering::SeqCst) + 1);
        if now == crash_at {
            die();
        }
        if now == interrupt_at {
            // A test that cannot interrupt fails by itself.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
        }
    })
}

/// Ends the program without any cleaning up, as `kill -9` would.
#[cfg(debug_assertions)]
#[expect(clippy::disallowed_methods, reason = "that no destructor runs is the point: tests see what a kill leaves")]
fn die() -> ! {
    std::process::abort()
}

fn number(variable: &str) -> Result<Option<u64>, Failure> {
    match std::env::var(variable) {
        Err(_) => Ok(None),
        Ok(text) => text.parse().map(Some).map_err(|_| {
            Failure::new(Exit::Usage, format!("{variable} is `{text}`, which is not a whole number"))
                .help(format!("unset {variable}; only tests need it"))
        }),
    }
}

/// The first Ctrl-C (or SIGTERM) asks the run to finish what it has begun; the second ends the program. A command that opens
/// its site again and again has one flag.
pub fn stop_on_interrupt() -> Result<StopFlag, Failure> {
    static FLAG: OnceLock<StopFlag> = OnceLock::new();
    if let Some(flag) = FLAG.get() {
        return Ok(flag.clone());
    }
    let failed = |error: io::Error| Failure::from_error(Exit::Failed, &error);
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the second signal finds the flag set and ends the program.
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, interrupted.clone()).map_err(failed)?;
    }
    Ok(FLAG.get_or_init(|| StopFlag::of(interrupted)).clone())
}

/// Where a test asks for it, ends or interrupts the program before or after a write of a host's market.
#[cfg(debug_assertions)]
pub fn host_hook() -> Option<tycoon_xen::daemon::SaveHook> {
    let strike = strike("host")?;
    Some(Arc::new(strike))
}

/// Programs that are not built for tests are never ended.
#[cfg(not(debug_assertions))]
pub fn host_hook() -> Option<tycoon_xen::daemon::SaveHook> {
    None
}

/// Where a test asks for it, ends or interrupts the program at a write of the bank.
#[cfg(debug_assertions)]
pub fn bank_hook() -> Option<tycoon_bank::journal::FaultHook> {
    let strike = strike("bank")?;
    Some(Arc::new(move |_| strike()))
}

/// Programs that are not built for tests are never ended.
#[cfg(not(debug_assertions))]
pub fn bank_hook() -> Option<tycoon_bank::journal::FaultHook> {
    None
}
