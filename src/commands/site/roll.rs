//! The operator's folder, and what is done with the roll.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use tycoon_market::{HostId, PublicKey, Timestamp};
use tycoon_rpc::{SecretKey, Signer as _, key_file};
use tycoon_sls::client::SeenHost;
use tycoon_sls::roll::{Admission, ROLL_BYTES_MAX, Roll, SignedRoll};
use tycoon_sls::{HostQuery, SlsClient};

use crate::commands::sls::access::{self, Access, SlsChoice, one_line, warn};
use crate::commands::sls::list::standing;
use crate::commands::sls::show;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders::{self, Folders};
use crate::identity::load_key;
use crate::output::{Output, table};
use crate::site::directory::Place;
use crate::site::world::Surroundings;
use crate::time;

/// Where an operator keeps the site's key and its roll.
pub struct SiteFolder(PathBuf);

impl SiteFolder {
    /// The folder that was named, or the usual one.
    pub fn of(named: Option<&Path>) -> Result<Self, Failure> {
        match named {
            Some(folder) => Ok(Self(folder.to_owned())),
            None => Ok(Self(Folders::find("remote")?.config.join("site"))),
        }
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("site_key")
    }

    fn roll_file(&self) -> PathBuf {
        self.0.join("roll.json")
    }

    /// Whether the site's key is here.
    pub fn has_key(&self) -> bool {
        self.key_file().exists()
    }

    fn key(&self, output: &Output) -> Result<SecretKey, Failure> {
        if !self.has_key() {
            return Err(Failure::new(Exit::Failed, format!("there is no key of a site in {}", self.0.display()))
                .help("`tycoon site init` makes one; where the site has one, say where with --folder"));
        }
        load_key(&self.key_file(), output)
    }

    /// The roll that was signed here last.
    fn roll(&self, site: &PublicKey) -> Result<Option<Roll>, Failure> {
        let path = self.roll_file();
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read_text("the roll", &path, ROLL_BYTES_MAX as u64 * 2)?;
        let damaged = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Failed, format!("{} is damaged: {error}", path.display()))
                .help("move it away: the services have the roll that was published last")
        };
        let signed: SignedRoll = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        signed.verify_of(site).map(Some).map_err(|error| damaged(&error))
    }

    fn write(&self, signed: &SignedRoll) -> Result<(), Failure> {
        let text = serde_json::to_vec(signed).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        files::write(&self.roll_file(), &text, 0o600)
    }
}

/// Makes the key of a site.
pub fn init(folder: &SiteFolder, output: &Output) -> Result<Exit, Failure> {
    folders::make(&folder.0)?;
    let key = key_file::load_or_create(&folder.key_file(), "tycoon site");
    let key = key.map_err(|error| Failure::from_error(Exit::Failed, &error))?.public_key();
    if output.json {
        output.print_json(&json!({ "site_key": key, "file": folder.key_file() }));
        return Ok(Exit::Ok);
    }
    output.print(&format!("{key}\n"));
    output.message(&format!(
        "the key is {}; keep a copy of it where nobody else reads it\n\
         services keep the site's roll with  tycoon sls serve --site-key '{key}'\n\
         users trust it with                 tycoon init --site-key '{key}'",
        folder.key_file().display()
    ));
    Ok(Exit::Ok)
}

/// Arguments of `tycoon site admit`.
#[derive(Args, Debug)]
pub struct AdmitArgs {
    /// The hosts, by name or id
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<String>,
}

/// Arguments of `tycoon site revoke`.
#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The hosts, by name or id
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<String>,
}

/// A site whose roll is worked on.
struct Desk<'a> {
    folder: &'a SiteFolder,
    key: SecretKey,
    client: SlsClient,
    access: Access,
    roll: Roll,
}

impl<'a> Desk<'a> {
    /// The newest roll, be it the services' or the one here.
    fn open(folder: &'a SiteFolder, choice: &SlsChoice, command: &str, output: &Output) -> Result<Self, Failure> {
        let key = folder.key(output)?;
        let site = key.public_key();
        let access = choice.open(output, command)?;
        let Access::Remote { client, .. } = &access else {
            return Err(Failure::new(Exit::Usage, "the roll of a site is published to services on the network")
                .help("name them with --sls URL, or pin them with `tycoon init --sls URL`"));
        };
        let client = client.clone();
        let found = client.roll(&site).map_err(|problem| access::failed(&problem))?;
        warn(&found.problems, output);
        let published = found.newest.map(|(roll, _)| roll);
        let newest = [published, folder.roll(&site)?].into_iter().flatten().max_by_key(|roll| roll.sequence);
        let empty = Roll { site, sequence: 0, issued_at: Timestamp::from_seconds(0), hosts: BTreeMap::new() };
        Ok(Self { folder, key, client, access, roll: newest.unwrap_or(empty) })
    }

