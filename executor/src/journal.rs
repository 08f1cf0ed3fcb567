//! The journal of one pool: what was planned, what was begun, what came of it.
//!
//! An append-only file of lines, one JSON record each, every line carrying a checksum that covers the line before:
//! a torn last line is cut when the journal is opened for writing, and any other damage is named and stops the
//! start. A record is on disk before the act it announces. Reading needs no lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tycoon_market::{Credits, Timestamp};
use tycoon_planner::plan::{Change, Goal, Plan, PlanId, StepId};
use tycoon_planner::world::History;

/// The largest journal that is read, in bytes. Older plans can be moved away: hosts and bank know what there is.
const MAX_BYTES: u64 = 256 << 20;

/// One entry of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// A plan is about to be carried out.
    PlanBegun {
        /// All of it.
        plan: Box<Plan>,
    },
    /// A step is about to be done.
    StepBegun {
        /// Its plan.
        plan: PlanId,
        /// The step.
        step: StepId,
    },
    /// A step ended.
    StepEnded {
        /// Its plan.
        plan: PlanId,
        /// The step.
        step: StepId,
        /// How.
        outcome: Outcome,
    },
    /// A plan ended: every step was done, failed, or skipped because of one that failed.
    PlanEnded {
        /// The plan.
        plan: PlanId,
        /// True where every step succeeded.
        succeeded: bool,
        /// What the hosts had charged for the pool by then, as far as they could be asked.
        charged: Credits,
    },
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It succeeded.
    Done {
        /// False where the world was as it should be already.
        changed: bool,
    },
    /// It failed.
    Failed {
        /// Why.
        error: String,
    },
    /// It was not tried, because a step it needs did not succeed.
    Skipped,
}

/// A line of the file. Its checksum follows as the last value: the first half of the SHA-256 of the checksum of the line
/// before and of everything in this line before its own.
#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    at: Timestamp,
    #[serde(flatten)]
    record: &'a Record,
}

/// A line as it is read; its checksum was checked before.
#[derive(Deserialize)]
struct ReadLine {
    number: u64,
    at: Timestamp,
    #[serde(flatten)]
    record: Record,
}

/// What comes before a line's checksum.
const BEFORE_CHECKSUM: &str = r#","checksum":""#;
/// What comes after it.
const AFTER_CHECKSUM: &str = "\"}";
/// The hexadecimal digits of a checksum.
const CHECKSUM_DIGITS: usize = 32;

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("the journal {path} cannot be {action}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A line is not what was written.
    #[error("the journal {path} is damaged at line {line}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// An earlier write has failed, so that it is not known what is in the file.
    #[error("the journal {path} was not written to the end before; run the command again, which reads it anew")]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// The file is larger than what is read.
    #[error(
        "the journal {path} has {bytes} bytes, more than the {MAX_BYTES} that are read; \
         move it away: what there is, the hosts and the bank know"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
}

/// Called after each record is on disk, with its number. For crash tests.
pub type AfterRecord = Arc<dyn Fn(u64) + Send + Sync>;

/// A journal open for writing.
pub struct Journal {
    path: PathBuf,
    file: File,
    next: u64,
    checksum: String,
    /// The length of the file up to its last whole line.
    length: u64,
    /// True from before a write until it is known to be on disk.
    broken: bool,
    /// Every record, in order.
    records: Vec<(Timestamp, Record)>,
    torn: bool,
    after_record: Option<AfterRecord>,
}

