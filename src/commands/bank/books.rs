//! The bank's books: counting them anew, copying them, moving them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tycoon_bank::audit::{Audit, audit as audit_journal, audit_records};
use tycoon_bank::bank::BankError;
use tycoon_bank::export::{self, ExportError};
use tycoon_bank::journal::{self, JournalError};
use tycoon_bank::postgres_books::PostgresBooks;
use tycoon_bank::store::Head;
use tycoon_market::Credits;

use super::access::Access;
use super::store::{StorePlace, bank_key, is_empty, journal_folder, open_journal};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::output::Output;

/// Which books.
#[derive(Args, Debug)]
pub struct StoreArgs {
    /// The books of a bank on this machine; those of the embedded site where none are named
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: Option<StorePlace>,
}

/// Arguments of `tycoon bank export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The books: sled:FOLDER or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: StorePlace,
    /// The file to write; standard output where none is given
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// Arguments of `tycoon bank import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// Where the books shall be: a store that is empty
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: StorePlace,
    /// The export
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// Arguments of `tycoon bank backup`.
#[derive(Args, Debug)]
pub struct BackupArgs {
    /// The books: sled:FOLDER or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: StorePlace,
    /// The folder to copy them into, which must hold none
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
}

/// Arguments of `tycoon bank restore`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// Where the books shall be: a store that is empty
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: StorePlace,
    /// The backup
    #[arg(long, value_name = "FOLDER")]
    pub from: PathBuf,
    /// The bank's own key; `bank_key` in the store's folder where none is given
    #[arg(long, value_name = "FILE", env = "TYCOON_BANK_KEY_FILE")]
    pub key: Option<PathBuf>,
}

/// Arguments of `tycoon bank archive`.
#[derive(Args, Debug)]
pub struct ArchiveArgs {
    /// The books: sled:FOLDER or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: StorePlace,
    /// The folder to put the old segments into; always the same one
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
    /// How many of the latest segments stay
    #[arg(long, default_value_t = 16, value_name = "NUMBER")]
    pub keep: usize,
}

fn failed(error: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, error)
}

/// Counts the books of a store anew. The bank may run meanwhile.
pub fn audit(arguments: &StoreArgs, output: &Output) -> Result<Exit, Failure> {
    let Some(store) = &arguments.store else { return Err(Failure::new(Exit::Usage, "which books is not said")) };
    let audit = match store {
        StorePlace::Sled(folder) => {
            // A backup is a journal without the rest.
            let journal = journal_folder(folder);
            audit_journal(if journal.is_dir() { &journal } else { folder }, None)
        }
        StorePlace::Postgres(_) => audit_records(None, &mut |visit| store.records(visit)),
    };
    Ok(show(&audit.map_err(|error| failed(&error))?, output))
}

/// Counts the books of the embedded site anew.
pub fn audit_of(access: &Access, output: &Output) -> Result<Exit, Failure> {
    match access {
        Access::Embedded { site, .. } => Ok(show(&site.audit()?, output)),
        Access::Remote { url, .. } => {
            Err(Failure::new(Exit::Usage, format!("the books of the bank at {url} are not on this machine"))
                .help("an audit reads them on the bank's machine: `tycoon bank audit --store sled:FOLDER`"))
        }
    }
}

fn show(audit: &Audit, output: &Output) -> Exit {
    let issued = audit.books.as_ref().map(|books| books.issued).unwrap_or_default();
    if output.json {
        output.print_json(&json!({
            "ok": audit.is_clean(),
            "records": audit.head.record,
            "signed": audit.signed,
            "issued_micro": issued.micros(),
            "in_accounts_micro": audit.in_accounts.micros(),
            "in_escrow_micro": audit.in_escrow.micros(),
            "in_reservations_micro": audit.in_reservations.micros(),
            "findings": audit.findings,
        }));
    } else {
        output.print(&format!(
            "{} records, every one in the chain\nissued       {issued}\nin accounts  {}\nin escrow    {}\n",
            audit.head.record, audit.in_accounts, audit.in_escrow
        ));
        if audit.in_reservations != Credits::ZERO {
            output.print(&format!("reserved     {}\n", audit.in_reservations));
        }
        for finding in &audit.findings {
            output.print(&format!("{}: {finding}\n", output.stdout.red("wrong")));
        }
        if audit.is_clean() {
            output.print("It adds up: no credit was lost or made.\n");
        }
    }
    if audit.is_clean() { Exit::Ok } else { Exit::Failed }
}

