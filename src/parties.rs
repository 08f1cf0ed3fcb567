//! The parties of a real site that the user has pinned: where they are, and which key they must have. `tycoon init`
//! writes them down, in `parties.kdl` beside her key.

use std::path::{Path, PathBuf};

use tycoon_market::PublicKey;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::service::settings::Settings;

/// The names in the file.
const NAMES: &[&str] = &[
    "bank",
    "bank-key",
    "site-key",
    "trusted-certificates",
    "sls-1",
    "sls-key-1",
    "sls-2",
    "sls-key-2",
    "sls-3",
    "sls-key-3",
    "sls-4",
    "sls-key-4",
    "sls-5",
    "sls-key-5",
    "sls-6",
    "sls-key-6",
    "sls-7",
    "sls-key-7",
    "sls-8",
    "sls-key-8",
];
/// The most service location services that are pinned.
pub const SLSES_MAX: usize = 8;

/// The pinned parties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// The bank: its address and its key.
    pub bank: Option<(String, PublicKey)>,
    /// The service location services: their addresses and their keys.
    pub slses: Vec<(String, PublicKey)>,
    /// The key of the site, whose word it is which hosts are worked with.
    pub site: Option<PublicKey>,
    /// The certificates that are trusted for TLS; those that the operating system trusts where there are none.
    pub trusted: Option<PathBuf>,
}

impl Parties {
    /// The file in the user's folder.
    pub fn file(config: &Path) -> PathBuf {
        config.join("parties.kdl")
    }

    /// What is pinned; nothing where there is no file.
    pub fn read(config: &Path) -> Result<Self, Failure> {
        let path = Self::file(config);
        if !path.exists() {
            return Ok(Self::default());
        }
        let settings = Settings::read(&path, NAMES)?;
        let bank = match (settings.text("bank"), settings.parsed::<PublicKey>("bank-key")?) {
            (Some(url), Some(key)) => Some((url.to_owned(), key)),
            (None, None) => None,
            _ => {
                return Err(Failure::new(Exit::Failed, format!("{} pins a bank by half", path.display()))
                    .help("it needs `bank` and `bank-key`; `tycoon init --bank URL` writes both"));
            }
        };
        let mut slses = Vec::new();
        for number in 1..=SLSES_MAX {
            let (url, key) = (format!("sls-{number}"), format!("sls-key-{number}"));
            match (settings.text(&url), settings.parsed::<PublicKey>(&key)?) {
                (Some(url), Some(key)) => slses.push((url.to_owned(), key)),
                (None, None) => {}
                _ => {
                    return Err(Failure::new(Exit::Failed, format!("{} pins `{url}` by half", path.display()))
                        .help(format!("it needs `{url}` and `{key}`; `tycoon init --sls URL` writes both")));
                }
            }
        }
        let site = settings.parsed("site-key")?;
        Ok(Self { bank, slses, site, trusted: settings.text("trusted-certificates").map(PathBuf::from) })
    }

    /// Writes down what is pinned.
    pub fn write(&self, config: &Path) -> Result<(), Failure> {
        let mut text = "// Written by `tycoon init`.\n".to_owned();
        let mut line = |name: &str, value: &str| {
            text.push_str(&format!("{name} {}\n", kdl::KdlValue::String(value.to_owned())));
        };
        if let Some((url, key)) = &self.bank {
            line("bank", url);
            line("bank-key", &key.to_string());
        }
        for (number, (url, key)) in (1..).zip(&self.slses) {
            line(&format!("sls-{number}"), url);
            line(&format!("sls-key-{number}"), &key.to_string());
        }
        if let Some(site) = &self.site {
            line("site-key", &site.to_string());
        }
        if let Some(trusted) = &self.trusted {
            line("trusted-certificates", &trusted.to_string_lossy());
        }
        files::write(&Self::file(config), text.as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::{SecretKey, Signer as _};

    #[test]
    fn what_is_pinned_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Parties::read(folder.path()).unwrap(), Parties::default());
        let key = SecretKey::from_seed(&[1; 32]).public_key();
        let parties = Parties {
            bank: Some(("https://bank.example.org:7401".to_owned(), key)),
            slses: vec![("https://a.example.org:7402".to_owned(), key), ("https://b.example.org".to_owned(), key)],
            site: Some(key),
            trusted: Some("/etc/tycoon/a \"strange\" name.pem".into()),
        };
        parties.write(folder.path()).unwrap();
        assert_eq!(Parties::read(folder.path()).unwrap(), parties);
        std::fs::write(Parties::file(folder.path()), "bank \"https://x\"\n").unwrap();
        assert!(Parties::read(folder.path()).is_err());
    }
}
