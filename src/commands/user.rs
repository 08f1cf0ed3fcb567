//! `tycoon user`: your key, which is your account.

use clap::Subcommand;
use serde_json::json;
use tycoon_rpc::Signer as _;

use crate::description::load_site;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::Identity;
use crate::output::Output;
use crate::site::world::Surroundings;

/// What to do with the key.
#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Show your public key and your account; makes a key where you have none
    Show,
}

/// Shows the key.
pub fn run(command: &UserCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        UserCommand::Show => show(output),
    }
}

fn show(output: &Output) -> Result<Exit, Failure> {
    let site = load_site(output)?;
    let identity = Identity::find_or_make(&Folders::find(&site.name)?, &Surroundings::find()?, output)?;
    let key = identity.key.public_key();
    if output.json {
        output.print_json(&json!({
            "account": identity.account(),
            "public_key": key,
            "fingerprint": key.fingerprint(),
            "key_file": identity.path,
        }));
    } else {
        output.print(&format!(
            "account      {}\npublic key   {key}\nfingerprint  {}\nkey file     {}\n",
            identity.account(),
            key.fingerprint(),
            identity.path.display()
        ));
    }
    Ok(Exit::Ok)
}
