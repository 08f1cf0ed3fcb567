//! What libvirt forgets of domains: the CPU time of runs that ended, shutdowns that were asked for, crashes.
//!
//! It is one small file beside the records of the storage. A run is one life of a domain from its start to its end, with
//! an id of its own; Xen counts CPU time from zero in each. The CPU time of a run is noted whenever somebody looks, so
//! what a domain used between the last look and its end is not counted. CPU times alone reach the disk only now and
//! then; where the process is killed, what it saw since is not counted either.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::connection::failed;
use crate::hypervisor::HypervisorError;

const VERSION: u32 = 1;
/// The largest file that is read, in bytes: room for tens of thousands of domains.
const BYTES_MAX: u64 = 16 << 20;

/// What is remembered of all domains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runs {
    version: u32,
    /// The boot of the machine that the runs belong to; all of them ended with it.
    boot: String,
    pub domains: BTreeMap<String, Entry>,
}

/// What is remembered of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The CPU time of the runs that ended, in microseconds.
    ended_micros: u64,
    /// The run that was seen last, until its end was seen.
    pub run: Option<Run>,
    /// True where the last run ended by a fault of its own.
    pub has_crashed: bool,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// The hypervisor's id.
    pub id: u32,
    /// The most CPU time that was seen of it, in microseconds.
    seen_micros: u64,
    /// True where it has the weight and cap that were set; libvirt starts a domain without its cap.
    pub is_weighted: bool,
    /// When it will be destroyed, in milliseconds since the machine's boot, where it was asked to shut down.
    pub shutdown_until_ms: Option<u64>,
}

/// What a look at a domain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// The id and the CPU time in microseconds of what runs now.
    pub active: Option<(u32, u64)>,
    /// True where it ended by a fault of its own.
    pub has_crashed: bool,
}

impl Runs {
    /// Takes in CPU times of runs that it knows.
    fn see(&mut self, times: &BTreeMap<String, (u32, u64)>) {
        for (name, (id, micros)) in times {
            let run = self.domains.get_mut(name).and_then(|entry| entry.run.as_mut()).filter(|run| run.id == *id);
            if let Some(run) = run {
                run.seen_micros = run.seen_micros.max(*micros);
            }
        }
    }
}

impl Entry {
    pub(super) const fn started(id: u32, previous: &Self) -> Self {
        let run = Run { id, seen_micros: 0, is_weighted: false, shutdown_until_ms: None };
        Self { ended_micros: previous.total_micros(), run: Some(run), has_crashed: false }
    }

    /// The CPU time of all runs, as far as it was seen, in microseconds.
    pub(super) const fn total_micros(&self) -> u64 {
        match &self.run {
            Some(run) => self.ended_micros.saturating_add(run.seen_micros),
            None => self.ended_micros,
        }
    }

    /// The run with this id, where it is the one that was seen last.
    pub(super) fn run_of(&self, id: Option<u32>) -> Option<&Run> {
        self.run.as_ref().filter(|run| Some(run.id) == id)
    }

    /// This after a look.
    pub(super) fn after(&self, sight: Sight) -> Self {
        match (&self.run, sight.active) {
            (Some(run), Some((id, micros))) if run.id == id => {
                // A look can be overtaken by a later one.
                let run = Run { seen_micros: run.seen_micros.max(micros), ..run.clone() };
                Self { run: Some(run), ..self.clone() }
            }
            (_, Some((id, micros))) => {
                let mut next = Self::started(id, self);
                if let Some(run) = &mut next.run {
                    run.seen_micros = micros;
                    // A guest that reboots instead of shutting down is still to go.
                    run.shutdown_until_ms = self.run.as_ref().and_then(|run| run.shutdown_until_ms);
                }
                next
            }
            (_, None) => Self {
                ended_micros: self.total_micros(),
                run: None,
                has_crashed: self.has_crashed || sight.has_crashed,
            },
        }
    }

