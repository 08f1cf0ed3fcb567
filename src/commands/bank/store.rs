//! Where a bank keeps its books, and how they are opened.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use tycoon_bank::bank::{Backend as _, BankError};
use tycoon_bank::export::Visitor;
use tycoon_bank::journal::{self, Check};
use tycoon_bank::postgres_books::PostgresBooks;
use tycoon_bank::store::{Head, SledStore};
use tycoon_bank::{Bank, Options, Recovery};
use tycoon_market::{PublicKey, Timestamp};
use tycoon_rpc::replay_mark::MarkFile;
use tycoon_rpc::{ReplayPolicy, Signer, key_file};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::service::ReplayDefence;
use crate::site::world::{self, Surroundings};

/// Where a bank keeps its books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A folder with a journal and its index.
    Sled(PathBuf),
    /// A database, by its address.
    Postgres(String),
}

impl FromStr for StorePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sled", path)) if !path.is_empty() => Ok(Self::Sled(path.into())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(text.to_owned())),
            _ => Err("write sled:FOLDER or postgres://USER@HOST/DATABASE".to_owned()),
        }
    }
}

impl StorePlace {
    /// The folder of the journal; a refusal where the books are in a database, which has tools of its own.
    pub fn journal(&self, instead: &str) -> Result<PathBuf, Failure> {
        match self {
            Self::Sled(folder) => Ok(journal_folder(folder)),
            Self::Postgres(_) => Err(Failure::new(
                Exit::Usage,
                "this works on the files of a journal, and these books are in a database",
            )
            .help(instead.to_owned())),
        }
    }

    /// Shows every record of the books, from the first, to `visit`. A bank may have them open meanwhile.
    pub fn records(&self, visit: &mut Visitor<'_>) -> Result<(), BankError> {
        match self {
            Self::Sled(folder) => {
                journal::read(&journal_folder(folder), &Head::EMPTY, Check::Everything, visit).map(|_| ())
            }
            Self::Postgres(url) => PostgresBooks::open(url)?.records(visit),
        }
    }
}

/// An open bank, and how its service defends itself against replays.
pub struct Opened {
    /// The bank.
    pub bank: Bank,
    /// Its key.
    pub signer: Arc<dyn Signer>,
    /// What its service takes.
    pub policy: ReplayPolicy,
    /// The mark of what it took before; `None` where the books remember that.
    pub marks: Option<(MarkFile, Option<Timestamp>)>,
}

/// Opens the bank in `place`.
pub fn open(place: &StorePlace, key: Option<PathBuf>, issuer: Option<PublicKey>) -> Result<Opened, Failure> {
    match place {
        StorePlace::Sled(folder) => {
            folders::make(folder)?;
            let signer = bank_key(&key.unwrap_or_else(|| folder.join("bank_key")))?;
            let (bank, recovery) = open_journal(folder, &signer, issuer)?;
            let replay = ReplayDefence::of(folder, recovery.founded)?;
            Ok(Opened { bank, signer, policy: replay.policy, marks: Some((replay.marks, replay.mark)) })
        }
        StorePlace::Postgres(url) => {
            let Some(key) = key else {
                return Err(Failure::new(Exit::Usage, "which key is the bank's is not said")
                    .help("give it with --key FILE; all processes of one bank have the same key"));
            };
            let signer = bank_key(&key)?;
            let books = PostgresBooks::open(url).map_err(|error| not_opened(&error))?;
            if issuer.is_none() && is_empty(&books)? {
                return Err(no_issuer("in the database"));
            }
            let clock = Surroundings::find()?.clock;
            let issuer = issuer.unwrap_or_else(|| signer.public_key());
            let (bank, _) =
                Bank::over(Box::new(books), signer.clone(), clock, issuer).map_err(|error| not_opened(&error))?;
            // The database remembers which requests were accepted, by any of the processes and through restarts.
            Ok(Opened { bank, signer, policy: ReplayPolicy::IN_PROCESS, marks: None })
        }
    }
}

/// True where there is no bank in a database yet.
pub fn is_empty(books: &PostgresBooks) -> Result<bool, Failure> {
    let mut is_empty = true;
    let looked = books.read(&mut |store| {
        is_empty = store.books()?.is_none();
        Ok(())
    });
    looked.map_err(|error| not_opened(&error))?;
    Ok(is_empty)
}

fn not_opened(error: &dyn std::error::Error) -> Failure {
    Failure::from_error(Exit::Failed, error).context("the bank's books cannot be opened")
}

/// Why the index cannot be opened, which holds nothing that the journal does not.
fn index_not_opened(error: &sled::Error, index: &Path) -> Failure {
    let failure = not_opened(error);
    match error {
        sled::Error::Io(cause) if cause.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            failure.help("the disk can only be read, and a bank writes; an audit, an export and a backup are possible")
        }
        sled::Error::Io(cause) if cause.kind() == io::ErrorKind::StorageFull => {
            failure.help("the disk is full: make room, and start the bank again")
        }
        sled::Error::Io(_) => failure.help("another process may have it open; only one may"),
        _ => failure.help(format!(
            "the index {} is damaged; no money is in it: check the journal with `tycoon bank audit`, compare its last \
             record with a backup's, remove the index, and start the bank, which makes it anew",
            index.display()
        )),
    }
}

fn no_issuer(place: &str) -> Failure {
    Failure::new(Exit::Usage, format!("there is no bank {place} yet")).help(
        "to found one, say who puts credits into circulation: --issuer 'ssh-ed25519 AAAA…' (`tycoon user export` \
         prints a key)",
    )
}

/// The bank's key, made where there is none.
pub fn bank_key(path: &Path) -> Result<Arc<dyn Signer>, Failure> {
    let key = key_file::load_or_create(path, "tycoon bank").map_err(|error| {
        Failure::from_error(Exit::Failed, &error)
            .help("the bank's key signs every receipt; keep a copy of it where nobody else reads it")
    })?;
    Ok(Arc::new(key))
}

/// The folder of the journal in a store's folder.
pub fn journal_folder(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// Opens the bank whose journal is in `folder`, checking all of it.
pub fn open_journal(
    folder: &Path,
    signer: &Arc<dyn Signer>,
    issuer: Option<PublicKey>,
) -> Result<(Bank, Recovery), Failure> {
    let journal = journal_folder(folder);
    if issuer.is_none() && !journal.exists() {
        return Err(no_issuer(&format!("in {}", folder.display())));
    }
    let index = folder.join("index");
    let store = Arc::new(SledStore::open_folder(&index).map_err(|error| index_not_opened(&error, &index))?);
    let clock = Surroundings::find()?.clock;
    let options = Options { hook: world::bank_hook(), ..Options::new(journal) };
    // A bank that exists has its issuer in its books.
    let issuer = issuer.unwrap_or_else(|| signer.public_key());
    let (bank, recovery) =
        Bank::open(options, store, signer.clone(), clock, issuer).map_err(|error| not_opened(&error))?;
    if let Some(cut) = &recovery.cut {
        let (file, at, bytes) = (cut.file.display(), cut.offset, cut.bytes);
        tracing::warn!(%file, at, bytes, "a torn record was cut off; nobody had been told of it");
    }
    if let Some(reason) = recovery.rebuilt.as_ref().filter(|_| !recovery.founded) {
        tracing::warn!(reason, "the index was made anew from the journal");
    }
    if recovery.founded {
        tracing::info!(issuer = issuer.fingerprint(), "a new bank was founded");
    }
    Ok((bank, recovery))
}
