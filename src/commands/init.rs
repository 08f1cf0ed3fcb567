//! `tycoon init`: which bank is yours, and which key it must have.

use clap::Args;
use serde_json::json;
use tycoon_bank::client::introduce;

use crate::commands::bank::access::{BankChoice, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::output::Output;
use crate::parties::Parties;

/// Arguments of `tycoon init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The bank.
    #[command(flatten)]
    pub choice: BankChoice,
    /// Pin the key that the bank shows, without asking
    #[arg(long)]
    pub yes: bool,
}

/// Pins the bank.
pub fn run(arguments: &InitArgs, output: &Output) -> Result<Exit, Failure> {
    let Some(url) = arguments.choice.bank.clone() else {
        return Err(Failure::new(Exit::Usage, "where the bank is is not said").help(
            "give it with --bank https://bank.example.org:7401; without a bank everything runs on the embedded site",
        ));
    };
    let folders = Folders::find("remote")?;
    folders::make(&folders.config)?;
    let mut parties = Parties::read(&folders.config)?;
    let transport = arguments.choice.transport(&url, &parties)?;
    let info = introduce(&transport).map_err(|error| failed(&error))?;
    match arguments.choice.bank_key {
        Some(key) if key != info.key => {
            return Err(Failure::new(
                Exit::Failed,
                format!("the bank at {url} has the key {}, not {}", info.key.fingerprint(), key.fingerprint()),
            )
            .help("somebody may stand between you and the bank; nothing was pinned. Ask the site operator which key is right"));
        }
        Some(_) => {}
        None if arguments.yes => {}
        None if output.can_ask => {
            output.message(&format!("the bank at {url} has the key {}", info.key.fingerprint()));
            if !output.confirm("Did the site operator tell you this key?") {
                return Err(Failure::new(Exit::Failed, "nothing was pinned"));
            }
        }
        None => {
            return Err(Failure::new(Exit::Usage, format!("the bank at {url} has the key {}", info.key.fingerprint()))
                .help(format!("if that is right, pin it: add --bank-key '{}'", info.key)));
        }
    }
    if let Some((old, old_key)) = &parties.bank
        && *old_key != info.key
    {
        output.message(&format!("before, the bank was {old} with the key {}", old_key.fingerprint()));
    }
    parties.bank = Some((url.clone(), info.key));
    if let Some(trusted) = &arguments.choice.trusted_certificates {
        let whole = std::path::absolute(trusted).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        parties.trusted = Some(whole);
    }
    parties.write(&folders.config)?;
    if output.json {
        output.print_json(&json!({ "bank": url, "bank_key": info.key, "epoch": info.epoch }));
    } else {
        output.print(&format!("bank  {url}\nkey   {}\n", info.key.fingerprint()));
    }
    Ok(Exit::Ok)
}
