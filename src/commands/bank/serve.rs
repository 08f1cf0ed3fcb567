//! `tycoon bank serve`: a bank for a site, on the network.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tycoon_bank::{Bank, BankService, Registration, service};
use tycoon_market::PublicKey;
use tycoon_rpc::receiver::IN_FLIGHT_PER_SENDER_MAX;
use tycoon_rpc::{Published, Server};

use super::store::{self, Opened, StorePlace};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::service::{ServiceArgs, footprint};
use crate::site::world::Surroundings;

/// Where a bank listens unless told otherwise.
pub const USUAL_PORT: u16 = 7401;
/// The settings of a bank beside those of every service.
const SETTINGS: &[&str] =
    &["store", "key", "issuer", "registration", "accounts-max", "accounts-per-opener", "in-flight-per-key"];

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
    /// Where the books are: sled:FOLDER, or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "STORE", env = "TYCOON_BANK_STORE", hide_env_values = true)]
    pub store: Option<StorePlace>,
    /// The bank's own key; made at the first start. `bank_key` in the store's folder where none is given; needed with a database
    #[arg(long, value_name = "FILE", env = "TYCOON_BANK_KEY_FILE")]
    pub key: Option<PathBuf>,
    /// Who puts credits into circulation (an OpenSSH public key); needed at the first start only
    #[arg(long, value_name = "KEY", env = "TYCOON_BANK_ISSUER")]
    pub issuer: Option<PublicKey>,
    /// Who may open accounts [by-members]
    #[arg(long, value_enum, value_name = "WHO", env = "TYCOON_BANK_REGISTRATION")]
    pub registration: Option<RegistrationChoice>,
    /// The most accounts that the bank takes [default: 1000000]
    #[arg(long, value_name = "NUMBER", env = "TYCOON_BANK_ACCOUNTS_MAX")]
    pub accounts_max: Option<u64>,
    /// The most accounts that one account opens for others; the issuer opens any number [default: 1000]
    #[arg(long, value_name = "NUMBER", env = "TYCOON_BANK_ACCOUNTS_PER_OPENER")]
    pub accounts_per_opener: Option<u64>,
    /// The most calls of one key that are worked on at a time [default: 64]
    #[arg(long, value_name = "NUMBER", env = "TYCOON_BANK_IN_FLIGHT_PER_KEY")]
    pub in_flight_per_key: Option<usize>,
}

/// Serves until it is asked to stop.
pub fn run(arguments: &ServeArgs, output: &Output) -> Result<Exit, Failure> {
    let settings = arguments.service.settings(SETTINGS)?;
    arguments.service.start_log(&settings)?;
    footprint::let_go_of_loading();
    let place = arguments.store.clone().map_or_else(|| settings.parsed("store"), |store| Ok(Some(store)))?;
    let Some(place) = place else {
        return Err(Failure::new(Exit::Usage, "where the bank keeps its books is not said")
            .help("give it with --store sled:FOLDER, or --store postgres://USER@HOST/DATABASE"));
    };
    let issuer = arguments.issuer.map_or_else(|| settings.parsed("issuer"), |issuer| Ok(Some(issuer)))?;
    let key = arguments.key.clone().or_else(|| settings.text("key").map(PathBuf::from));
    let Opened { bank, signer, policy, marks } = store::open(&place, key, issuer)?;
    let registration = match (arguments.registration, settings.text("registration")) {
        (Some(choice), _) => choice.into(),
        (None, None) => Registration::default(),
        (None, Some(word)) => RegistrationChoice::from_str(word, false).map(Registration::from).map_err(|_| {
            Failure::new(Exit::Usage, format!("the setting `registration` is `{word}`"))
                .help("write `open`, `by-members` or `by-issuer`")
        })?,
    };
    let clock = Surroundings::find()?.clock;
    let in_flight =
        arguments.in_flight_per_key.map_or_else(|| settings.parsed("in-flight-per-key"), |n| Ok(Some(n)))?;
    let accounts_max = arguments.accounts_max.map_or_else(|| settings.parsed("accounts-max"), |n| Ok(Some(n)))?;
    let per_opener =
        arguments.accounts_per_opener.map_or_else(|| settings.parsed("accounts-per-opener"), |n| Ok(Some(n)))?;
    let bank = Arc::new(bank);
    let mut bank_service =
        BankService::new(bank.clone(), signer.clone(), clock, policy, registration).with_receiver(|receiver| {
            let receiver = receiver.with_in_flight_max(in_flight.unwrap_or(IN_FLIGHT_PER_SENDER_MAX));
            match marks {
                Some((marks, mark)) => receiver.with_marks(Arc::new(marks), mark),
                None => receiver,
            }
        });
    if let Some(per_opener) = per_opener {
        bank_service = bank_service.with_accounts_per_opener_max(per_opener);
    }
    if let Some(accounts_max) = accounts_max {
        bank_service = bank_service.with_accounts_max(accounts_max);
    }
    let server_settings = arguments.service.server(&settings, SocketAddr::from((Ipv4Addr::LOCALHOST, USUAL_PORT)))?;
    let scheme = if server_settings.tls.is_some() { "https" } else { "http" };
    let server = Server::start(server_settings, published(&bank, bank_service))
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let signals = server.heed_signals().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let url = format!("{scheme}://{}", server.address());
    tracing::info!(%url, key = %signer.public_key(), fingerprint = signer.public_key().fingerprint(), "the bank is open");
    output.message(&format!(
        "the bank {} is open at {url}; point a client at it with\n  tycoon init --bank {url} --bank-key '{}'",
        signer.public_key().fingerprint(),
        signer.public_key()
    ));
    server.run_until(signals);
    bank.flush().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    tracing::info!("the bank is closed");
    Ok(Exit::Ok)
}

/// What the bank's server publishes.
fn published(bank: &Arc<Bank>, bank_service: BankService) -> Published {
    let (bank_service, gauges) = (Arc::new(bank_service), bank.clone());
    Published::new(bank_service.clone())
        .with_openapi(&service::openapi())
        .with_health(move || bank_service.check())
        .with_gauges(move |text| {
            // Where the books cannot be read, /healthz says why.
            let Ok(books) = gauges.books() else { return };
            let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            text.gauge("tycoon_bank_issued_micro_credits", "Credits issued.", books.issued.micros());
            text.gauge("tycoon_bank_in_accounts_micro_credits", "Credits on accounts.", books.in_accounts.micros());
            text.gauge("tycoon_bank_in_escrow_micro_credits", "Credits in escrow.", books.in_escrow.micros());
            text.gauge(
                "tycoon_bank_in_reservations_micro_credits",
                "Credits reserved.",
                books.in_reservations.micros(),
            );
            text.gauge("tycoon_bank_accounts", "Accounts.", count(books.accounts));
            text.gauge("tycoon_bank_escrows_open", "Open escrows.", count(books.escrows_open));
            text.gauge("tycoon_bank_waiting", "Operations that wait to be written.", count(gauges.waiting() as u64));
            text.gauge("tycoon_bank_records", "The last record of the journal.", count(gauges.last_record()));
        })
}
