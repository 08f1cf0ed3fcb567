//! The journal of a pool: what was written is what is read, a torn end is cut, and damage is named.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use support::plans::{period, placements, remembered};
use tempfile::TempDir;
use tycoon_executor::journal::{self, Journal, JournalError, Outcome, Record};
use tycoon_market::{Credits, Timestamp};
use tycoon_planner::plan::{Change, Goal, PlanId, StepId};
use tycoon_planner::world::History;

const PLAN: PlanId = PlanId::from_bytes([7; 16]);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn begun(step: u32) -> Record {
    Record::StepBegun { plan: PLAN, step: StepId(step) }
}

fn failed(step: u32, error: &str) -> Record {
    Record::StepEnded { plan: PLAN, step: StepId(step), outcome: Outcome::Failed { error: error.into() } }
}

fn ended(plan: PlanId, succeeded: bool) -> Record {
    Record::PlanEnded { plan, succeeded, charged: Credits::from_micros(42) }
}

/// One record of every kind.
fn records() -> Vec<Record> {
    vec![
        Record::PlanBegun { plan: Box::new(remembered(7, 3, Goal::Up, &[("web.0", 1)])) },
        begun(0),
        begun(1),
        Record::StepEnded { plan: PLAN, step: StepId(0), outcome: Outcome::Done { changed: true } },
        failed(1, "the host said \"no\"\nand hung up: \u{1f4a5}\u{0}"),
        Record::StepEnded { plan: PLAN, step: StepId(2), outcome: Outcome::Skipped },
        ended(PLAN, false),
    ]
}

/// A folder with a journal of all kinds of records in it.
fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.journal");
    let mut journal = Journal::open(&path).unwrap();
    for (second, record) in records().into_iter().enumerate() {
        journal.write(at(second as i64), record).unwrap();
    }
    (folder, path)
}

fn read(path: &Path) -> Vec<Record> {
    journal::read(path).unwrap().into_iter().map(|(_, record)| record).collect()
}

#[test]
fn what_was_written_is_read_again_and_goes_on() {
    let (_folder, path) = written();
    assert_eq!(read(&path), records());
    let mut journal = Journal::open(&path).unwrap();
    assert!(!journal.was_torn());
    assert_eq!(journal.records()[1], (at(1), begun(0)));
    journal.write(at(9), begun(9)).unwrap();
    assert_eq!(journal.records().len(), records().len() + 1);
    assert_eq!(read(&path).last(), Some(&begun(9)), "reading needs no lock");
}

#[test]
fn records_written_together_are_the_same_lines_as_one_by_one() {
    let (folder, one_by_one) = written();
    let together = folder.path().join("together.journal");
    let mut journal = Journal::open(&together).unwrap();
    let numbers = Arc::new(Mutex::new(Vec::new()));
    let seen = numbers.clone();
    journal.set_after_record(Arc::new(move |number| seen.lock().unwrap().push(number)));
    for (second, record) in records().into_iter().enumerate() {
        // Each with its own time, so that the lines can be compared; then the rest at once.
        journal.write_all(at(second as i64), [record]).unwrap();
    }
    assert_eq!(fs::read(&together).unwrap(), fs::read(&one_by_one).unwrap());
    journal.write_all(at(50), []).unwrap();
    journal.write_all(at(50), [begun(50), begun(51)]).unwrap();
    assert_eq!(*numbers.lock().unwrap(), (1..=records().len() as u64 + 2).collect::<Vec<_>>());
    assert_eq!(read(&together)[records().len()..], [begun(50), begun(51)]);
}

#[test]
fn there_is_nothing_in_a_journal_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(journal::read(&folder.path().join("none.journal")).unwrap(), []);
    let missing = folder.path().join("no-folder").join("hello.journal");
    assert!(matches!(Journal::open(&missing), Err(JournalError::Io { .. })));
}

