//! The user who is the market, and what belongs to it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::files::Changes;
use super::services::run_program;
use super::{STORE, USER};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long the market may take to end.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// The number of the user, where there is one.
fn number() -> Option<u32> {
    let known = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields = known.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.filter(|fields| fields.first() == Some(&USER)).find_map(|fields| fields.get(2)?.parse().ok())
}

/// The user exists, and the folder of the market's books is the user's own.
pub fn ensure(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if number().is_none() {
        changes.make(
            &format!("make the system user {USER}, without rights on the machine"),
            &format!("made the system user {USER}, without rights on the machine"),
            || {
                let arguments = ["--system", "--user-group", "--no-create-home", "--home-dir", STORE];
                run_program("useradd", &[&arguments[..], &["--shell", "/usr/sbin/nologin", USER]].concat()).map(drop)
            },
        )?;
    }
    let is_owned = number().is_some_and(|number| std::fs::metadata(STORE).is_ok_and(|folder| folder.uid() == number));
    if !is_owned {
        let done = if Path::new(STORE).exists() { "gave back to its user" } else { "made" };
        changes.make(&format!("make {STORE}, for that user alone"), &format!("{done} {STORE}"), || {
            run_program("mkdir", &["-p", "-m", "700", STORE])?;
            // Books that stayed from an earlier membership go on.
            run_program("chown", &["-R", &format!("{USER}:{USER}"), STORE]).map(drop)
        })?;
    }
    Ok(())
}

/// The market may read a file, and nobody else.
pub fn give(path: &str) -> Result<(), Failure> {
    run_program("chown", &[&format!("{USER}:{USER}"), path])?;
    run_program("chmod", &["600", path]).map(drop)
}

/// The processes of the user: the market, where it was started by hand.
fn processes(number: u32) -> Vec<Pid> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = all.filter(|entry| entry.metadata().is_ok_and(|process| process.uid() == number));
    own.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Where the market was started by hand it is ended, too: whoever looked into its books had to ask it.
pub fn end_processes(changes: &mut Changes<'_>) -> Result<(), Failure> {
    let Some(number) = number().filter(|number| !processes(*number).is_empty()) else { return Ok(()) };
    changes.make("end the market", "ended the market; end `tycoon host enforce` as it was started", || {
        let begun = Instant::now();
        for process in processes(number) {
            // It may have ended by itself just now.
            let _ = rustix::process::kill_process(process, Signal::TERM);
        }
        while !processes(number).is_empty() {
            if begun.elapsed() > END_PATIENCE {
                return Err(Failure::new(Exit::Failed, format!("processes of the user {USER} do not end"))
                    .help(format!("`ps -u {USER}` shows them; end them and run this again")));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    })
}

/// The user is gone.
pub fn remove(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if number().is_none() {
        return Ok(());
    }
    changes.make(&format!("remove the user {USER}"), &format!("removed the user {USER}"), || {
        run_program("userdel", &[USER]).map(drop)
    })
}