impl Journal {
    /// Opens or creates the journal at `path`. The caller holds the pool's lock. A torn last line is cut.
    ///
    /// # Errors
    /// [`JournalError`] where the file cannot be used, or is not what was written.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let io = |action| move |source| JournalError::Io { path: path.to_owned(), action, source };
        let is_new = !path.exists();
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io("opened"))?;
        let read = parse(path, &read_bytes(path, &mut file)?)?;
        if read.torn {
            file.set_len(read.good_bytes).map_err(io("cut after its last whole line"))?;
            file.sync_all().map_err(io("written"))?;
        }
        file.seek(SeekFrom::Start(read.good_bytes)).map_err(io("read"))?;
        if is_new && let Some(folder) = path.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("written"))?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            next: read.records.len() as u64 + 1,
            checksum: read.checksum,
            length: read.good_bytes,
            broken: false,
            records: read.records,
            torn: read.torn,
            after_record: None,
        })
    }

    /// Calls `hook` after each record is on disk.
    pub fn set_after_record(&mut self, hook: AfterRecord) {
        self.after_record = Some(hook);
    }

    /// True where the last line was torn when the journal was opened: the last run was killed while writing.
    pub const fn was_torn(&self) -> bool {
        self.torn
    }

    /// Every record, in order.
    pub fn records(&self) -> &[(Timestamp, Record)] {
        &self.records
    }

    /// What the planner has to know of earlier plans.
    pub fn history(&self) -> History {
        history(&self.records)
    }

    /// Writes a record; it is on disk on return.
    ///
    /// # Errors
    /// [`JournalError`]; nothing more is written after one.
    pub fn write(&mut self, at: Timestamp, record: Record) -> Result<(), JournalError> {
        self.write_all(at, [record])
    }

    /// Writes records with one sync; they are on disk on return.
    ///
    /// # Errors
    /// [`JournalError`]; nothing more is written after one.
    pub fn write_all(&mut self, at: Timestamp, records: impl IntoIterator<Item = Record>) -> Result<(), JournalError> {
        if self.broken {
            return Err(JournalError::Broken { path: self.path.clone() });
        }
        let io = |source| JournalError::Io { path: self.path.clone(), action: "written", source };
        let (mut text, mut checksum, mut written) = (String::new(), self.checksum.clone(), Vec::new());
        for record in records {
            let number = self.next + written.len() as u64;
            let line =
                serde_json::to_string(&Line { number, at, record: &record }).map_err(|error| io(error.into()))?;
            // All but the brace that closes the line.
            let body = line.strip_suffix('}').unwrap_or(&line);
            checksum = checksum_after(&checksum, body.as_bytes());
            text.extend([body, BEFORE_CHECKSUM, &checksum, AFTER_CHECKSUM, "\n"]);
            written.push((at, record));
        }
        if written.is_empty() {
            return Ok(());
        }
        self.broken = true;
        if let Err(source) = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()) {
            // What got there of it must not stand before what others may write. Where even that fails, the torn line is
            // cut, or the damage is named, when the journal is next opened.
            let _ = self.file.set_len(self.length);
            return Err(JournalError::Io { path: self.path.clone(), action: "written", source });
        }
        self.broken = false;
        self.length += text.len() as u64;
        self.checksum = checksum;
        for written in written {
            self.records.push(written);
            if let Some(hook) = &self.after_record {
                hook(self.next);
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// The records of the journal at `path`, without any lock; none where there is no journal. A torn last line is
/// passed over.
pub fn read(path: &Path) -> Result<Vec<(Timestamp, Record)>, JournalError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(JournalError::Io { path: path.to_owned(), action: "opened", source }),
    };
    Ok(parse(path, &read_bytes(path, &mut file)?)?.records)
}

/// What the planner has to know of the plans in these records.
pub fn history(records: &[(Timestamp, Record)]) -> History {
    let mut history = History::default();
    let mut last: Option<&Plan> = None;
    for (_, record) in records {
        match record {
            Record::PlanBegun { plan } => {
                history.parent = Some(plan.id);
                history.generation = history.generation.max(plan.generation);
                if plan.goal == Goal::Up {
                    history.period = plan.period;
                    let stay = plan.domains.iter().filter(|domain| domain.change != Change::Remove);
                    history.placements = stay.map(|domain| (domain.path.clone(), domain.host)).collect();
                }
                last = Some(plan);
            }
            Record::PlanEnded { plan, succeeded: true, .. }
                if last.is_some_and(|last| last.id == *plan && last.goal == Goal::Down) =>
            {
                history.period = None;
                history.placements = BTreeMap::new();
            }
            _ => {}
        }
    }
    history
}