    /// True where what differs must not be lost; CPU time alone may be written later.
    pub(super) fn differs_much(&self, other: &Self) -> bool {
        let without_time = |entry: &Self| {
            let run = entry.run.as_ref().map(|run| (run.id, run.is_weighted, run.shutdown_until_ms));
            (run, entry.has_crashed)
        };
        without_time(self) != without_time(other)
    }
}

/// The file.
pub(super) struct RunsFile {
    path: PathBuf,
    boot: String,
    /// Threads of this process take turns here, processes at the lock file. What is in it are runs and their CPU times
    /// in microseconds, as they were seen since they were written last.
    unwritten: Mutex<BTreeMap<String, (u32, u64)>>,
}

impl RunsFile {
    /// The file in `folder`, which is made where it is missing.
    pub(super) fn open(folder: &Path) -> Result<Self, HypervisorError> {
        let unreadable = |error| failed("opening the host", format!("{}: {error}", folder.display()));
        fs::create_dir_all(folder).map_err(unreadable)?;
        // Where nothing tells one boot from another, all are one, and ids must do.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let file = Self { path: folder.join("runs.json"), boot, unwritten: Mutex::default() };
        file.read()?;
        Ok(file)
    }

    /// What is remembered.
    pub(super) fn read(&self) -> Result<Runs, HypervisorError> {
        let unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let mut runs = self.written()?;
        runs.see(&unwritten);
        Ok(runs)
    }

    /// Remembers CPU times until the next change is written.
    pub(super) fn see(&self, times: impl IntoIterator<Item = (String, (u32, u64))>) {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).extend(times);
    }

    fn written(&self) -> Result<Runs, HypervisorError> {
        let reading = |reason: String| {
            let remedy = "it holds CPU times and pending shutdowns only; if it cannot be repaired, remove it";
            failed("reading what is known of domains", format!("{}: {reason}; {remedy}", self.path.display()))
        };
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => {
                file.take(BYTES_MAX + 1).read_to_end(&mut text).map_err(|error| reading(error.to_string()))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Runs { version: VERSION, boot: self.boot.clone(), domains: BTreeMap::new() });
            }
            Err(error) => return Err(reading(error.to_string())),
        }
        if text.len() as u64 > BYTES_MAX {
            return Err(reading(format!("it is larger than {BYTES_MAX} bytes")));
        }
        let mut runs: Runs = serde_json::from_slice(&text).map_err(|error| reading(error.to_string()))?;
        if runs.version != VERSION {
            return Err(reading(format!("it has version {}, and this program reads {VERSION}", runs.version)));
        }
        if runs.boot != self.boot {
            let gone = Sight { active: None, has_crashed: false };
            runs.domains.values_mut().for_each(|entry| *entry = entry.after(gone));
            runs.boot.clone_from(&self.boot);
        }
        Ok(runs)
    }

    /// Changes what is remembered; it is on disk on return.
    pub(super) fn change<T>(&self, act: impl FnOnce(&mut Runs) -> T) -> Result<T, HypervisorError> {
        let writing = |error| failed("noting what is known of domains", format!("{}: {error}", self.path.display()));
        let mut unwritten = self.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = File::create(self.path.with_extension("lock")).map_err(writing)?;
        lock.lock().map_err(writing)?;
        let before = self.written()?;
        let mut runs = before.clone();
        runs.see(&unwritten);
        let result = act(&mut runs);
        if runs != before {
            let text = serde_json::to_vec(&runs).map_err(|error| writing(error.into()))?;
            let new = self.path.with_extension("new");
            let mut file = File::create(&new).map_err(writing)?;
            file.write_all(&text).and_then(|()| file.sync_all()).map_err(writing)?;
            fs::rename(&new, &self.path).map_err(writing)?;
        }
        unwritten.clear();
        Ok(result)
    }
}

