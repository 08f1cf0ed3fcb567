//! Hosts that were just installed: they are admitted where the site's key is here, else it is said how.

use std::path::{Path, PathBuf};

use tycoon_market::{HostId, PublicKey};

use super::roll::{self, AdmitArgs, SiteFolder};
use crate::commands::sls::access::SlsChoice;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// A host that is registered, and perhaps not admitted yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: HostId,
}

/// The services where rolls are published.
pub struct Services {
    /// Their addresses and keys.
    pub services: Vec<(String, PublicKey)>,
    /// The certificates that are trusted for TLS.
    pub trusted: Option<PathBuf>,
}

/// Admits those that are not admitted yet, by the site's key in `folder`.
pub fn admit(
    newcomers: &[&Newcomer],
    folder: Option<&Path>,
    services: &Services,
    output: &Output,
) -> Result<Exit, Failure> {
    if newcomers.is_empty() || services.services.is_empty() {
        return Ok(Exit::Ok);
    }
    let folder = SiteFolder::of(folder)?;
    let names: Vec<&str> = newcomers.iter().map(|newcomer| newcomer.name.as_str()).collect();
    if !folder.has_key() {
        output.message(&format!(
            "pools run on them once the site's operator admits them, who has its key:\n  tycoon site admit {}",
            names.join(" ")
        ));
        return Ok(Exit::Ok);
    }
    let (sls, sls_key) = services.services.iter().cloned().unzip();
    let choice = SlsChoice { sls, sls_key, trusted: services.trusted.clone(), ..SlsChoice::default() };
    let admitted = roll::admitted(&folder, &choice, output)?;
    let new: Vec<&&Newcomer> = newcomers.iter().filter(|newcomer| !admitted.contains(&newcomer.id)).collect();
    if new.is_empty() {
        output.message(&format!("admitted already: {}", names.join(", ")));
        return Ok(Exit::Ok);
    }
    let hosts = new.iter().map(|newcomer| newcomer.id.to_string()).collect();
    roll::admit(&AdmitArgs { hosts }, &folder, &choice, output)
}

/// How the admission of a host is revoked that is one no more.
pub fn how_to_revoke(name: &str, folder: Option<&Path>) -> Result<String, Failure> {
    let who = if SiteFolder::of(folder)?.has_key() { "you have" } else { "the site's operator has" };
    Ok(format!("{name} takes part no more; {who} the key to strike it off the roll:\n  tycoon site revoke {name}"))
}
