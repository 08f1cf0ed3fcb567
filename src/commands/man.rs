//! `tycoon man`: manual pages, made of the same words as the help.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The command, as in `tycoon man bank transfer`; the program itself where none is given
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write the pages of all commands into this folder instead: tycoon.1, tycoon-up.1, …
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    all: Option<PathBuf>,
}

/// Prints a page, or writes all of them.
pub fn run(arguments: &ManArgs, output: &Output) -> Result<Exit, Failure> {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = &arguments.all {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Failed, format!("the pages cannot be written into {}: {error}", folder.display()))
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        for command in with_subcommands(&program) {
            let name = format!("{}.1", page_name(command));
            std::fs::write(folder.join(name), page(command).map_err(failed)?).map_err(failed)?;
        }
        return Ok(Exit::Ok);
    }
    let mut command = &program;
    for word in &arguments.command {
        command = command.find_subcommand(word).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
            let path = page_name(command).replace('-', " ");
            let failure = Failure::new(Exit::Usage, format!("there is no command `{path} {word}`"));
            match known.is_empty() {
                true => failure.help(format!("`{path}` has no commands of its own")),
                false => failure.help(format!("the commands of `{path}` are: {}", known.join(", "))),
            }
        })?;
    }
    let text = page(command).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    output.print(&String::from_utf8_lossy(&text));
    Ok(Exit::Ok)
}

/// A command and all below it but `help`, which repeats them.
fn with_subcommands(command: &Command) -> Vec<&Command> {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set());
    std::iter::once(command).chain(below.flat_map(with_subcommands)).collect()
}

/// `tycoon-bank-transfer`.
fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).replace(' ', "-")
}

fn page(command: &Command) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(command.clone())
        .title(page_name(command).to_uppercase())
        .source(concat!("Tycoon ", env!("CARGO_PKG_VERSION")))
        .manual("Tycoon")
        .render(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_options() {
        let mut program = Cli::command();
        program.build();
        let all = with_subcommands(&program);
        let names: Vec<String> = all.iter().map(|command| page_name(command)).collect();
        for name in ["tycoon", "tycoon-up", "tycoon-bank-transfer", "tycoon-host-serve"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "no page is written twice");
        for command in all {
            let text = String::from_utf8(page(command).unwrap()).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{text}");
        }
    }
}
