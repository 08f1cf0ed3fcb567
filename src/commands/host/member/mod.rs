//! A host as a member of a site: its two services, on the machine that has them. Nothing here goes to other machines
//! but questions to the site's bank and services; `tycoon host install` brings it there.

mod checks;
pub mod choice;
mod door;
mod files;
pub mod join;
pub mod leave;
mod services;
mod settings_text;
mod user;

use std::path::{Path, PathBuf};

use tycoon_market::{HostId, HostName, PublicKey};

use super::serve;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::service::settings::Settings;

/// The settings of the market.
pub const HOST_SETTINGS: &str = "/etc/tycoon/host.kdl";
/// The settings of the enforcer.
const ENFORCE_SETTINGS: &str = "/etc/tycoon/enforce.kdl";
/// Prices and rules.
const POLICY: &str = "/etc/tycoon/host-policy.kdl";
/// Where the market keeps its books and its key.
const STORE: &str = "/var/lib/tycoon-host";
/// The user who is the market.
const USER: &str = "tycoon";

/// The certificate that TLS is spoken with, where the owner gave one.
pub const TLS_CERTIFICATES: &str = "/etc/tycoon/host-certificate.pem";
/// Its key.
pub const TLS_KEY: &str = "/etc/tycoon/host-certificate-key.pem";
/// The certificates that are trusted, where the owner gave some.
pub const TRUSTED: &str = "/etc/tycoon/trusted-certificates.pem";

/// How a member speaks TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    /// Not at all: on this machine alone, or behind a proxy.
    None,
    /// With a certificate in files.
    Files,
    /// With a certificate that it makes for its own key.
    OwnKey,
}

/// What the settings of a member say, as far as it is looked at here.
#[derive(Clone, Debug)]
struct Member {
    name: HostName,
    listen: std::net::SocketAddr,
    tls: Tls,
    addresses: Vec<String>,
    bank: (String, PublicKey),
    services: Vec<(String, PublicKey)>,
    trusted: Option<PathBuf>,
    store: PathBuf,
}

impl Member {
    /// What the settings in `path` say.
    fn read(path: &Path) -> Result<Self, Failure> {
        Self::of(&serve::settings_in(path)?)
    }

    fn of(settings: &Settings) -> Result<Self, Failure> {
        let missing = |what: &str, help: &str| Failure::new(Exit::Usage, format!("{what} is not said")).help(help);
        let list = |name: &str| -> Vec<String> {
            let parts = settings.text(name).unwrap_or_default().split(',').map(str::trim);
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let key = |text: &String| {
            text.parse().map_err(|error| {
                Failure::new(Exit::Usage, format!("`{text}` is no public key: {error}"))
                    .help("write public keys as OpenSSH does: ssh-ed25519 AAAA…")
            })
        };
        let bank = match (settings.text("bank"), settings.parsed("bank-key")?) {
            (Some(url), Some(key)) => (url.to_owned(), key),
            _ => {
                return Err(missing(
                    "which bank pays the host",
                    "give --bank URL --bank-key KEY, or pin the bank with `tycoon init --bank URL`",
                ));
            }
        };
        let (urls, keys) = (list("sls"), list("sls-key"));
        if urls.len() != keys.len() {
            let message = format!("there are {} service location services and {} keys of them", urls.len(), keys.len());
            return Err(Failure::new(Exit::Usage, message)
                .help("give as many --sls-key as --sls, in the same order; `tycoon sls serve` prints both"));
        }
        let keys = keys.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        if settings.text("owner").is_none() && settings.text("owner-account").is_none() {
            return Err(missing("who owns the host", "give the owner's key with --owner \"$(tycoon user export)\""));
        }
        let usual = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, serve::USUAL_PORT));
        let listen: std::net::SocketAddr = settings.parsed("listen")?.unwrap_or(usual);
        let is_behind_proxy = settings.parsed("behind-proxy")?.unwrap_or(false);
        let tls = match settings.text("tls-certificates") {
            Some(_) => Tls::Files,
            None if is_behind_proxy || listen.ip().is_loopback() => Tls::None,
            None => Tls::OwnKey,
        };
        let addresses = list("address");
        if !listen.ip().is_loopback() && addresses.is_empty() {
            return Err(missing("where clients reach the host", "give --address https://NAME:PORT"));
        }
        let name = settings.parsed("name")?.ok_or_else(|| missing("the name of the host", "give --name NAME"))?;
        Ok(Self {
            name,
            listen,
            tls,
            addresses,
            bank,
            services: urls.into_iter().zip(keys).collect(),
            trusted: settings.text("trusted-certificates").map(PathBuf::from),
            store: settings.text("store").map_or_else(|| PathBuf::from(STORE), PathBuf::from),
        })
    }

    /// Where this machine itself asks the market how it is.
    fn own_url(&self) -> String {
        let is_any = self.listen.ip().is_unspecified();
        let ip = if is_any { std::net::Ipv4Addr::LOCALHOST.into() } else { self.listen.ip() };
        let listen = std::net::SocketAddr::new(ip, self.listen.port());
        match (self.tls, self.addresses.first()) {
            // The certificate is for the name that is in the address.
            (Tls::Files, Some(address)) => address.clone(),
            (Tls::Files | Tls::OwnKey, _) => format!("https://{listen}"),
            (Tls::None, _) => format!("http://{listen}"),
        }
    }

    /// The key that the market has made, and the host's id; `None` before its first start.
    fn identity(&self) -> Result<Option<(HostId, PublicKey)>, Failure> {
        use tycoon_rpc::Signer as _;
        let path = self.store.join("host_key");
        if !path.exists() {
            return Ok(None);
        }
        let key = tycoon_rpc::key_file::load(&path).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let key = key.public_key();
        Ok(Some((HostId::of(&key), key)))
    }
}

/// Only root changes what a machine is.
fn be_root(command: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("`{command}` is not run by root")).help("run it as root, or with sudo"))
}
