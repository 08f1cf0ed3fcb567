//! The two services of a member: units of systemd, where systemd is the first program of the machine.

use std::path::Path;
use std::process::{Command, Stdio};

use super::files::Changes;
use super::{ENFORCE_SETTINGS, HOST_SETTINGS, USER, door};
use crate::exit::Exit;
use crate::failure::Failure;

/// Where the owner of a machine has units.
const UNIT_FOLDER: &str = "/etc/systemd/system";
/// The program as the units of the packaging name it.
pub const PACKAGED_PROGRAM: &str = "/usr/bin/tycoon";

/// The units, in the order in which they start.
pub const UNITS: [(&str, &str); 2] = [
    ("tycoon-host-enforce.service", include_str!("../../../../packaging/systemd/tycoon-host-enforce.service")),
    ("tycoon-host.service", include_str!("../../../../packaging/systemd/tycoon-host.service")),
];

/// Runs a program of the machine to its end; what it printed.
pub fn run_program(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let line = || format!("{program} {}", arguments.join(" "));
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|error| {
            Failure::from_error(Exit::Failed, &error).context(&format!("`{}` cannot be run", line()))
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let why = if said.is_empty() { output.status.to_string() } else { said };
    Err(Failure::new(Exit::Failed, format!("`{}` failed: {why}", line())))
}

/// Whether systemd is the first program of this machine (`sd_booted(3)`).
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// How the services are started where there is no systemd.
pub fn by_hand() -> String {
    let program = program();
    format!(
        "{program} host enforce --settings {ENFORCE_SETTINGS}\n\
         sh -c '{} && exec setpriv --reuid {USER} --regid {USER} --init-groups {program} host serve --settings {HOST_SETTINGS}'",
        door::folder_by_hand()
    )
}

/// This program, by which the services run.
pub fn program() -> String {
    let own = std::env::current_exe().ok();
    own.map_or_else(|| PACKAGED_PROGRAM.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn unit_path(unit: &str) -> String {
    format!("{UNIT_FOLDER}/{unit}")
}

/// The units are there, as this program has them. True where one was not.
pub fn ensure_units(changes: &mut Changes<'_>) -> Result<bool, Failure> {
    let program = program();
    let mut is_new = false;
    for (unit, text) in UNITS {
        is_new |= changes.file(&unit_path(unit), &text.replace(PACKAGED_PROGRAM, &program))?;
    }
    if is_new && !changes.is_dry_run {
        run_program("systemctl", &["daemon-reload"])?;
    }
    Ok(is_new)
}

/// What systemd says of a unit.
struct State {
    is_active: bool,
    is_enabled: bool,
    /// Whether its process runs the program that is installed now.
    is_current: bool,
}

fn state(unit: &str) -> Result<State, Failure> {
    let told = run_program("systemctl", &["show", "--property=ActiveState,UnitFileState,MainPID", unit])?;
    let value = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let running = value("MainPID").filter(|pid| *pid != "0");
    // A file that another took the place of is said to be deleted.
    let is_current = running
        .and_then(|pid| std::fs::read_link(format!("/proc/{pid}/exe")).ok())
        .is_some_and(|path| path == Path::new(&program()));
    Ok(State {
        is_active: value("ActiveState") == Some("active"),
        is_enabled: value("UnitFileState") == Some("enabled"),
        is_current,
    })
}

/// The services run, with what is installed and set now, and will run when the machine starts. `is_new` where that has
/// changed.
pub fn ensure_running(is_new: bool, changes: &mut Changes<'_>) -> Result<(), Failure> {
    let names: Vec<&str> = UNITS.iter().map(|(unit, _)| *unit).collect();
    if changes.is_dry_run && names.iter().any(|unit| !Path::new(&unit_path(unit)).exists()) {
        return changes.make(&format!("start {}", names.join(" and ")), "", || Ok(()));
    }
    let states = names.iter().map(|unit| state(unit)).collect::<Result<Vec<_>, _>>()?;
    if states.iter().any(|state| !state.is_enabled) {
        let said = "when the machine starts";
        changes.make(&format!("have the services start {said}"), &format!("the services start {said}"), || {
            run_program("systemctl", &[&["enable", "--quiet"][..], &names].concat()).map(drop)
        })?;
    }
    if !is_new && states.iter().all(|state| state.is_active && state.is_current) {
        return Ok(());
    }
    let is_first = states.iter().all(|state| !state.is_active);
    let (would, done) = if is_first { ("start", "started") } else { ("restart", "restarted") };
    let names_said = names.join(" and ");
    changes.make(&format!("{would} {names_said}"), &format!("{done} {names_said}"), || {
        // What failed before may be mended now.
        let _ = run_program("systemctl", &[&["reset-failed"][..], &names].concat());
        run_program("systemctl", &[&["restart"][..], &names].concat()).map(drop)
    })
}

/// What the services said last, for whoever has to find out why one does not run.
pub fn last_words() -> String {
    let arguments = ["--no-pager", "--output=cat", "--lines=8", "--unit=tycoon-host", "--unit=tycoon-host-enforce"];
    run_program("journalctl", &arguments).unwrap_or_default().trim().to_owned()
}

/// The services are stopped, and their units gone.
pub fn remove(changes: &mut Changes<'_>) -> Result<(), Failure> {
    let there: Vec<&str> =
        UNITS.iter().map(|(unit, _)| *unit).filter(|unit| Path::new(&unit_path(unit)).exists()).rev().collect();
    if there.is_empty() {
        return Ok(());
    }
    let names = there.join(" and ");
    changes.make(&format!("stop and remove {names}"), &format!("stopped and removed {names}"), || {
        run_program("systemctl", &[&["disable", "--quiet", "--now"][..], &there].concat())?;
        for unit in &there {
            run_program("rm", &["-f", &unit_path(unit)])?;
        }
        run_program("systemctl", &["daemon-reload"]).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_run_the_program_with_the_settings_that_are_written() {
        for ((unit, text), settings) in UNITS.into_iter().zip([ENFORCE_SETTINGS, HOST_SETTINGS]) {
            let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
            assert!(start.starts_with(PACKAGED_PROGRAM), "{unit}: {start}");
            assert!(start.ends_with(&format!("--settings {settings}")), "{unit}: {start}");
        }
        let (_, market) = UNITS[1];
        assert!(market.contains(&format!("\nUser={USER}\n")));
    }
}