    /// Signs the roll anew, keeps it here, and publishes it.
    fn publish(mut self, output: &Output) -> Result<Exit, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
        self.roll.sequence += 1;
        self.roll.issued_at = Surroundings::find()?.clock.now();
        let signed = SignedRoll::sign(&self.roll, &self.key).map_err(|error| failed(&error))?;
        self.folder.write(&signed)?;
        let names: Vec<String> = self.client.names().map(str::to_owned).collect();
        let mut published = 0;
        for (name, answer) in names.iter().zip(self.client.publish(&signed)) {
            match answer {
                Ok(_) => published += 1,
                Err(problem) => {
                    output.error(&format!("warning: not published to {name}: {}\n", one_line(&problem.source)));
                }
            }
        }
        if published == 0 {
            return Err(Failure::new(Exit::Failed, "the roll is signed, and no service has it").help(
                "a service keeps it where it is served with --site-key; `tycoon site publish` publishes it again",
            ));
        }
        let (hosts, sequence) = (self.roll.hosts.len(), self.roll.sequence);
        output.message(&format!(
            "roll {sequence} with {hosts} hosts is published to {published} of {} services",
            names.len()
        ));
        Ok(if published == names.len() { Exit::Ok } else { Exit::Partly })
    }
}

/// The hosts that are admitted.
pub fn admitted(folder: &SiteFolder, choice: &SlsChoice, output: &Output) -> Result<BTreeSet<HostId>, Failure> {
    Ok(Desk::open(folder, choice, "tycoon site admit", output)?.roll.hosts.into_keys().collect())
}

/// Admits hosts.
pub fn admit(arguments: &AdmitArgs, folder: &SiteFolder, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let mut desk = Desk::open(folder, choice, "tycoon site admit", output)?;
    let now = Surroundings::find()?.clock.now();
    for wanted in &arguments.hosts {
        let host = show::find(&desk.access, wanted, output)?;
        let record = host.record();
        output.message(&format!(
            "{}  id {}  key {}  {}",
            record.name,
            record.host,
            record.key.fingerprint(),
            standing(&host)
        ));
        desk.roll.hosts.insert(record.host, Admission { name: record.name.clone(), admitted_at: now });
    }
    desk.publish(output)
}

/// Revokes admissions.
pub fn revoke(
    arguments: &RevokeArgs,
    folder: &SiteFolder,
    choice: &SlsChoice,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut desk = Desk::open(folder, choice, "tycoon site revoke", output)?;
    for wanted in &arguments.hosts {
        let id: Option<HostId> = wanted.parse().ok();
        let before = desk.roll.hosts.len();
        desk.roll.hosts.retain(|host, admission| Some(*host) != id && admission.name.as_str() != wanted);
        if desk.roll.hosts.len() == before {
            return Err(Failure::new(
                Exit::Failed,
                format!("the host `{wanted}` is not admitted; nothing was changed"),
            )
            .help("`tycoon site list` shows those that are"));
        }
    }
    desk.publish(output)
}

/// Publishes the roll again.
pub fn publish(folder: &SiteFolder, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    Desk::open(folder, choice, "tycoon site publish", output)?.publish(output)
}

/// Lists who is admitted and who is not.
pub fn list(folder: &SiteFolder, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let desk = Desk::open(folder, choice, "tycoon site list", output)?;
    let registered = desk.access.hosts(&HostQuery::default(), None, output)?;
    let by_id: BTreeMap<HostId, &SeenHost> = registered.iter().map(|seen| (seen.record().host, seen)).collect();
    let mut rows = Vec::new();
    let mut values = Vec::new();
    let mut say = |name: &str, id: &HostId, admitted: Option<&Admission>, seen: Option<&SeenHost>| {
        let place = match seen {
            Some(seen) => Place::of(seen, &desk.roll),
            None => Place::Silent,
        };
        rows.push(vec![
            name.to_owned(),
            id.short(),
            admitted.map_or("–".to_owned(), |admission| time::local(admission.admitted_at)),
            seen.map_or("not registered".to_owned(), standing),
            place.to_string(),
        ]);
        values.push(json!({
            "name": name, "host": id, "admitted_at": admitted.map(|admission| admission.admitted_at),
            "is_registered": seen.is_some(), "is_planned": place == Place::Planned, "why": place.to_string(),
        }));
    };
    for (id, admission) in &desk.roll.hosts {
        say(admission.name.as_str(), id, Some(admission), by_id.get(id).copied());
    }
    for seen in registered.iter().filter(|seen| !desk.roll.hosts.contains_key(&seen.record().host)) {
        say(seen.record().name.as_str(), &seen.record().host, None, Some(seen));
    }
    if output.json {
        output.print_json(&values);
    } else {
        output.print(&table(&["HOST", "ID", "ADMITTED", "STANDING", "PLANNED"], &rows, &[], output.stdout));
    }
    Ok(Exit::Ok)
}
