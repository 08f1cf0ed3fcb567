//! Whether the bank that pays a served host is there, and is the one that it should be. A host that cannot be paid takes
//! part in the market all the same, so that nobody would notice otherwise.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tycoon_bank::BankClient;
use tycoon_rpc::CallError;

use super::serve::one_line;
use super::stop::Stop;

/// The pause between two looks.
const INTERVAL: Duration = Duration::from_secs(30);

/// A thread that looks after the bank.
pub struct BankWatch {
    stop: Arc<Stop>,
    problem: Arc<Mutex<Option<String>>>,
}

impl BankWatch {
    /// Begins to look at the bank, which is at `url`.
    pub fn start(bank: BankClient, url: &str) -> io::Result<Self> {
        let watch = Self { stop: Arc::default(), problem: Arc::default() };
        let (stop, problem, url) = (watch.stop.clone(), watch.problem.clone(), url.to_owned());
        let look = move || {
            loop {
                let found = bank.info().err().map(|error| told(&error, &url));
                let mut known = problem.lock().unwrap_or_else(PoisonError::into_inner);
                match (&*known, &found) {
                    (before, Some(now)) if before.as_ref() != Some(now) => tracing::warn!("{now}"),
                    (Some(_), None) => tracing::info!(url, "the bank answers again"),
                    _ => {}
                }
                *known = found;
                drop(known);
                if stop.wait(INTERVAL) {
                    return;
                }
            }
        };
        // It is not waited for at the end: a call to a bank that is not there takes its time, and changes nothing.
        std::thread::Builder::new().name("bank-watch".into()).spawn(look)?;
        Ok(watch)
    }

    /// What is wrong with the bank, as far as was seen last.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for BankWatch {
    fn drop(&mut self) {
        self.stop.ask();
    }
}

fn told(error: &CallError, url: &str) -> String {
    match error {
        CallError::Untrusted { .. } => format!(
            "what answers at {url} does not have the key of the bank that pays this host, so that nothing is earned; check \
             --bank and --bank-key ({})",
            one_line(error)
        ),
        _ => format!(
            "the bank at {url} cannot be reached, so that nobody can put money in or get it back: {}",
            one_line(error)
        ),
    }
}
