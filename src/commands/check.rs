//! `tycoon check`: is the description right?

use clap::Args;
use serde_json::json;

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::{Failure, diagnostics_json};
use crate::output::Output;

/// Arguments of `tycoon check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    description: DescriptionArgs,
}

/// Checks a description, be it a pool or a library.
pub fn run(arguments: &CheckArgs, output: &Output) -> Result<Exit, Failure> {
    let file = &arguments.description.file;
    let checked = description::check(&arguments.description, output)?;
    let warnings = diagnostics_json(&checked.sources, &checked.warnings);
    // A file with one pool is resolved to its last value; a library and a file of several pools are only checked.
    let pool = match (&arguments.description.pool, checked.pools.as_slice()) {
        (Some(_), _) | (None, [_]) => Some(description::load(&arguments.description, &output.silent())?.pool),
        _ => None,
    };
    if output.json {
        output.print_json(&json!({
            "ok": true,
            "pools": checked.pools,
            "domains": pool.as_ref().map(|pool| pool.domains.len()),
            "warnings": warnings,
        }));
        return Ok(Exit::Ok);
    }
    let what = match (&pool, checked.pools.as_slice()) {
        (Some(pool), _) if pool.domains.len() == 1 => format!("pool {} with 1 domain", pool.name),
        (Some(pool), _) => format!("pool {} with {} domains", pool.name, pool.domains.len()),
        (None, []) if checked.others.is_empty() => "a library without pools".to_owned(),
        (None, []) => {
            let others: Vec<String> = checked.others.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            others.join(", ")
        }
        (None, pools) => format!("pools {}", pools.join(", ")),
    };
    output.print(&format!("{file}: {what}, no errors\n"));
    Ok(Exit::Ok)
}
