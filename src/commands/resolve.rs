//! `tycoon resolve`: the description with everything worked out, as data.

use clap::Args;
use serde_json::json;

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon resolve`.
#[derive(Args, Debug)]
pub struct ResolveArgs {
    #[command(flatten)]
    description: DescriptionArgs,
}

/// Prints the resolved tree, always as JSON: every value with its type and the place it comes from, as bytes of one of
/// `files`.
pub fn run(arguments: &ResolveArgs, output: &Output) -> Result<Exit, Failure> {
    let loaded = description::load(&arguments.description, output)?;
    let files: Vec<&str> = loaded.sources.iter().map(|(_, source)| &*source.name).collect();
    output.print_json(&json!({ "pool": loaded.pool.name, "files": files, "tree": loaded.tree }));
    Ok(Exit::Ok)
}
