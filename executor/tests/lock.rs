//! Locks between processes.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tycoon_executor::lock::{Lock, LockError, Patience};

/// Set for the process that a test starts to hold a lock.
const PATH: &str = "TYCOON_TEST_LOCK";
/// How long anything may take that takes no time.
const DEADLINE: Duration = Duration::from_secs(30);

fn take(path: &std::path::Path, me: &str, patience: Duration) -> Result<Lock, LockError> {
    Lock::take(path, "pool `hello`", me, patience)
}

#[test]
fn whoever_waits_is_told_who_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.lock");
    let first = take(&path, "tycoon up a-long-file-name-that-was-here-before.kdl", Duration::ZERO).unwrap();
    drop(first);
    let held = take(&path, "tycoon up pool.kdl", Duration::ZERO).unwrap();
    let refused = take(&path, "tycoon down hello", Duration::ZERO).unwrap_err();
    let expected = format!("pool `hello` is in use by process {} (tycoon up pool.kdl)", std::process::id());
    assert_eq!(refused.to_string(), expected);
    drop(held);
    take(&path, "tycoon down hello", Duration::ZERO).unwrap();
}

#[test]
fn whoever_is_patient_gets_it_once_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.lock");
    let held = take(&path, "first", Duration::ZERO).unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| take(&path, "second", DEADLINE));
        // The other may or may not wait already; both ways it gets the lock.
        drop(held);
        assert!(waiting.join().unwrap().is_ok());
    });
}

#[test]
fn whoever_waits_hears_once_what_for_and_may_end_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.lock");
    let _held = take(&path, "tycoon up pool.kdl", Duration::ZERO).unwrap();
    let told = RefCell::new(Vec::new());
    let patience = Patience {
        longest: DEADLINE,
        // As soon as it was told, it is enough.
        is_stopped: &|| !told.borrow().is_empty(),
        tell: &|text| told.borrow_mut().push(text.to_owned()),
    };
    let stopped = Lock::take_with(&path, "pool `hello`", "me", &patience).unwrap_err();
    assert!(matches!(stopped, LockError::Stopped { .. }), "{stopped}");
    let process = std::process::id();
    let expected = format!("waiting for pool `hello`, which is in use by process {process} (tycoon up pool.kdl)");
    assert_eq!(*told.borrow(), [expected]);
}

#[test]
fn a_lock_file_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no-folder").join("hello.lock");
    let refused = take(&path, "me", Duration::ZERO).unwrap_err();
    assert!(matches!(&refused, LockError::Io { path: named, .. } if *named == path), "{refused}");
}

/// The other process of the test below.
#[test]
fn holds_a_lock_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH).map(PathBuf::from) else { return };
    let _lock = take(&path, "tycoon watch hello", Duration::ZERO).unwrap();
    println!("\nlocked");
    // Until it is killed, or the test that started it is.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_killed_process_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.lock");
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_lock_until_it_is_killed", "--nocapture"])
        .env(PATH, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "locked"), "the other process never had the lock");
    let refused = take(&path, "me", Duration::ZERO).unwrap_err().to_string();
    assert_eq!(refused, format!("pool `hello` is in use by process {} (tycoon watch hello)", other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    let started = Instant::now();
    take(&path, "me", DEADLINE).unwrap();
    assert!(started.elapsed() < DEADLINE);
}
