//! The `tycoon` program: what a person types and sees. Everything it does is done by the other rooms.

mod cli;
mod commands;
mod description;
mod domains;
mod exit;
mod failure;
mod files;
mod folders;
mod identity;
mod lsp;
mod machine;
mod output;
mod outputs_view;
mod parties;
mod plan_view;
mod progress;
mod saved_view;
mod service;
mod site;
mod status_view;
mod time;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::output::{Output, Style};

/// A service makes and drops many small values on many threads. The C library's allocator keeps what each thread once used;
/// with this one a host of a thousand accounts answers in half the time, in a third of the memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How the allocator is to be sparing; it reads this when the process starts. Usually it has four arenas for every core, and
/// each keeps what was freed in it until somebody works there again: a host that sixteen clients have called kept what they
/// had used between them for ever, because its ticks, of which there is one each second, use one arena only. With two arenas
/// two threads still need not wait for each other, and what is freed goes back to the system within seconds, for which
/// a thread sees to it: else that would wait until somebody allocates there again. What a tick needs stays for the next.
#[expect(unsafe_code, reason = "the name by which the allocator finds it is its own, and nobody else's")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static ALLOCATOR_SETTINGS: &[u8; 112] =
    b"narenas:2,dirty_decay_ms:2000,muzzy_decay_ms:0,lg_tcache_max:10,background_thread:true,max_background_threads:1\0";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(answer) => return show(&answer),
    };
    let output = Output::new(&cli.global);
    let exit = match commands::run(&cli.command, &output) {
        Ok(exit) => exit,
        Err(failure) => {
            if output.json {
                output.print_json(&failure.json());
            } else {
                output.error(&failure.render(output.stderr));
            }
            failure.exit
        }
    };
    output.end(exit).into()
}

/// Shows the help or the version that was asked for, or what is wrong with the command line.
fn show(answer: &clap::Error) -> ExitCode {
    match answer.print() {
        Err(error) if !answer.use_stderr() && error.kind() != ErrorKind::BrokenPipe => {
            eprint!("{}", output::unwritten(&error).render(Style { color: false, width: output::WIDTH_OFF_TERMINAL }));
            Exit::Failed.into()
        }
        _ => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(1)),
    }
}
