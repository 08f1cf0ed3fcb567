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

/// Checks a description.
pub fn run(arguments: &CheckArgs, output: &Output) -> Result<Exit, Failure> {
    let loaded = description::load(&arguments.description, output)?;
    let count = loaded.pool.domains.len();
    if output.json {
        output.print_json(&json!({
            "ok": true,
            "pool": loaded.pool.name,
            "domains": count,
            "warnings": diagnostics_json(&loaded.sources, &loaded.warnings),
        }));
    } else {
        let domains = if count == 1 { "1 domain".to_owned() } else { format!("{count} domains") };
        output.print(&format!("{}: pool {} with {domains}, no errors\n", arguments.description.file, loaded.pool.name));
    }
    Ok(Exit::Ok)
}