/// Milliseconds since the machine's boot, also while it slept, by which deadlines are kept: it knows no clock that is put right.
pub(super) fn uptime_ms() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|text| text.parse::<f64>().ok());
    seconds.map_or(0, |seconds| (seconds * 1000.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn running(id: u32, micros: u64) -> Sight {
        Sight { active: Some((id, micros)), has_crashed: false }
    }

    const STOPPED: Sight = Sight { active: None, has_crashed: false };

    #[test]
    fn cpu_time_adds_up_over_runs_and_never_falls() {
        let mut entry = Entry::default();
        for (sight, total) in [
            (STOPPED, 0),
            (running(1, 5), 5),
            (running(1, 9), 9),
            (running(1, 8), 9),
            (STOPPED, 9),
            (STOPPED, 9),
            (running(2, 1), 10),
            // It was started again by itself between two looks.
            (running(3, 4), 14),
            (running(3, 6), 16),
        ] {
            entry = entry.after(sight);
            assert_eq!(entry.total_micros(), total, "{sight:?}");
        }
    }

    #[test]
    fn a_weight_is_that_of_one_run_and_a_shutdown_lasts_until_the_end() {
        let mut entry = Entry::started(7, &Entry::default());
        let run = entry.run.as_mut().unwrap();
        (run.is_weighted, run.shutdown_until_ms) = (true, Some(5));
        assert_eq!(entry.after(running(7, 1)).run_of(Some(7)).unwrap().shutdown_until_ms, Some(5));
        let next = entry.after(running(8, 1));
        assert_eq!(next.run_of(Some(8)).map(|run| (run.is_weighted, run.shutdown_until_ms)), Some((false, Some(5))));
        assert_eq!(next.run_of(Some(7)), None);
        let started = Entry::started(9, &next.after(STOPPED));
        assert_eq!(started.run_of(Some(9)).map(|run| (run.is_weighted, run.shutdown_until_ms)), Some((false, None)));
        assert!(entry.differs_much(&next) && !entry.differs_much(&entry.after(running(7, 1))));
    }

    #[test]
    fn a_crash_is_remembered_until_the_next_start() {
        let crashed = Entry::default().after(running(1, 1)).after(Sight { active: None, has_crashed: true });
        assert!(crashed.has_crashed && crashed.after(STOPPED).has_crashed);
        assert!(!Entry::started(2, &crashed).has_crashed);
    }

    #[test]
    fn it_lasts_and_a_reboot_ends_all_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = RunsFile::open(folder.path()).unwrap();
        file.change(|runs| runs.domains.insert("a".into(), Entry::default().after(running(1, 5)))).unwrap();
        let again = RunsFile::open(folder.path()).unwrap().read().unwrap();
        assert_eq!(again, file.read().unwrap());
        assert!(again.domains["a"].run.is_some());
        let rebooted = RunsFile { boot: "another".into(), ..RunsFile::open(folder.path()).unwrap() };
        let entry = &rebooted.read().unwrap().domains["a"];
        assert_eq!((entry.run.as_ref(), entry.total_micros()), (None, 5));
    }

    #[test]
    fn cpu_times_that_are_not_written_yet_count_and_are_written_with_the_next_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = RunsFile::open(folder.path()).unwrap();
        file.change(|runs| runs.domains.insert("a".into(), Entry::started(1, &Entry::default()))).unwrap();
        file.see([("a".into(), (1, 5)), ("b".into(), (2, 7))]);
        let total = |file: &RunsFile| file.read().unwrap().domains["a"].total_micros();
        assert_eq!((total(&file), total(&RunsFile::open(folder.path()).unwrap())), (5, 0));
        file.change(|runs| {
            let entry = runs.domains.get_mut("a").unwrap();
            *entry = entry.after(STOPPED);
        })
        .unwrap();
        assert_eq!(total(&RunsFile::open(folder.path()).unwrap()), 5);
    }

    #[test]
    fn a_damaged_file_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "{\"version\":2,\"boot\":\"\",\"domains\":{}}"] {
            fs::write(folder.path().join("runs.json"), text).unwrap();
            let error = RunsFile::open(folder.path()).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("runs.json") && error.contains("remove it"), "{error}");
        }
    }
}
