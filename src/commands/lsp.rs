//! `tycoon lsp`: descriptions in an editor.

use std::io;

use clap::Args;

use crate::cli::ReadingArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lsp::server;

/// Arguments of `tycoon lsp`.
#[derive(Args, Debug)]
pub struct LspArgs {
    /// How descriptions are read
    #[command(flatten)]
    reading: ReadingArgs,
    /// Talk over standard input and output, which is the only way there is
    #[arg(long)]
    stdio: bool,
}

/// Answers an editor until it ends the conversation.
pub fn run(arguments: &LspArgs) -> Result<Exit, Failure> {
    let options = description::options(&arguments.reading, None)?;
    let orderly = server::serve(io::stdin(), io::stdout().lock(), &options).map_err(|error| {
        Failure::from_error(Exit::Failed, &error)
            .context("the conversation with the editor broke off")
            .help("`tycoon lsp` is started by an editor, not by hand; docs/editor.md says how")
    })?;
    Ok(if orderly { Exit::Ok } else { Exit::Failed })
}