/// Killed at any byte of its writing: the whole lines before stay, and the next run goes on behind them.
#[test]
fn a_torn_last_line_is_cut() {
    let (_folder, path) = written();
    let whole = fs::read(&path).unwrap();
    let mut lines = 0;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let is_torn = length > 0 && whole[length - 1] != b'\n';
        if length > 0 && !is_torn {
            lines += 1;
        }
        assert_eq!(read(&path), records()[..lines], "cut to {length} bytes");
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.was_torn(), is_torn, "cut to {length} bytes");
        journal.write(at(99), begun(99)).unwrap();
        let expected: Vec<Record> = records()[..lines].iter().cloned().chain([begun(99)]).collect();
        assert_eq!(read(&path), expected, "cut to {length} bytes");
    }
}

#[test]
fn a_flipped_bit_is_named_with_its_line() {
    let (_folder, path) = written();
    let whole = fs::read(&path).unwrap();
    for index in 0..whole.len() {
        let line = whole[..index].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[index] ^= 1 << bit;
            fs::write(&path, &damaged).unwrap();
            for outcome in [journal::read(&path).map(|_| ()), Journal::open(&path).map(|_| ())] {
                match outcome {
                    Err(JournalError::Damaged { line: named, .. }) => assert_eq!(named, line, "byte {index} bit {bit}"),
                    other => panic!("byte {index} bit {bit}: {other:?}"),
                }
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "nothing is cut that may be worth something");
        }
    }
}

