//! `tycoon bank serve`: a bank for a site, on the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tycoon_bank::store::SledStore;
use tycoon_bank::{Bank, BankService, Options, Recovery, Registration, service};
use tycoon_market::PublicKey;
use tycoon_rpc::receiver::IN_FLIGHT_PER_SENDER_MAX;
use tycoon_rpc::replay_mark::MarkFile;
use tycoon_rpc::{AfterRestart, Published, ReplayPolicy, Server, Signer, key_file};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders;
use crate::output::Output;
use crate::service::ServiceArgs;
use crate::site::world::Surroundings;

/// Where a bank listens unless told otherwise.
pub const USUAL_PORT: u16 = 7401;
/// The settings of a bank beside those of every service.
const SETTINGS: &[&str] = &["store", "key", "issuer", "registration", "accounts-max", "in-flight-per-key"];

/// Where a bank keeps its books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A folder with a journal and its index.
    Sled(PathBuf),
}

impl std::str::FromStr for StorePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sled", path)) if !path.is_empty() => Ok(Self::Sled(path.into())),
            _ => Err("write sled:FOLDER".to_owned()),
        }
    }
}

/// Who may open accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RegistrationChoice {
    /// Everybody, for her own key.
    Open,
    /// Whoever has an account, for others.
    ByMembers,
    /// The issuer only.
    ByIssuer,
}

impl From<RegistrationChoice> for Registration {
    fn from(choice: RegistrationChoice) -> Self {
        match choice {
            RegistrationChoice::Open => Self::Open,
            RegistrationChoice::ByMembers => Self::ByMembers,
            RegistrationChoice::ByIssuer => Self::ByIssuer,
        }
    }
}

/// Arguments of `tycoon bank serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// What every service is told.
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Where the books are: sled:FOLDER
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE")]
    pub store: Option<StorePlace>,
    /// The bank's own key; made at the first start. `bank_key` in the store's folder where none is given
    #[arg(long, value_name = "FILE", env = "TYCOON_BANK_KEY_FILE")]
    pub key: Option<PathBuf>,
    /// Who puts credits into circulation (an OpenSSH public key); needed at the first start only
    #[arg(long, value_name = "KEY", env = "TYCOON_BANK_ISSUER")]
    pub issuer: Option<PublicKey>,
    /// Who may open accounts [by-members]
    #[arg(long, value_enum, value_name = "WHO", env = "TYCOON_BANK_REGISTRATION")]
    pub registration: Option<RegistrationChoice>,
    /// The most accounts that the bank takes [1000000]
    #[arg(long, value_name = "NUMBER", env = "TYCOON_BANK_ACCOUNTS_MAX")]
    pub accounts_max: Option<u64>,
    /// The most calls of one key that are worked on at a time [64]
    #[arg(long, value_name = "NUMBER", env = "TYCOON_BANK_IN_FLIGHT_PER_KEY")]
    pub in_flight_per_key: Option<usize>,
}

/// Serves until it is asked to stop.
pub fn run(arguments: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = arguments.service.settings(SETTINGS)?;
    arguments.service.start_log(&settings)?;
    let store = arguments.store.clone().map_or_else(|| settings.parsed("store"), |store| Ok(Some(store)))?;
    let Some(StorePlace::Sled(folder)) = store else {
        return Err(Failure::new(Exit::Usage, "where the bank keeps its books is not said")
            .help("give it with --store sled:FOLDER"));
    };
    folders::make(&folder)?;
    let key_path = arguments.key.clone().or_else(|| settings.text("key").map(PathBuf::from));
    let signer = bank_key(&key_path.unwrap_or_else(|| folder.join("bank_key")))?;
    let issuer = arguments.issuer.map_or_else(|| settings.parsed("issuer"), |issuer| Ok(Some(issuer)))?;
    let (bank, recovery) = open_bank(&folder, &signer, issuer)?;
    let registration = match (arguments.registration, settings.text("registration")) {
        (Some(choice), _) => choice.into(),
        (None, None) => Registration::default(),
        (None, Some(word)) => RegistrationChoice::from_str(word, false).map(Registration::from).map_err(|_| {
            Failure::new(Exit::Usage, format!("the setting `registration` is `{word}`"))
                .help("write `open`, `by-members` or `by-issuer`")
        })?,
    };
    let surroundings = Surroundings::find()?;
    let (marks, mark) =
        MarkFile::open(folder.join("replay-mark")).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut policy = ReplayPolicy::NETWORK;
    if recovery.founded {
        // Nothing was ever accepted, so nothing can come a second time.
        policy.after_restart = AfterRestart::Accept;
    }
    let in_flight =
        arguments.in_flight_per_key.map_or_else(|| settings.parsed("in-flight-per-key"), |n| Ok(Some(n)))?;
    let accounts_max = arguments.accounts_max.map_or_else(|| settings.parsed("accounts-max"), |n| Ok(Some(n)))?;
    let bank = Arc::new(bank);
    let mut bank_service =
        BankService::new(bank.clone(), signer.clone(), surroundings.clock.clone(), policy, registration).with_receiver(
            |receiver| {
                receiver
                    .with_marks(Arc::new(marks), mark)
                    .with_in_flight_max(in_flight.unwrap_or(IN_FLIGHT_PER_SENDER_MAX))
            },
        );
    if let Some(accounts_max) = accounts_max {
        bank_service = bank_service.with_accounts_max(accounts_max);
    }
    let server_settings = arguments.service.server(&settings, SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)))?;
    let scheme = if server_settings.tls.is_some() { "https" } else { "http" };
    let server = Server::start(server_settings, published(&bank, bank_service))
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let url = format!("{scheme}://{}", server.address());
    tracing::info!(%url, key = %signer.public_key(), fingerprint = signer.public_key().fingerprint(), "the bank is open");
    output.message(&format!(
        "the bank {} is open at {url}; point a client at it with\n  tycoon init --bank {url} --bank-key '{}'",
        signer.public_key().fingerprint(),
        signer.public_key()
    ));
    server.run_until_signalled().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    bank.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    tracing::info!("the bank is closed");
    Ok(Exit::Ok)
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