/// Writes all records as one text. The bank may run meanwhile.
pub fn export(arguments: &ExportArgs, output: &Output) -> Result<Exit, Failure> {
    let mut records = |visit: &mut export::Visitor<'_>| arguments.store.records(visit);
    let head = match &arguments.to {
        None => {
            export::write(&mut BufWriter::new(io::stdout().lock()), &mut records).map_err(|error| failed(&error))?
        }
        Some(path) => {
            let cannot = |error: io::Error| failed(&error).context(&format!("{} cannot be written", path.display()));
            let mut file = BufWriter::new(File::create_new(path).map_err(cannot)?);
            let head = export::write(&mut file, &mut records).map_err(|error| failed(&error))?;
            file.flush().and_then(|()| file.get_ref().sync_all()).map_err(cannot)?;
            head
        }
    };
    output.message(&format!("wrote {} records; the last has the hash {}", head.record, head.hash));
    Ok(Exit::Ok)
}

/// Makes a journal of an export.
pub fn import(arguments: &ImportArgs, output: &Output) -> Result<Exit, Failure> {
    let path = &arguments.from;
    let file =
        File::open(path).map_err(|error| failed(&error).context(&format!("{} cannot be read", path.display())))?;
    let mut reader = BufReader::new(file);
    let head = match &arguments.store {
        StorePlace::Sled(folder) => {
            folders::make(folder)?;
            let made = journal::create::<ImportError>(&journal_folder(folder), |append| {
                export::read(&mut reader, &mut |record| append(record).map_err(BankError::from))?;
                Ok(())
            });
            made.map_err(|ImportError(failure)| failure)?
        }
        StorePlace::Postgres(url) => {
            let books = PostgresBooks::open(url).map_err(|error| failed(&error))?;
            if !is_empty(&books)? {
                return Err(Failure::new(Exit::Failed, "there is a bank in the database")
                    .help("an import needs an empty database: `createdb` makes one"));
            }
            export::read(&mut reader, &mut |record| books.append(record)).map_err(|error| failed(&error))?
        }
    };
    let exit = audit(&StoreArgs { store: Some(arguments.store.clone()) }, output)?;
    output.message(&format!("read {} records; the bank's key moves apart from them: copy it too", head.record));
    Ok(exit)
}

struct ImportError(Failure);

impl From<JournalError> for ImportError {
    fn from(error: JournalError) -> Self {
        Self(failed(&error))
    }
}

impl From<ExportError> for ImportError {
    fn from(error: ExportError) -> Self {
        Self(failed(&error))
    }
}

/// Copies a journal while it is written.
pub fn backup(arguments: &BackupArgs, output: &Output) -> Result<Exit, Failure> {
    let journal = arguments.store.journal("use the database's own backup (`pg_dump`), or `tycoon bank export`")?;
    let head = journal::copy(&journal, &arguments.to).map_err(|error| failed(&error))?;
    told(output, "copied", head, &arguments.to);
    output.message("keep a copy of the bank's key too, and apart from it");
    Ok(Exit::Ok)
}

/// Makes a bank of a backup.
pub fn restore(arguments: &RestoreArgs, output: &Output) -> Result<Exit, Failure> {
    let StorePlace::Sled(folder) = &arguments.store else {
        return Err(Failure::new(Exit::Usage, "a backup of files becomes a journal, not a database")
            .help("restore it into sled:FOLDER, and take it to the database with `tycoon bank export` and `import`"));
    };
    folders::make(folder)?;
    let key = arguments.key.clone().unwrap_or_else(|| folder.join("bank_key"));
    if !key.exists() {
        return Err(Failure::new(Exit::Failed, format!("there is no key {}", key.display()))
            .help("a bank is its key: copy it there first, or name it with --key"));
    }
    let signer = bank_key(&key)?;
    let head = journal::copy(&arguments.from, &journal_folder(folder)).map_err(|error| failed(&error))?;
    let (bank, _) = open_journal(folder, &signer, None)?;
    let books = bank.start_epoch().map_err(|error| failed(&error))?;
    bank.flush().map_err(|error| failed(&error))?;
    told(output, "restored", head, folder);
    output.message(&format!(
        "epoch {} has begun: hosts take no receipt of an escrow that the backup does not know",
        books.epoch
    ));
    Ok(Exit::Ok)
}

/// Puts old segments away. The bank may run meanwhile.
pub fn archive(arguments: &ArchiveArgs, output: &Output) -> Result<Exit, Failure> {
    let journal = arguments.store.journal("a database has no segments")?;
    let count = journal::archive(&journal, &arguments.to, arguments.keep).map_err(|error| failed(&error))?;
    if output.json {
        output.print_json(&json!({ "segments": count, "folder": arguments.to }));
    } else {
        output.print(&format!("put {count} segments away into {}\n", arguments.to.display()));
    }
    Ok(Exit::Ok)
}

fn told(output: &Output, what: &str, head: Head, to: &Path) {
    if output.json {
        output.print_json(&json!({ "records": head.record, "hash": head.hash, "folder": to }));
    } else {
        output.print(&format!("{what} {} records; the last has the hash {}\n", head.record, head.hash));
    }
}
