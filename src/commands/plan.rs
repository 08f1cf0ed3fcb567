//! `tycoon plan`: what would `up` do?

use clap::Args;

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::plan_view;
use crate::site::Session;

/// Arguments of `tycoon plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    description: DescriptionArgs,
    /// Exit with 3 where there is something to do, with 0 where there is nothing
    #[arg(long)]
    exit_code: bool,
}

/// Shows a plan.
pub fn run(arguments: &PlanArgs, output: &Output) -> Result<Exit, Failure> {
    let loaded = description::load(&arguments.description, output)?;
    let session = Session::open(output, &format!("tycoon plan {}", arguments.description.file))?;
    let plan = session
        .runner(output)
        .plan(&loaded.pool)
        .map_err(|error| Failure::from_executor(error, Some(&loaded.sources)))?;
    if output.json {
        output.print_json(&plan);
    } else {
        output.print(&plan_view::render(&plan, output.stdout));
    }
    Ok(if arguments.exit_code && !plan.is_empty() { Exit::ChangesPending } else { Exit::Ok })
}