/// Opens the bank in `folder`, checking the whole journal.
pub fn open_bank(
    folder: &Path,
    signer: &Arc<dyn Signer>,
    issuer: Option<PublicKey>,
) -> Result<(Bank, Recovery), Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::from_error(Exit::Failed, error).context("the bank's books cannot be opened")
    };
    let journal = journal_folder(folder);
    if issuer.is_none() && !journal.exists() {
        return Err(Failure::new(Exit::Usage, format!("there is no bank in {} yet", folder.display()))
            .help("to found one, say who puts credits into circulation: --issuer 'ssh-ed25519 AAAA…' (`tycoon user export` prints a key)"));
    }
    let database = sled::Config::new()
        .path(folder.join("index"))
        .flush_every_ms(None)
        .open()
        .map_err(|error| failed(&error).help("another process may have it open; only one may"))?;
    let store = Arc::new(SledStore::open(&database, "bank").map_err(|error| failed(&error))?);
    let clock = Surroundings::find()?.clock;
    let options = Options { hook: crate::site::world::bank_hook(), ..Options::new(journal) };
    // A bank that exists has its issuer in its books.
    let issuer = issuer.unwrap_or_else(|| signer.public_key());
    let (bank, recovery) = Bank::open(options, store, signer.clone(), clock, issuer).map_err(|error| failed(&error))?;
    if let Some(cut) = &recovery.cut {
        tracing::warn!(file = %cut.file.display(), at = cut.offset, bytes = cut.bytes, "a torn record was cut off; nobody had been told of it");
    }
    if let Some(reason) = recovery.rebuilt.as_ref().filter(|_| !recovery.founded) {
        tracing::warn!(reason, "the index was made anew from the journal");
    }
    if recovery.founded {
        tracing::info!(issuer = issuer.fingerprint(), "a new bank was founded");
    }
    Ok((bank, recovery))
}

/// What the bank's server publishes.
fn published(bank: &Arc<Bank>, bank_service: BankService) -> Published {
    let (health, gauges) = (bank.clone(), bank.clone());
    Published::new(Arc::new(bank_service))
        .with_openapi(&service::openapi())
        .with_health(move || health.check().map_err(|error| error.to_string()))
        .with_gauges(move |text| {
            // Where the books cannot be read, /healthz says why.
            let Ok(books) = gauges.books() else { return };
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            text.gauge("tycoon_bank_issued_micro_credits", "Credits issued.", books.issued.micros());
            text.gauge("tycoon_bank_in_accounts_micro_credits", "Credits on accounts.", books.in_accounts.micros());
            text.gauge("tycoon_bank_in_escrow_micro_credits", "Credits in escrow.", books.in_escrow.micros());
            text.gauge("tycoon_bank_accounts", "Accounts.", count(books.accounts));
            text.gauge("tycoon_bank_escrows_open", "Open escrows.", count(books.escrows_open));
            text.gauge("tycoon_bank_records", "The last record of the journal.", count(gauges.last_record()));
        })
}
