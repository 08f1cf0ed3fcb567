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
/// `files`. Assertions that do not hold are `errors` beside it, and told by the exit code.
pub fn run(arguments: &ResolveArgs, output: &Output) -> Result<Exit, Failure> {
    let (loaded, broken) = description::inspect(&arguments.description, output)?;
    let files: Vec<&str> = loaded.sources.iter().map(|(_, source)| &*source.name).collect();
    let mut value = json!({ "pool": loaded.pool.name, "files": files, "tree": loaded.tree });
    description::add_broken(&mut value, &loaded.sources, &broken);
    output.print_json(&value);
    Ok(description::exit_of(&broken))
}