/// The folders that the plans in these records have domains saved to: those that this machine has heard of from somebody
/// else than a host.
pub fn save_folders(records: &[(Timestamp, Record)]) -> BTreeSet<String> {
    let plans = records.iter().filter_map(|(_, record)| match record {
        Record::PlanBegun { plan } if plan.goal == Goal::Up => Some(plan),
        _ => None,
    });
    let specs = plans.flat_map(|plan| &plan.domains).filter_map(|domain| domain.spec.as_ref());
    specs.filter_map(|spec| spec.save_image.as_ref()).map(|save| save.to.clone()).collect()
}

/// When the pool was last taken down completely, by the clock of these records; `None` where it never was.
pub fn gone_since(records: &[(Timestamp, Record)]) -> Option<Timestamp> {
    let mut goal = None;
    let mut gone = None;
    for (at, record) in records {
        match record {
            Record::PlanBegun { plan } => goal = Some((plan.id, plan.goal)),
            Record::PlanEnded { plan, succeeded: true, .. } if goal == Some((*plan, Goal::Down)) => gone = Some(*at),
            _ => {}
        }
    }
    gone
}

/// The last plan of these records, where it was begun and has not ended: its run was killed or interrupted.
pub fn unfinished(records: &[(Timestamp, Record)]) -> Option<&Plan> {
    records.iter().rev().find_map(|(_, record)| match record {
        Record::PlanEnded { .. } => Some(None),
        Record::PlanBegun { plan } => Some(Some(plan.as_ref())),
        _ => None,
    })?
}

struct Parsed {
    records: Vec<(Timestamp, Record)>,
    checksum: String,
    good_bytes: u64,
    torn: bool,
}

fn read_bytes(path: &Path, file: &mut File) -> Result<Vec<u8>, JournalError> {
    let io = |source| JournalError::Io { path: path.to_owned(), action: "read", source };
    let bytes = file.metadata().map_err(io)?.len();
    if bytes > MAX_BYTES {
        return Err(JournalError::TooLarge { path: path.to_owned(), bytes });
    }
    let mut content = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut content).map_err(io)?;
    Ok(content)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed, JournalError> {
    let mut parsed = Parsed { records: Vec::new(), checksum: String::new(), good_bytes: 0, torn: false };
    for text in bytes.split_inclusive(|&byte| byte == b'\n') {
        let number = parsed.records.len() as u64 + 1;
        let damaged = |reason: String| JournalError::Damaged { path: path.to_owned(), line: number, reason };
        let Some(line) = text.strip_suffix(b"\n") else {
            // A whole line before the last byte: then that was its line feed, and was changed, not cut off.
            let rest = text.split_last().map_or(text, |(_, rest)| rest);
            if parse_line(rest, number, &parsed.checksum).is_ok() {
                return Err(damaged("it does not end with a line feed".into()));
            }
            parsed.torn = true;
            break;
        };
        let (record, checksum) = parse_line(line, number, &parsed.checksum).map_err(damaged)?;
        parsed.checksum = checksum;
        parsed.records.push(record);
        parsed.good_bytes += text.len() as u64;
    }
    Ok(parsed)
}

/// The record and the checksum of a line without its line feed, or what is wrong with it.
fn parse_line(line: &[u8], number: u64, before: &str) -> Result<((Timestamp, Record), String), String> {
    let tail_bytes = BEFORE_CHECKSUM.len() + CHECKSUM_DIGITS + AFTER_CHECKSUM.len();
    let (body, tail) = line.split_at(line.len().saturating_sub(tail_bytes));
    let expected = checksum_after(before, body);
    if tail != [BEFORE_CHECKSUM, &expected, AFTER_CHECKSUM].concat().as_bytes() {
        return Err("its checksum does not match".into());
    }
    let read: ReadLine = serde_json::from_slice(line)
        .map_err(|error| format!("it cannot be understood ({error}); was it written by a newer version?"))?;
    if read.number != number {
        return Err(format!("it says it is record {}", read.number));
    }
    Ok(((read.at, read.record), expected))
}

/// The checksum of a line with this body after a line with the checksum `before`.
fn checksum_after(before: &str, body: &[u8]) -> String {
    let hash = Sha256::new().chain_update(before).chain_update(body).finalize();
    hash[..CHECKSUM_DIGITS / 2].iter().map(|byte| format!("{byte:02x}")).collect()
}
