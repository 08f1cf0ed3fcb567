//! The state of a simulated host in a sled tree.
//!
//! `host` holds the host, and `domain/<name>` each domain, as JSON with a version. A change is one batch, which sled
//! applies as a whole or not at all, and it is flushed before the caller hears of it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sled::{Batch, Tree};

use super::config::MemoryHostConfig;
use super::domain::Domain;
use super::state::{Host, State};
use crate::hypervisor::HypervisorError;

/// The version of the values. A new version reads the one before.
const VERSION: u32 = 1;
const HOST_KEY: &str = "host";
const DOMAIN_PREFIX: &str = "domain/";

#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    value: &'a T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    value: T,
}

/// Reads the state, or makes a new one where there is none. A different `config` takes the place of the stored one
/// where everything that exists fits into it.
pub(super) fn open(tree: &Tree, config: MemoryHostConfig) -> Result<State, HypervisorError> {
    let Some(host) = tree.get(HOST_KEY).map_err(|error| reading(&error))? else {
        let state = State::new(config);
        write(tree, None, &state)?;
        return Ok(state);
    };
    let mut saved = State { host: parse::<Host>(HOST_KEY, &host)?, domains: Default::default() };
    for entry in tree.scan_prefix(DOMAIN_PREFIX) {
        let (key, value) = entry.map_err(|error| reading(&error))?;
        let name = name_of(&key).ok_or_else(|| reading(&"a domain's key is not a text"))?;
        let domain: Domain = parse(name, &value)?;
        saved.domains.insert(name.to_owned(), domain);
    }
    if saved.host.config == config {
        return Ok(saved);
    }
    saved.check_fits_into(&config)?;
    let mut state = saved.clone();
    state.host.config = config;
    write(tree, Some(&saved), &state)?;
    Ok(state)
}

/// Writes what differs between the two and waits until it is on disk. Where it is not known what is `saved`, all of
/// the state is written.
pub(super) fn write(tree: &Tree, saved: Option<&State>, state: &State) -> Result<(), HypervisorError> {
    let mut batch = Batch::default();
    if saved.is_none_or(|saved| saved.host != state.host) {
        batch.insert(HOST_KEY, bytes(&state.host)?);
    }
    for (name, domain) in &state.domains {
        if saved.and_then(|saved| saved.domains.get(name)) != Some(domain) {
            batch.insert(format!("{DOMAIN_PREFIX}{name}").into_bytes(), bytes(domain)?);
        }
    }
    for key in tree.scan_prefix(DOMAIN_PREFIX).keys() {
        let key = key.map_err(|error| writing(&error))?;
        if !name_of(&key).is_some_and(|name| state.domains.contains_key(name)) {
            batch.remove(key);
        }
    }
    tree.apply_batch(batch).map_err(|error| writing(&error))?;
    tree.flush().map_err(|error| writing(&error))?;
    Ok(())
}

fn name_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key).ok()?.strip_prefix(DOMAIN_PREFIX)
}

fn bytes<T: Serialize>(value: &T) -> Result<Vec<u8>, HypervisorError> {
    serde_json::to_vec(&Versioned { version: VERSION, value }).map_err(|error| writing(&error))
}

fn parse<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, HypervisorError> {
    let VersionOnly { version } =
        serde_json::from_slice(bytes).map_err(|error| reading(&format!("`{key}` is damaged: {error}")))?;
    if version != VERSION {
        let reason =
            format!("`{key}` has version {version}, and this program reads version {VERSION}; use a newer one");
        return Err(reading(&reason));
    }
    let read: Read<T> =
        serde_json::from_slice(bytes).map_err(|error| reading(&format!("`{key}` is damaged: {error}")))?;
    Ok(read.value)
}

fn reading(error: &dyn std::fmt::Display) -> HypervisorError {
    HypervisorError::Failed { operation: "reading the simulated host".into(), reason: error.to_string() }
}

fn writing(error: &dyn std::fmt::Display) -> HypervisorError {
    HypervisorError::Failed { operation: "writing the simulated host".into(), reason: error.to_string() }
}
