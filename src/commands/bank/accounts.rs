//! Accounts: what is on them, opening, closing, keys, allowances.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use tycoon_bank::api::AccountRequest;
use tycoon_bank::ledger::{Account, AccountKind, AllowanceTerms, KeyChange, KeyRole, SpendingLimit};
use tycoon_market::duration_text::parse_duration;
use tycoon_market::{AccountId, Credits, PublicKey, TimeSpan};
use tycoon_rpc::{Clock as _, Signer as _, SystemClock, key_file};

use super::access::{Access, BankChoice, failed};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders::Folders;
use crate::identity::{self, Identity, KeyChoice};
use crate::output::{Output, table};
use crate::site::world::Surroundings;
use crate::time::local;

/// The largest file with a public key that is read, in bytes.
const KEY_BYTES_MAX: u64 = 4096;

/// An account, by its id or by its first key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party(pub AccountId);

impl FromStr for Party {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(id) = text.parse() {
            return Ok(Self(id));
        }
        match text.parse::<PublicKey>() {
            Ok(key) => Ok(Self(AccountId::of(&key))),
            Err(_) => {
                Err("write an account's id (32 hexadecimal digits) or its first key (ssh-ed25519 AAAA…)".to_owned())
            }
        }
    }
}

/// A duration, such as `12h` or `30d`.
pub fn span(text: &str) -> Result<TimeSpan, String> {
    parse_duration(text, SystemClock.now()).map_err(|error| error.to_string())
}

/// Arguments of `tycoon bank balance`.
#[derive(Args, Debug)]
pub struct BalanceArgs {
    /// The account; yours where none is given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Party>,
}

/// Whom a new account belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindChoice {
    /// Somebody who pays for hosts.
    User,
    /// Somebody who earns with hosts.
    Owner,
    /// The daemon of a host.
    Host,
}

/// Arguments of `tycoon bank create-account`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The key, as `tycoon user export` prints it, or a file that holds it; your own where none is given
    #[arg(value_name = "KEY")]
    pub key: Option<String>,
    /// Whom it belongs to
    #[arg(long, value_enum, default_value_t = KindChoice::User, value_name = "KIND")]
    pub kind: KindChoice,
    /// What it is called
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub label: String,
    /// What it has at first; your account pays it
    #[arg(long, default_value = "0", value_name = "CREDITS")]
    pub deposit: Credits,
    /// Make it a sub-account of yours
    #[arg(long)]
    pub sub: bool,
}

/// Arguments of `tycoon bank close`.
#[derive(Args, Debug)]
pub struct CloseArgs {
    /// The account; yours where none is given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Party>,
    /// Who receives what it has
    #[arg(long, value_name = "ACCOUNT")]
    pub to: Party,
}

/// Arguments of `tycoon bank rotate-key`.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// The file of the new key; made where there is none
    #[arg(long, value_name = "FILE")]
    pub new: Option<PathBuf>,
}

/// Arguments of `tycoon bank keys`.
#[derive(Args, Debug)]
pub struct KeysArgs {
    /// The account; yours where none is given
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Party>,
    /// What to do; they are listed where nothing is said
    #[command(subcommand)]
    pub change: Option<KeysCommand>,
}

