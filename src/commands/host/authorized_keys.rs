//! `tycoon host authorized-keys`: what sshd asks about a key (`AuthorizedKeysCommand`). The answer is one line, which lets
//! the key run the session of its account and nothing else, or nothing at all.

use std::path::{Path, PathBuf};

use clap::Args;
use tycoon_market::{AccountId, PublicKey};
use tycoon_xen::entry::{self, Answer, Question};

use super::enforce;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Where `tycoon host serve` answers unless told otherwise.
pub const USUAL_SOCKET: &str = "/run/tycoon-host/keys.sock";

/// Arguments of `tycoon host authorized-keys`.
#[derive(Args, Debug)]
pub struct AuthorizedKeysArgs {
    /// The type of the key: sshd's %t
    #[arg(value_name = "TYPE")]
    key_type: String,
    /// The key in Base64: sshd's %k
    #[arg(value_name = "KEY")]
    key: String,
    /// The socket at which `tycoon host serve` answers about keys
    #[arg(long, value_name = "SOCKET", default_value = USUAL_SOCKET)]
    socket: PathBuf,
    /// The enforcer's socket
    #[arg(long, value_name = "SOCKET", default_value = enforce::USUAL_SOCKET)]
    enforcer: PathBuf,
}

/// Prints the line of the key's account, or nothing where it is nobody's.
pub fn run(arguments: &AuthorizedKeysArgs, output: &Output) -> Result<Exit, Failure> {
    // Keys of other kinds act for nobody.
    let Ok(key) = format!("{} {}", arguments.key_type, arguments.key).parse::<PublicKey>() else { return Ok(Exit::Ok) };
    let answer = entry::ask(&arguments.socket, &Question::Key(key)).map_err(|error| {
        Failure::from_error(Exit::Failed, &error)
            .context(&format!("`tycoon host serve` does not answer at {}", arguments.socket.display()))
            .help("its setting `keys-socket` names the socket, and `keys-users` who may ask there")
    })?;
    match answer {
        Answer::Account(account) => {
            let program = std::env::current_exe().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            output.print(&format!("{}\n", line(&program, account, &key, arguments)?));
            Ok(Exit::Ok)
        }
        Answer::Stranger => Ok(Exit::Ok),
        Answer::Busy | Answer::Bytes(_) => {
            Err(Failure::new(Exit::Failed, "too many unknown keys are tried on this host at the moment")
                .help("try again in a moment"))
        }
    }
}

/// The line that sshd goes by.
fn line(
    program: &Path,
    account: AccountId,
    key: &PublicKey,
    arguments: &AuthorizedKeysArgs,
) -> Result<String, Failure> {
    let mut command = format!("{} host session --account {account}", plain(program)?);
    for (option, socket, usual) in
        [("enforcer", &arguments.enforcer, enforce::USUAL_SOCKET), ("keys", &arguments.socket, USUAL_SOCKET)]
    {
        if socket != Path::new(usual) {
            command.push_str(&format!(" --{option} {}", plain(socket)?));
        }
    }
    Ok(format!("restrict,command=\"{command}\" {key}"))
}

/// A path that means itself to sshd and to a shell.
fn plain(path: &Path) -> Result<&str, Failure> {
    let is_plain = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    path.to_str().filter(is_plain).ok_or_else(|| {
        Failure::new(Exit::Failed, format!("the path {} has characters that a shell reads otherwise", path.display()))
            .help("use paths of letters, digits, `.`, `_` and `-`")
    })
}
