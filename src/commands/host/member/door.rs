//! The door for guests over SSH: the user who asks whose a key is, and what sshd is told of it.

use std::path::Path;

use tycoon_market::PublicKey;

use super::files::Changes;
use super::services::{has_systemd, program, run_program};
use super::user;
use crate::failure::Failure;

/// The user as whom sshd asks whose a key is.
const KEYS_USER: &str = "tycoon-keys";
/// Where sshd looks for further settings.
const SSHD_FOLDER: &str = "/etc/ssh/sshd_config.d";
/// What it finds there.
const SSHD_SETTINGS: &str = "/etc/ssh/sshd_config.d/tycoon.conf";
const SSHD_TEXT: &str = include_str!("../../../../packaging/ssh/tycoon.conf");
/// The key that sshd shows.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key.pub";
/// The folder of the socket at which sshd hears whose a key is.
const KEYS_FOLDER: &str = "/run/tycoon-host";

/// Who asks is there, and sshd knows whom.
pub fn ensure(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if !user::exists(KEYS_USER) {
        let what = format!("the system user {KEYS_USER}, who asks whose an SSH key is");
        changes.make(&format!("make {what}"), &format!("made {what}"), || {
            let arguments = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", KEYS_USER];
            run_program("useradd", &arguments).map(drop)
        })?;
    }
    let text = SSHD_TEXT.replace(super::services::PACKAGED_PROGRAM, &program());
    if Path::new(SSHD_FOLDER).is_dir() && changes.file(SSHD_SETTINGS, &text)? {
        reload(changes, true)?;
    }
    Ok(())
}

/// sshd goes by what is written now. What it cannot read is taken away again.
fn reload(changes: &mut Changes<'_>, is_written: bool) -> Result<(), Failure> {
    if !has_systemd() {
        let by_hand = "have sshd read its settings by hand: kill -HUP $(cat /run/sshd.pid)";
        return changes.make(&format!("leave one thing to you: {by_hand}"), by_hand, || Ok(()));
    }
    changes.make("have sshd read its settings again", "sshd has read its settings again", || {
        let checked = run_program("/usr/sbin/sshd", &["-t"]);
        if is_written && checked.is_err() {
            run_program("rm", &["-f", SSHD_SETTINGS])?;
        }
        checked?;
        run_program("systemctl", &["reload", "ssh"]).map(drop)
    })
}

/// What the market says of the door where nobody has said it: the place, and the key that sshd shows there.
pub fn settings(address: Option<&str>) -> Vec<(&'static str, kdl::KdlValue)> {
    let shown = std::fs::read_to_string(HOST_KEY).ok().and_then(|text| text.trim().parse::<PublicKey>().ok());
    let place = address.and_then(|address| address.parse::<http::Uri>().ok()?.host().map(str::to_owned));
    match (place, shown) {
        (Some(place), Some(key)) => {
            vec![("ssh", format!("tycoon@{place}:22").into()), ("ssh-key", key.to_string().into())]
        }
        _ => Vec::new(),
    }
}

/// What makes the folder of the socket, where no unit does.
pub fn folder_by_hand() -> String {
    format!("install -d -m 755 -o {0} -g {0} {KEYS_FOLDER}", super::USER)
}

/// Nobody comes in any more.
pub fn remove(changes: &mut Changes<'_>) -> Result<(), Failure> {
    if Path::new(SSHD_SETTINGS).exists() {
        changes.make(&format!("remove {SSHD_SETTINGS}"), &format!("removed {SSHD_SETTINGS}"), || {
            run_program("rm", &["-f", SSHD_SETTINGS]).map(drop)
        })?;
        reload(changes, false)?;
    }
    user::remove(KEYS_USER, changes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::host::member::USER;

    #[test]
    fn sshd_is_told_of_the_users_and_of_the_program_that_are_there() {
        for line in [
            format!("Match User {USER}"),
            format!("    AuthorizedKeysCommandUser {KEYS_USER}"),
            format!(
                "    AuthorizedKeysCommand {} host authorized-keys %t %k",
                super::super::services::PACKAGED_PROGRAM
            ),
        ] {
            assert!(SSHD_TEXT.lines().any(|told| told == line), "{line}");
        }
        assert!(settings(None).is_empty(), "nobody has said where the machine is");
    }
}