/// What to do with the keys of an account.
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// Add a key, or change the role and limit of one that is there
    Put {
        /// The key, or a file that holds it
        #[arg(value_name = "KEY")]
        key: String,
        /// What it may do
        #[arg(long, value_enum, default_value_t = RoleChoice::Spender, value_name = "ROLE")]
        role: RoleChoice,
        /// The most it may spend in a period, such as 100/30d
        #[arg(long, value_name = "CREDITS/PERIOD", value_parser = limit)]
        limit: Option<SpendingLimit>,
    },
    /// Remove a key
    Remove {
        /// The key, or a file that holds it
        #[arg(value_name = "KEY")]
        key: String,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleChoice {
    /// Look.
    Reader,
    /// Look and spend.
    Spender,
    /// All that, and change the keys.
    Owner,
}

/// Arguments of `tycoon bank allowance`.
#[derive(Args, Debug)]
pub struct AllowanceArgs {
    /// The sub-account
    #[arg(value_name = "ACCOUNT")]
    pub account: Party,
    /// What it has at the beginning of each period
    #[arg(value_name = "CREDITS", required_unless_present = "end")]
    pub amount: Option<Credits>,
    /// How long a period is, such as 7d
    #[arg(long, value_name = "DURATION", value_parser = span, required_unless_present = "end")]
    pub every: Option<TimeSpan>,
    /// How long the allowance lasts; for ever where nothing is said
    #[arg(long = "for", value_name = "DURATION", value_parser = span)]
    pub lasts: Option<TimeSpan>,
    /// End the allowance; what is on the account stays there
    #[arg(long, conflicts_with_all = ["amount", "every", "lasts"])]
    pub end: bool,
}

fn limit(text: &str) -> Result<SpendingLimit, String> {
    let (amount, period) = text.split_once('/').ok_or("write CREDITS/PERIOD, such as 100/30d")?;
    let amount = amount.parse::<Credits>().map_err(|error| error.to_string())?;
    Ok(SpendingLimit { amount, period: span(period)? })
}

/// A key as it is written, or in a file.
fn public_key(text: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    if !Path::new(text).exists() {
        return Err(Failure::new(Exit::Usage, format!("`{text}` is neither an ed25519 key nor a file"))
            .help("write the key as `tycoon user export` prints it, or the name of a file that holds it"));
    }
    let content = files::read_text("the public key", Path::new(text), KEY_BYTES_MAX)?;
    content.trim().parse().map_err(|error: tycoon_market::key::PublicKeyError| {
        Failure::from_error(Exit::Usage, &error).context(&format!("the file {text} holds no public ed25519 key"))
    })
}

/// What everybody may know.
pub fn info(access: &Access, output: &Output) -> Result<Exit, Failure> {
    let info = access.client().info().map_err(|error| failed(&error))?;
    if output.json {
        output.print_json(&info);
    } else {
        output.print(&format!(
            "key     {}\nissuer  {}\nepoch   {}\ntime    {}\n",
            info.key.fingerprint(),
            info.issuer,
            info.epoch,
            local(info.time)
        ));
    }
    Ok(Exit::Ok)
}

/// The account that a command is about: the named one, or the caller's own.
pub fn account(access: &Access, named: Option<Party>) -> Result<Account, Failure> {
    let found = match named {
        Some(Party(id)) => access.client().account(&id),
        None => access.client().own_account(),
    };
    found.map_err(|error| failed(&error))
}

/// Shows an account.
pub fn balance(access: &Access, arguments: &BalanceArgs, output: &Output) -> Result<Exit, Failure> {
    show(&account(access, arguments.account)?, output);
    Ok(Exit::Ok)
}

fn show(account: &Account, output: &Output) {
    if output.json {
        output.print_json(&value(account));
        return;
    }
    let mut text = format!(
        "account    {}\nbalance    {}\nset aside  {} in {} open escrows\n",
        account.id, account.balance, account.set_aside, account.escrows_open
    );
    if account.reservations_open > 0 {
        text.push_str(&format!("reserved   {} in {} reservations\n", account.reserved, account.reservations_open));
    }
    if !account.label.is_empty() {
        text.push_str(&format!("label      {}\n", account.label));
    }
    if let Some(parent) = account.parent {
        text.push_str(&format!("parent     {parent}\n"));
    }
    if let Some(allowance) = account.allowance {
        let terms = allowance.terms;
        text.push_str(&format!(
            "allowance  {} every {}, again at {}\n",
            terms.amount,
            terms.period,
            local(allowance.next_at)
        ));
    }
    if let Some(at) = account.closed_at {
        text.push_str(&format!("closed     {}\n", local(at)));
    }
    output.print(&text);
}

fn value(account: &Account) -> serde_json::Value {
    json!({
        "account": account.id, "label": account.label, "kind": account.kind, "parent": account.parent,
        "balance_micro": account.balance.micros(),
        "set_aside_micro": account.set_aside.micros(), "escrows_open": account.escrows_open,
        "reserved_micro": account.reserved.micros(), "reservations_open": account.reservations_open,
        "allowance": account.allowance, "closed_at": account.closed_at,
    })
}

/// Lists accounts.
pub fn list(access: &Access, output: &Output) -> Result<Exit, Failure> {
    let accounts = access.client().accounts().map_err(|error| failed(&error))?;
    if output.json {
        output.print_json(&accounts.iter().map(value).collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = accounts
        .iter()
        .map(|account| {
            let state = if account.closed_at.is_some() { "closed" } else { "" };
            let sub = account.parent.map(|parent| format!("of {}", parent.short())).unwrap_or_default();
            vec![
                account.id.to_string(),
                account.balance.to_string(),
                account.set_aside.to_string(),
                account.label.clone(),
                [sub.as_str(), state].join(" ").trim().to_owned(),
            ]
        })
        .collect();
    output.print(&table(&["ACCOUNT", "BALANCE", "SET ASIDE", "LABEL", "SUB-ACCOUNT"], &rows, &[1, 2], output.stdout));
    Ok(Exit::Ok)
}

/// Opens an account.
pub fn create(access: &Access, arguments: &CreateArgs, output: &Output) -> Result<Exit, Failure> {
    let key = match &arguments.key {
        Some(text) => public_key(text)?,
        None => access.client().public_key(),
    };
    let kind = match arguments.kind {
        KindChoice::User => AccountKind::User,
        KindChoice::Owner => AccountKind::Owner,
        KindChoice::Host => AccountKind::Host,
    };
    let (label, deposit, sub) = (arguments.label.clone(), arguments.deposit, arguments.sub);
    let request = AccountRequest { key, kind, label, deposit, sub };
    let account = access.client().open_account_with(&request).map_err(|error| failed(&error))?;
    show(&account, output);
    Ok(Exit::Ok)
}

/// Closes an account.
pub fn close(access: &Access, arguments: &CloseArgs, output: &Output) -> Result<Exit, Failure> {
    let id = match arguments.account {
        // A closed account acts for nobody any more, so that it cannot be asked for by key.
        Some(Party(id)) => id,
        None => account(access, None)?.id,
    };
    let closed = access.client().close_account(&id, arguments.to.0).map_err(|error| failed(&error))?;
    show(&closed, output);
    Ok(Exit::Ok)
}

/// Puts a new key in the place of the caller's.
pub fn rotate(access: &Access, choice: &BankChoice, arguments: &RotateArgs, output: &Output) -> Result<Exit, Failure> {
    if matches!(access, Access::Embedded { .. }) {
        return Err(Failure::new(Exit::Failed, "the embedded site knows you by your first key")
            .help("rotate the key of an account at a real bank: --bank URL, or `tycoon init --bank URL`"));
    }
    let folders = Folders::find("remote")?;
    let old = access.client().public_key();
    let path = match &arguments.new {
        Some(path) => std::path::absolute(path).map_err(|error| Failure::from_error(Exit::Failed, &error))?,
        None => folders
            .config
            .join(format!("id_ed25519.{}", local(Surroundings::find()?.clock.now()).replace([' ', ':'], "-"))),
    };
    let new = if path.exists() {
        identity::load_key(&path, output)?
    } else {
        let key = tycoon_rpc::SecretKey::generate().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        key_file::create(&path, &key, "tycoon").map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        key
    };
    let again = |failure: Failure| {
        failure.more_help(&format!("the new key is in {0}; repeat the command with --new {0}", path.display()))
    };
    let client = access.client();
    let rotated = client
        .own_account()
        .and_then(|account| client.change_keys(&account.id, &KeyChange::Replace { key: old, with: new.public_key() }));
    let chosen = KeyChoice::File(path.clone());
    let account = match rotated {
        Ok(account) => {
            chosen.write(&folders.config).map_err(again)?;
            account
        }
        // It may have been done before, and stopped before it was written down.
        Err(error) => {
            let before = KeyChoice::read(&folders.config)
                .map_err(again)?
                .unwrap_or_else(|| KeyChoice::File(Identity::usual_file(&folders.config)));
            chosen.write(&folders.config).map_err(again)?;
            let found = choice.open(output, "tycoon bank").ok().and_then(|access| access.client().own_account().ok());
            match found {
                Some(account) => account,
                None => {
                    before.write(&folders.config).map_err(again)?;
                    return Err(again(failed(&error)));
                }
            }
        }
    };
    output.message(&format!(
        "your key is now {}; the old one, {}, can do nothing more for this account",
        path.display(),
        old.fingerprint()
    ));
    show(&account, output);
    Ok(Exit::Ok)
}

/// Lists or changes the keys of an account.
pub fn keys(access: &Access, arguments: &KeysArgs, output: &Output) -> Result<Exit, Failure> {
    let mut found = account(access, arguments.account)?;
    let change = match &arguments.change {
        None => None,
        Some(KeysCommand::Put { key, role, limit }) => {
            let role = match role {
                RoleChoice::Reader => KeyRole::Reader,
                RoleChoice::Spender => KeyRole::Spender,
                RoleChoice::Owner => KeyRole::Owner,
            };
            Some(KeyChange::Put { key: public_key(key)?, role, limit: *limit })
        }
        Some(KeysCommand::Remove { key }) => Some(KeyChange::Remove { key: public_key(key)? }),
    };
    if let Some(change) = change {
        found = access.client().change_keys(&found.id, &change).map_err(|error| failed(&error))?;
    }
    if output.json {
        output.print_json(&found.keys);
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = found
        .keys
        .iter()
        .map(|entry| {
            let role = match entry.role {
                KeyRole::Reader => "reader",
                KeyRole::Spender => "spender",
                KeyRole::Owner => "owner",
            };
            let limit = entry
                .limit
                .map_or_else(String::new, |limit| format!("{} of {} in {}", entry.spent, limit.amount, limit.period));
            vec![entry.key.fingerprint(), role.to_owned(), limit]
        })
        .collect();
    output.print(&table(&["KEY", "ROLE", "SPENT"], &rows, &[], output.stdout));
    Ok(Exit::Ok)
}

/// Grants or ends an allowance.
pub fn allowance(access: &Access, arguments: &AllowanceArgs, output: &Output) -> Result<Exit, Failure> {
    let terms = match (arguments.amount, arguments.every) {
        (Some(amount), Some(period)) if !arguments.end => {
            let now = Surroundings::find()?.clock.now();
            Some(AllowanceTerms { amount, period, until: arguments.lasts.map(|lasts| now.plus(lasts)) })
        }
        _ => None,
    };
    let account = access.client().set_allowance(&arguments.account.0, terms).map_err(|error| failed(&error))?;
    show(&account, output);
    Ok(Exit::Ok)
}
