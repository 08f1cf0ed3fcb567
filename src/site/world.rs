//! What the program takes from the machine it runs on: the time, chance, and Ctrl-C.
//!
//! Tests set the time and the seed, so that every run prints the same: `TYCOON_CLOCK` stops the clock at a number of
//! seconds since the Unix epoch, `TYCOON_SEED` makes the keys. Only the embedded site knows them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Where a test asks for it, ends the program as if it were killed after a record of the journal. Only programs
    /// built for tests have this.
    #[cfg(debug_assertions)]
    pub fn after_record(&self) -> Option<AfterRecord> {
        let at = crash_point("journal")?;
        let seen = std::sync::atomic::AtomicU64::new(0);
        Some(Arc::new(move |_| {
            if seen.fetch_add(1, Ordering::SeqCst) + 1 == at {
                std::process::abort();
            }
        }))
    }

    /// Programs that are not built for tests are never ended.
    #[cfg(not(debug_assertions))]
    pub fn after_record(&self) -> Option<AfterRecord> {
        None
    }
}

/// The number after `what:` in `TYCOON_CRASH_AFTER`: after how many writes of `what` a test wants the program ended.
#[cfg(debug_assertions)]
pub fn crash_point(what: &str) -> Option<u64> {
    let wish = std::env::var("TYCOON_CRASH_AFTER").ok()?;
    let (where_to, count) = wish.split_once(':')?;
    (where_to == what).then(|| count.parse().ok()).flatten()
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

/// The first Ctrl-C (or SIGTERM) asks the run to finish what it has begun; the second ends the program.
pub fn stop_on_interrupt() -> Result<StopFlag, Failure> {
    let failed = |error: io::Error| Failure::from_error(Exit::Failed, &error);
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // In this order: the second signal finds the flag set and ends the program.
        signal_hook::flag::register_conditional_shutdown(signal, 130, interrupted.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, interrupted.clone()).map_err(failed)?;
    }
    Ok(StopFlag::of(interrupted))
}

/// Where a test asks for it, ends the program as if it were killed at a write of the bank.
#[cfg(debug_assertions)]
pub fn bank_hook() -> Option<tycoon_bank::journal::FaultHook> {
    let at = crash_point("bank")?;
    let seen = std::sync::atomic::AtomicU64::new(0);
    Some(Arc::new(move |_| {
        if seen.fetch_add(1, Ordering::SeqCst) + 1 == at {
            std::process::abort();
        }
    }))
}

/// Programs that are not built for tests are never ended.
#[cfg(not(debug_assertions))]
pub fn bank_hook() -> Option<tycoon_bank::journal::FaultHook> {
    None
}
