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
/// By which sshd starts the sessions of guests, who come in as the market's user.
const SHELL: &str = "/bin/sh";

/// What the machine says of a user: the fields of `passwd(5)`.
fn fields_of(name: &str) -> Option<Vec<String>> {
    let known = std::fs::read_to_string("/etc/passwd").ok()?;
    let mut all = known.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    all.find(|fields| fields.first().is_some_and(|first| first == name))
}

/// True where there is such a user.
pub fn exists(name: &str) -> bool {
    fields_of(name).is_some()
}

/// The number of the market's user, where there is one.
fn number() -> Option<u32> {
    fields_of(USER)?.get(2)?.parse().ok()
}

/// The user exists, and the folder of the market's books is the user's own.
pub fn ensure(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if number().is_none() {
        changes.make(
            &format!("make the system user {USER}, without rights on the machine"),
            &format!("made the system user {USER}, without rights on the machine"),
            || {
                let arguments = ["--system", "--user-group", "--no-create-home", "--home-dir", STORE];
                run_program("useradd", &[&arguments[..], &["--shell", SHELL, USER]].concat()).map(drop)
            },
        )?;
    } else if fields_of(USER).is_none_or(|fields| fields.last().is_none_or(|shell| shell != SHELL)) {
        let what = format!("the user {USER} the shell that sshd starts sessions by");
        changes.make(&format!("give {what}"), &format!("gave {what}"), || {
            run_program("usermod", &["--shell", SHELL, USER]).map(drop)
        })?;
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

/// A user is gone.
pub fn remove(name: &str, changes: &mut Changes<'_>) -> Result<(), Failure> {
    if !exists(name) {
        return Ok(());
    }
    changes.make(&format!("remove the user {name}"), &format!("removed the user {name}"), || {
        run_program("userdel", &[name]).map(drop)
    })
}
