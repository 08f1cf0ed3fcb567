//! The user who is the market, and what belongs to it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::files::Changes;
use super::services::run_program;
use super::{STORE, USER};
use crate::failure::Failure;

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

/// The user is gone.
pub fn remove(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if number().is_none() {
        return Ok(());
    }
    changes.make(&format!("remove the user {USER}"), &format!("removed the user {USER}"), || {
        run_program("userdel", &[USER]).map(drop)
    })
}
