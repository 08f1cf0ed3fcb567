//! `tycoon fmt`: one way to write a description.

use std::io::{self, Write as _};
use std::path::Path;

use clap::Args;
use serde_json::json;
use tycoon_lang::Options;
use tycoon_lang::syntax::format::format;

use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXIT_CODES: &str = "\
Exit codes:
  0 every file is formatted, or is now · 1 a file cannot be read or written, or is not KDL
  3 with --check: a file is not formatted";

/// Arguments of `tycoon fmt`.
#[derive(Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub struct FmtArgs {
    /// The files to format
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Change nothing; name the files that are not formatted, and exit with 3 if there is one
    #[arg(long)]
    check: bool,
}

/// Formats files; each is written whole or not at all.
pub fn run(arguments: &FmtArgs, output: &Output) -> Result<Exit, Failure> {
    let options = Options::default();
    let mut changed = Vec::new();
    for file in &arguments.files {
        let text = description::read_text(file, &options)?;
        let formatted = format(file, &text, &options).map_err(|(sources, diagnostic)| {
            Failure::description(tycoon_lang::Failure { sources, diagnostics: vec![*diagnostic] })
        })?;
        if formatted == text {
            continue;
        }
        changed.push(file.as_str());
        if !arguments.check {
            replace(Path::new(file), formatted.as_bytes()).map_err(|error| {
                Failure::from_error(Exit::Failed, &error).context(&format!("{file} cannot be written"))
            })?;
        }
    }
    if output.json {
        output.print_json(&json!({ "changed": changed, "written": !arguments.check }));
    } else {
        for file in &changed {
            output.print(&format!("{file}: {}\n", if arguments.check { "is not formatted" } else { "formatted" }));
        }
    }
    Ok(if arguments.check && !changed.is_empty() { Exit::ChangesPending } else { Exit::Ok })
}

/// Puts new content in the place of a file, with its permissions, all at once.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // Through a link, so that the link stays and its target changes.
    let path = path.canonicalize()?;
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = tempfile::Builder::new().prefix(".tycoon-fmt-").tempfile_in(folder)?;
    temporary.write_all(content)?;
    temporary.as_file().set_permissions(std::fs::metadata(&path)?.permissions())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
