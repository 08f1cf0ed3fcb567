//! `tycoon init`: which bank and which service location services are yours, and which keys they must have.

use clap::Args;
use serde_json::{Map, Value, json};
use tycoon_bank::client::introduce;
use tycoon_market::PublicKey;
use tycoon_rpc::{HttpTransport, Limits, caller};
use tycoon_sls::service::SlsFacts;

use crate::commands::bank::access::{BankChoice, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::output::Output;
use crate::parties::{Parties, SLSES_MAX};

/// Arguments of `tycoon init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The bank.
    #[command(flatten)]
    pub choice: BankChoice,
    /// The service location services' addresses; they take the place of those pinned before
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    pub sls: Vec<String>,
    /// The keys that they must have, in the same order
    #[arg(long, value_name = "KEYS", value_delimiter = ',', requires = "sls")]
    pub sls_key: Vec<PublicKey>,
    /// The key of the site, whose word it is which hosts are worked with
    #[arg(long, value_name = "KEY")]
    pub site_key: Option<PublicKey>,
    /// Pin the keys that the services show, without asking
    #[arg(long)]
    pub yes: bool,
}

/// Pins what is given.
pub fn run(arguments: &InitArgs, output: &Output) -> Result<Exit, Failure> {
    let choice = &arguments.choice;
    if choice.bank.is_none() && arguments.sls.is_empty() && arguments.site_key.is_none() {
        return Err(Failure::new(Exit::Usage, "where the bank is is not said").help(
            "give it with --bank https://bank.example.org:7401, and the service location service with --sls; without a \
             bank everything runs on the embedded site",
        ));
    }
    let (services, keys) = (arguments.sls.len(), arguments.sls_key.len());
    if services > SLSES_MAX || (keys > 0 && keys != services) {
        return Err(Failure::new(Exit::Usage, format!("there are {services} addresses of services and {keys} keys"))
            .help(format!("give 1 to {SLSES_MAX} --sls, and as many --sls-key in the same order, or none")));
    }
    let folders = Folders::find("remote")?;
    folders::make(&folders.config)?;
    let mut parties = Parties::read(&folders.config)?;
    let (mut text, mut values) = (String::new(), Map::new());
    if let Some(url) = &choice.bank {
        let transport = choice.transport(url, &parties)?;
        let info = introduce(&transport).map_err(|error| failed(&error))?;
        // A key that is pinned is known: only the address is new.
        let pinned = parties.bank.as_ref().map(|(_, key)| *key).filter(|key| *key == info.key);
        agree("bank", "bank", url, info.key, choice.bank_key.or(pinned), arguments.yes, output)?;
        if let Some((old, old_key)) = &parties.bank
            && *old_key != info.key
        {
            output.message(&format!("before, the bank was {old} with the key {}", old_key.fingerprint()));
        }
        parties.bank = Some((url.clone(), info.key));
        text.push_str(&format!("bank  {url}\nkey   {}\n", info.key.fingerprint()));
        values.extend([("bank", json!(url)), ("bank_key", json!(info.key)), ("epoch", json!(info.epoch))].map(named));
    }
    if !arguments.sls.is_empty() {
        let mut pinned = Vec::new();
        for (number, url) in arguments.sls.iter().enumerate() {
            let transport: HttpTransport = choice.transport(url, &parties)?;
            let facts: SlsFacts =
                caller::introduce(&transport, "/v1/sls", &Limits::DEFAULT, |facts: &SlsFacts| facts.key)
                    .map_err(|error| failed(&error))?;
            let known = parties.slses.iter().map(|(_, key)| *key).find(|key| *key == facts.key);
            let expected = arguments.sls_key.get(number).copied().or(known);
            agree("service location service", "sls", url, facts.key, expected, arguments.yes, output)?;
            text.push_str(&format!("sls   {url}\nkey   {}\n", facts.key.fingerprint()));
            pinned.push((url.clone(), facts.key));
        }
        let list: Vec<Value> = pinned.iter().map(|(url, key)| json!({ "url": url, "key": key })).collect();
        values.insert("slses".to_owned(), list.into());
        parties.slses = pinned;
    }
    if let Some(site) = arguments.site_key {
        parties.site = Some(site);
        text.push_str(&format!("site  {}\n", site.fingerprint()));
        values.insert("site_key".to_owned(), json!(site));
    }
    if let Some(trusted) = &choice.trusted_certificates {
        let whole = std::path::absolute(trusted).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        parties.trusted = Some(whole);
    }
    parties.write(&folders.config)?;
    if output.json {
        output.print_json(&values);
    } else {
        output.print(&text);
    }
    Ok(Exit::Ok)
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_owned(), value)
}

/// That the key that a service shows is the right one: because it is the one expected, or because the user says so.
fn agree(
    what: &str,
    option: &str,
    url: &str,
    shown: PublicKey,
    expected: Option<PublicKey>,
    is_sure: bool,
    output: &Output,
) -> Result<(), Failure> {
    match expected {
        Some(key) if key != shown => Err(Failure::new(
            Exit::Failed,
            format!("the {what} at {url} has the key {}, not {}", shown.fingerprint(), key.fingerprint()),
        )
        .help(format!(
            "somebody may stand between you and the {what}; nothing was pinned. Ask the site operator which key is right"
        ))),
        Some(_) => Ok(()),
        None if is_sure => Ok(()),
        None if output.can_ask => {
            output.message(&format!("the {what} at {url} has the key {}", shown.fingerprint()));
            if output.confirm("Did the site operator tell you this key?") {
                Ok(())
            } else {
                Err(Failure::new(Exit::Failed, "nothing was pinned"))
            }
        }
        None => Err(Failure::new(Exit::Usage, format!("the {what} at {url} has the key {}", shown.fingerprint()))
            .help(format!("if that is right, pin it: add --{option}-key '{shown}'"))),
    }
}
