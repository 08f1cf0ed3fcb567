//! `tycoon user`: your key, which is your account.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tycoon_market::PublicKey;
use tycoon_rpc::{Signer as _, key_file};
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::identity::{self, Identity, KeyChoice, KeyPlace, PASSPHRASE_FILE};
use crate::output::Output;
use crate::site::world::Surroundings;

/// What to do with the key.
#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Choose your key: an OpenSSH key you have, one in your ssh-agent, or a new one
    Setup(SetupArgs),
    /// Show your public key and your account; makes a key where you have none
    Show,
    /// Print your public key, as it is given to others; or write a protected copy of your key
    Export(ExportArgs),
}

/// Arguments of `tycoon user setup`.
#[derive(Args, Debug)]
pub struct SetupArgs {
    /// Use the OpenSSH ed25519 key in this file
    #[arg(long, value_name = "FILE", conflicts_with = "agent")]
    pub key: Option<PathBuf>,
    /// Use this key of the ssh-agent, by its public key or fingerprint; the only one where none is named
    #[arg(long, value_name = "KEY", num_args = 0..=1, default_missing_value = "")]
    pub agent: Option<String>,
    /// Protect a new key with a passphrase
    #[arg(long, conflicts_with_all = ["key", "agent"])]
    pub passphrase: bool,
}

/// Arguments of `tycoon user export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Write a copy of your key into this file, protected with a passphrase
    #[arg(long, value_name = "FILE")]
    pub protected: Option<PathBuf>,
}

/// Does it.
pub fn run(command: &UserCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        UserCommand::Setup(arguments) => setup(arguments, output),
        UserCommand::Show => {
            let identity = Identity::find_or_make(&Folders::find("remote")?, &Surroundings::find()?, output)?;
            Ok(show(&identity, output))
        }
        UserCommand::Export(arguments) => export(arguments, output),
    }
}

fn setup(arguments: &SetupArgs, output: &Output) -> Result<Exit, Failure> {
    let folders = Folders::find("remote")?;
    folders::make(&folders.config)?;
    let choice = match (&arguments.key, &arguments.agent) {
        (Some(file), _) => {
            let whole = std::path::absolute(file).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            Some(KeyChoice::File(whole))
        }
        (None, Some(wanted)) => Some(KeyChoice::Agent(key_of_agent(wanted)?)),
        (None, None) => None,
    };
    let identity = match choice {
        Some(choice) => {
            // It must work before it is written down.
            let identity = choice.open(output)?;
            choice.write(&folders.config)?;
            identity
        }
        None if arguments.passphrase => {
            let path = Identity::usual_file(&folders.config);
            let key = Identity::new_key(&Surroundings::find()?)?;
            let passphrase = new_passphrase(output)?;
            key_file::create_protected(&path, &key, "tycoon", &passphrase)
                .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
            KeyChoice::File(path.clone()).write(&folders.config)?;
            Identity::in_file(key, path)
        }
        None => Identity::find_or_make(&folders, &Surroundings::find()?, output)?,
    };
    Ok(show(&identity, output))
}

/// The key of the agent that `wanted` names.
fn key_of_agent(wanted: &str) -> Result<PublicKey, Failure> {
    let keys = identity::agent()?.keys().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let matching: Vec<_> = keys
        .iter()
        .filter(|(key, comment)| {
            wanted.is_empty()
                || key.fingerprint() == wanted
                || comment == wanted
                || wanted.parse::<PublicKey>().is_ok_and(|wanted| wanted == *key)
        })
        .collect();
    match matching.as_slice() {
        [(key, _)] => Ok(*key),
        [] => Err(Failure::new(Exit::Failed, "the ssh-agent holds no such ed25519 key")
            .help("add one with `ssh-add FILE`; `ssh-add -l` lists what it holds")),
        several => {
            let names: Vec<_> =
                several.iter().map(|(key, comment)| format!("{} {comment}", key.fingerprint())).collect();
            Err(Failure::new(Exit::Usage, "the ssh-agent holds several such keys")
                .help(format!("name one with --agent KEY:\n{}", names.join("\n"))))
        }
    }
}

fn new_passphrase(output: &Output) -> Result<Zeroizing<String>, Failure> {
    let nobody = || {
        Failure::new(Exit::Usage, "there is nobody to ask for a passphrase")
            .help("run it on a terminal, or name a file that holds it with TYCOON_PASSPHRASE_FILE")
    };
    let first = identity::passphrase("New passphrase: ", output)?.ok_or_else(nobody)?;
    // A slip of the fingers is found by typing it again; a file has none.
    if std::env::var_os(PASSPHRASE_FILE).is_none() {
        let second = identity::passphrase("Again: ", output)?.ok_or_else(nobody)?;
        if *first != *second {
            return Err(Failure::new(Exit::Failed, "the two are not the same; nothing was written"));
        }
    }
    if first.is_empty() {
        return Err(Failure::new(Exit::Failed, "an empty passphrase protects nothing; nothing was written"));
    }
    Ok(first)
}

fn show(identity: &Identity, output: &Output) -> Exit {
    let key = identity.key.public_key();
    let (file, socket) = match &identity.place {
        KeyPlace::File(path) => (Some(path), None),
        KeyPlace::Agent(socket) => (None, Some(socket)),
    };
    if output.json {
        output.print_json(&json!({
            "account": identity.account(),
            "public_key": key,
            "fingerprint": key.fingerprint(),
            "key_file": file,
            "ssh_agent": socket,
        }));
        return Exit::Ok;
    }
    let kept = match &identity.place {
        KeyPlace::File(path) => format!("key file     {}", path.display()),
        KeyPlace::Agent(socket) => format!("ssh-agent    {}", socket.display()),
    };
    output.print(&format!(
        "account      {}\npublic key   {key}\nfingerprint  {}\n{kept}\n",
        identity.account(),
        key.fingerprint()
    ));
    Exit::Ok
}

fn export(arguments: &ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let folders = Folders::find("remote")?;
    let identity = Identity::find_or_make(&folders, &Surroundings::find()?, output)?;
    if let Some(copy) = &arguments.protected {
        let Some(key) = &identity.secret else {
            return Err(Failure::new(Exit::Failed, "your key is in the ssh-agent, which does not give it away")
                .help("copy the file that was added to the agent"));
        };
        let passphrase = new_passphrase(output)?;
        key_file::create_protected(copy, key, "tycoon", &passphrase)
            .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        output.message(&format!("wrote a protected copy of your key to {}", copy.display()));
    }
    let key = identity.key.public_key();
    if output.json {
        output.print_json(&json!({ "public_key": key, "fingerprint": key.fingerprint() }));
    } else {
        output.print(&format!("{key}\n"));
    }
    Ok(Exit::Ok)
}
