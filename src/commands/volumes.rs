//! `tycoon volumes`: the disks of domains, and those that are kept of domains that were removed.

use clap::{Args, Subcommand};
use serde_json::json;
use tycoon_executor::volumes::{AllKept, KeptThere, VolumeRow, Volumes, kept, volumes};
use tycoon_market::resource::show_bytes;
use tycoon_planner::world::History;

use crate::commands::down::pool_name;
use crate::domains::DomainName;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;
use crate::time::local;

/// Arguments of `tycoon volumes`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct VolumesArgs {
    /// The pool, by its name or by its description; all your pools where none is given
    #[arg(value_name = "POOL|FILE")]
    pool: Option<String>,
    /// What to do with them; without it they are listed
    #[command(subcommand)]
    command: Option<VolumesCommand>,
}

/// What to do with volumes.
#[derive(Subcommand, Debug)]
pub enum VolumesCommand {
    /// Remove what hosts have kept of a pool, or of one of its domains, after it was taken down
    Remove(RemoveArgs),
}

/// Arguments of `tycoon volumes remove`.
#[derive(Args, Debug)]
pub struct RemoveArgs {
    /// The pool, or one domain such as `hello/web.0`
    #[arg(value_name = "POOL[/DOMAIN]")]
    of: DomainName,
    /// Do not ask before they are deleted
    #[arg(long, short)]
    yes: bool,
}

/// Lists volumes, or removes what is kept.
pub fn run(arguments: &VolumesArgs, output: &Output) -> Result<Exit, Failure> {
    match &arguments.command {
        Some(VolumesCommand::Remove(remove)) => run_remove(remove, output),
        None => list(arguments.pool.as_deref(), output),
    }
}

fn list(pool: Option<&str>, output: &Output) -> Result<Exit, Failure> {
    let pool = pool.map(|text| pool_name(text, output)).transpose()?;
    let session = Session::open(output, "tycoon volumes")?;
    let history = pool.as_ref().map_or_else(History::default, |pool| session.history(pool, output));
    let found = volumes(&*session.site(), pool.as_ref(), &history);
    let Volumes { found, unknown } = found.map_err(|error| Failure::from_executor(error, None))?;
    session.close()?;
    for (host, why) in &unknown {
        output.message(&format!("{host} {why}; its volumes are not shown"));
    }
    if output.json {
        output.print_json(&found.iter().map(to_json).collect::<Vec<_>>());
    } else if found.is_empty() {
        output.print("There are no volumes.\n");
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(cells).collect();
        output.print(&table(&["DOMAIN", "VOLUME", "SIZE", "HOST", "STATE"], &rows, &[2], output.stdout));
    }
    Ok(Exit::Ok)
}

fn cells(row: &VolumeRow) -> Vec<String> {
    let state = row.kept_until.map_or("in use".to_owned(), |until| format!("kept until {}", local(until)));
    vec![format!("{}/{}", row.pool, row.domain), row.volume.clone(), show_bytes(row.bytes), row.host.to_string(), state]
}

fn to_json(row: &VolumeRow) -> serde_json::Value {
    json!({
        "pool": row.pool, "domain": row.domain, "volume": row.volume, "bytes": row.bytes, "host": row.host,
        "kept_until_unix_us": row.kept_until.map(|until| until.micros()),
    })
}

fn run_remove(arguments: &RemoveArgs, output: &Output) -> Result<Exit, Failure> {
    let DomainName { pool, path } = &arguments.of;
    let session = Session::open(output, &format!("tycoon volumes remove {pool}"))?;
    let found = kept(&*session.site(), pool, path.as_ref(), &session.history(pool, output));
    let AllKept { found, unknown } = found.map_err(|error| Failure::from_executor(error, None))?;
    if !found.is_empty() && !arguments.yes && output.can_ask {
        found.iter().for_each(|kept| output.error(&format!("{}\n", line(kept))));
        if !output.confirm_until("Delete these volumes?", || session.is_interrupted()) {
            return Err(crate::commands::up::not_approved(&session));
        }
    }
    let removed = session.runner(output).remove_kept(pool, &found);
    session.close()?;
    let removed = removed.map_err(|error| Failure::from_executor(error, None))?;
    for (host, why) in &unknown {
        output.message(&format!("{host} {why}; what it keeps is left as it is"));
    }
    for removal in &removed {
        if let Err(error) = &removal.outcome {
            output.error(&format!(
                "{}: {} on {}: {error}\n",
                output.stderr.red("failed"),
                removal.domain,
                removal.host
            ));
        }
    }
    let gone = || removed.iter().filter(|removal| removal.outcome.is_ok());
    if output.json {
        let value = |removal: &tycoon_executor::volumes::Removal| json!({ "domain": removal.domain, "host": removal.host, "volumes": removal.volumes });
        output.print_json(&json!({ "pool": pool, "removed": gone().map(value).collect::<Vec<_>>() }));
    } else if removed.is_empty() {
        output.print(&format!("Nothing is kept of {}.\n", name(&arguments.of)));
    } else {
        for removal in gone() {
            output.print(&format!(
                "{pool}/{} on {}: {} removed\n",
                removal.domain,
                removal.host,
                removal.volumes.join(", ")
            ));
        }
    }
    Ok(match (removed.len() - gone().count(), gone().count()) {
        (0, _) if unknown.is_empty() => Exit::Ok,
        (_, 0) if !removed.is_empty() => Exit::Failed,
        _ => Exit::Partly,
    })
}

fn name(of: &DomainName) -> String {
    of.path.as_ref().map_or_else(|| of.pool.to_string(), |path| format!("{}/{path}", of.pool))
}

fn line(kept: &KeptThere) -> String {
    let volumes: Vec<String> =
        kept.volumes.iter().map(|(name, bytes)| format!("{name} ({})", show_bytes(*bytes))).collect();
    format!("  {} on {}: {}", kept.domain, kept.host(), volumes.join(", "))
}
