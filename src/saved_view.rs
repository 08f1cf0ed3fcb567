//! Saved disks as people and programs read of them, and how far saving is.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tycoon_executor::save::{Saved, Subject};
use tycoon_market::resource::show_bytes;

/// What is saved sooner needs no word.
const PACE: Duration = Duration::from_secs(5);

/// What was saved: `hello/web.0 is saved in ./hello.web.0.raw (a volume of 1 GiB)`.
pub fn line(saved: &Saved) -> String {
    let Subject { pool, domain, .. } = &saved.manifest.subject;
    let bytes = show_bytes(saved.manifest.volume_bytes);
    format!("{pool}/{domain} is saved in {} (a volume of {bytes})", saved.path.display())
}

/// All that was saved, a line each.
pub fn lines(all: &[Saved]) -> String {
    all.iter().map(|saved| format!("{}\n", line(saved))).collect()
}

/// What was saved, for programs: its manifest, where it is, and why it is something else than was asked for.
pub fn to_json(saved: &Saved) -> Value {
    let mut value = json!(saved.manifest);
    value["path"] = json!(saved.path);
    value["instead"] = json!(saved.instead);
    value
}

/// Tells from time to time how far saving is.
pub struct Pace {
    told_at: Instant,
}

impl Pace {
    /// It begins now.
    pub fn new() -> Self {
        Self { told_at: Instant::now() }
    }

    /// The percents that are to be told now, where it is time.
    pub fn percents(&mut self, bytes: u64, total_bytes: u64) -> Option<u64> {
        if self.told_at.elapsed() < PACE {
            return None;
        }
        self.told_at = Instant::now();
        Some(percents(bytes, total_bytes))
    }
}

/// How much of a whole something is.
pub fn percents(bytes: u64, total_bytes: u64) -> u64 {
    bytes.saturating_mul(100) / total_bytes.max(1)
}