#[test]
fn lines_that_are_lost_moved_or_repeated_are_noticed() {
    let (_folder, path) = written();
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without: Vec<&str> =
        lines.iter().enumerate().filter(|(number, _)| *number != 2).map(|(_, line)| *line).collect();
    let mut swapped = lines.clone();
    swapped.swap(2, 3);
    let mut repeated = lines.clone();
    repeated.insert(3, lines[2]);
    for (what, lines, line) in [("lost", without, 3), ("moved", swapped, 3), ("repeated", repeated, 4)] {
        fs::write(&path, lines.join("\n") + "\n").unwrap();
        match Journal::open(&path).map(|_| ()) {
            Err(JournalError::Damaged { line: named, .. }) => assert_eq!(named, line, "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    // What is missing at the end cannot be seen in the file itself.
    fs::write(&path, lines[..3].join("\n") + "\n").unwrap();
    assert_eq!(read(&path), records()[..3]);
}

/// A line of another program version is whole and cannot be understood: that is said, and nothing is lost.
#[test]
fn a_record_of_a_newer_version_is_not_taken_for_damage_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.journal");
    Journal::open(&path).unwrap().write(at(1), begun(0)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let body = text.split(",\"checksum\"").next().unwrap().replace("step-begun", "step-dreamt");
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(body.as_bytes());
    let checksum: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(&path, format!("{body},\"checksum\":\"{checksum}\"}}\n")).unwrap();
    let error = journal::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("newer version"), "{error}");
}

/// A disk that is full: what was begun is not believed, and nothing is written behind a half line.
#[test]
fn after_a_failed_write_nothing_more_is_written() {
    let file = rustix::fs::memfd_create("journal", rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
    use std::os::fd::AsRawFd as _;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mut journal = Journal::open(&path).unwrap();
    journal.write(at(1), begun(0)).unwrap();
    rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::GROW).unwrap();
    assert!(matches!(journal.write(at(2), begun(1)), Err(JournalError::Io { action: "written", .. })));
    assert!(matches!(journal.write(at(3), begun(2)), Err(JournalError::Broken { .. })));
    assert_eq!(read(&path), [begun(0)]);
    assert_eq!(journal.records().len(), 1);
}

#[test]
fn history_follows_what_came_up_and_went_down() {
    let up = |id, generation, domains: &[(&str, usize)]| Record::PlanBegun {
        plan: Box::new(remembered(id, generation, Goal::Up, domains)),
    };
    let down = |id, generation, domains: &[(&str, usize)]| Record::PlanBegun {
        plan: Box::new(remembered(id, generation, Goal::Down, domains)),
    };
    let id = |id| PlanId::from_bytes([id; 16]);
    let history = |records: &[Record]| {
        let records: Vec<_> = records.iter().cloned().map(|record| (at(1), record)).collect();
        journal::history(&records)
    };
    assert_eq!(history(&[]), History::default());

    let mut records = vec![up(1, 1, &[("web.0", 1), ("web.1", 2)])];
    let expected = History {
        parent: Some(id(1)),
        generation: 1,
        period: Some(period()),
        placements: placements(&[("web.0", 1), ("web.1", 2)]),
    };
    assert_eq!(history(&records), expected, "a plan that was begun may have done anything already");
    records.push(ended(id(1), true));
    assert_eq!(history(&records), expected);

    records.push(up(2, 2, &[("web.0", 3)]));
    records.push(ended(id(2), false));
    let moved = History { parent: Some(id(2)), generation: 2, placements: placements(&[("web.0", 3)]), ..expected };
    assert_eq!(history(&records), moved);

    records.push(down(3, 3, &[("web.0", 3)]));
    let begun = History { parent: Some(id(3)), generation: 3, ..moved };
    assert_eq!(history(&records), begun, "what goes down is there until it is gone");
    let mut partly = records.clone();
    partly.push(ended(id(3), false));
    assert_eq!(history(&partly), begun);

    records.push(ended(id(3), true));
    let gone = History { parent: Some(id(3)), generation: 3, ..History::default() };
    assert_eq!(history(&records), gone);

    records.push(up(4, 4, &[("db.0", 1)]));
    let back =
        History { parent: Some(id(4)), generation: 4, period: Some(period()), placements: placements(&[("db.0", 1)]) };
    assert_eq!(history(&records), back);
}

#[test]
fn domains_that_a_plan_removes_are_not_placed() {
    let mut plan = remembered(1, 1, Goal::Up, &[("web.0", 1), ("web.1", 2)]);
    plan.domains[1].change = Change::Remove;
    let records = [(at(1), Record::PlanBegun { plan: Box::new(plan) })];
    assert_eq!(journal::history(&records).placements, placements(&[("web.0", 1)]));
}

#[test]
fn a_run_that_did_not_end_is_found() {
    let plan = |id| Record::PlanBegun { plan: Box::new(remembered(id, 1, Goal::Up, &[])) };
    let id = |id| PlanId::from_bytes([id; 16]);
    let unfinished = |records: &[Record]| {
        let records: Vec<_> = records.iter().cloned().map(|record| (at(1), record)).collect();
        journal::unfinished(&records).map(|plan| plan.id)
    };
    assert_eq!(unfinished(&[]), None);
    assert_eq!(unfinished(&[plan(1)]), Some(id(1)));
    assert_eq!(unfinished(&[plan(1), begun(0), failed(0, "no")]), Some(id(1)));
    assert_eq!(unfinished(&[plan(1), begun(0), ended(id(1), false)]), None);
    assert_eq!(unfinished(&[plan(1), plan(2), ended(id(2), true)]), None, "the later plan took it up");
    assert_eq!(unfinished(&[plan(1), ended(id(1), true), plan(2)]), Some(id(2)));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Whatever a record says, it reads back as it was written, in any order and number.
    #[test]
    fn any_records_read_back(steps in prop::collection::vec((any::<u32>(), ".{0,40}", 0_u8..4), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello.journal");
        let mut journal = Journal::open(&path).unwrap();
        let mut expected = Vec::new();
        for (second, (step, text, kind)) in steps.into_iter().enumerate() {
            let record = match kind {
                0 => begun(step),
                1 => failed(step, &text),
                2 => Record::PlanBegun { plan: Box::new(remembered(step as u8, u64::from(step), Goal::Down, &[("a", 1)])) },
                _ => ended(PlanId::from_bytes([step as u8; 16]), step % 2 == 0),
            };
            journal.write(at(second as i64), record.clone()).unwrap();
            expected.push((at(second as i64), record));
        }
        prop_assert_eq!(journal::read(&path).unwrap(), expected);
    }
}
