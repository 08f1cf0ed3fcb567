//! `tycoon ls`: a line per pool.

use clap::Args;
use tycoon_executor::status::all_pools;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::status_view;

/// Arguments of `tycoon ls`.
#[derive(Args, Debug)]
pub struct LsArgs {}

/// Lists the pools.
pub fn run(_arguments: &LsArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon ls")?;
    let pools = all_pools(&*session.site()).map_err(|error| Failure::from_executor(error, None))?;
    session.close()?;
    if output.json {
        output.print_json(&pools.iter().map(status_view::to_json).collect::<Vec<_>>());
    } else if pools.is_empty() {
        output.print("You have no pools. `tycoon up FILE` brings one up.\n");
    } else {
        output.print(&status_view::render_list(&pools, output.stdout));
        if pools.iter().any(|pool| pool.is_simulated) {
            output.print(&output.stdout.dim("Their hosts are simulated: no real machine was started.\n"));
        }
    }
    Ok(Exit::Ok)
}
