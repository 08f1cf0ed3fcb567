//! `tycoon down`: undo a pool.

use clap::Args;
use serde_json::json;
use tycoon_executor::run::Run;
use tycoon_executor::status::{KeptRow, pool_status};
use tycoon_lang::Loaded;
use tycoon_market::PoolName;
use tycoon_planner::{Plan, Saving};

use crate::cli::DescriptionArgs;
use crate::commands::up::{exit_of, failures_json, not_approved, unreached_json};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::{description, plan_view, saved_view, status_view};

/// Arguments of `tycoon down`.
#[derive(Args, Debug)]
pub struct DownArgs {
    /// The pool, by its name or by its description
    #[arg(value_name = "POOL|FILE")]
    pool: String,
    /// Do not ask before disks are deleted
    #[arg(long, short)]
    yes: bool,
    /// Save the root disks of domains with `save-image` to this folder instead of their own
    #[arg(long, value_name = "FOLDER")]
    save_to: Option<String>,
    /// Remove domains with `save-image` without saving their root disks
    #[arg(long, conflicts_with = "save_to")]
    no_save: bool,
}

/// Undoes a pool.
pub fn run(arguments: &DownArgs, output: &Output) -> Result<Exit, Failure> {
    let pool = pool_name(&arguments.pool, output)?;
    let session = Session::open(output, &format!("tycoon down {pool}"))?;
    let mut approve = |plan: &Plan| arguments.yes || approved(plan, &session, output);
    let saving = match (&arguments.save_to, arguments.no_save) {
        (Some(folder), _) => Saving::To(absolute(folder)?),
        (None, true) => Saving::Never,
        (None, false) => Saving::AsAsked,
    };
    let run = session.runner(output).down(&pool, &saving, &mut approve);
    let run = run.map_err(|error| Failure::from_executor(error, None))?;
    let kept = match &run {
        Some(_) => kept_now(&pool, &session, output),
        None => Vec::new(),
    };
    session.close()?;
    let Some(run) = run else { return Err(not_approved(&session)) };
    if run.plan.is_empty() && run.is_unknown && kept.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("there has never been a pool `{pool}`"))
            .help("`tycoon ls` lists your pools; nothing was done"));
    }
    let exit = exit_of(&run);
    if output.json {
        output.print_json(&json!({
            "pool": pool,
            "changed": !run.plan.is_empty(),
            "removed": run.plan.domains.iter().map(|domain| &domain.path).collect::<Vec<_>>(),
            "kept": status_view::kept_json(&kept),
            "saved": run.saved.iter().map(saved_view::to_json).collect::<Vec<_>>(),
            "cost_micro": run.charged.micros(),
            "balance_micro": run.balance.micros(),
            "failures": failures_json(&run),
            "unreached_hosts": unreached_json(&run),
            "exit_code": exit.code(),
        }));
    } else {
        output.print(&saved_view::lines(&run.saved));
        output.print(&render(&run));
        if !kept.is_empty() {
            output.print(&status_view::kept_table(&kept, output.stdout));
            let remove = output.command(&format!("volumes remove {pool}"));
            output.print(&format!("`tycoon up` takes them up again; `{remove}` gives them up.\n"));
        }
        output.error(&plan_view::failures(&run.plan, &run.report, output.stderr));
        if matches!(exit, Exit::Partly | Exit::Failed) {
            output.message(&format!("not everything is gone; run `tycoon down {pool}` again to go on"));
        }
    }
    Ok(exit)
}

/// What the hosts that can be asked keep of the pool's volumes.
fn kept_now(pool: &PoolName, session: &Session, output: &Output) -> Vec<KeptRow> {
    // What was done is done, also where nobody can be asked what is left of it.
    pool_status(&*session.site(), pool, &session.history(pool, output)).map(|status| status.kept).unwrap_or_default()
}

/// A pool's name from the command line: the name itself, or that of the pool in a file.
pub fn pool_name(text: &str, output: &Output) -> Result<PoolName, Failure> {
    Ok(pool_of(text, output)?.0)
}

/// The same, with the description where it was a file.
pub fn pool_of(text: &str, output: &Output) -> Result<(PoolName, Option<Loaded>), Failure> {
    if text.ends_with(".kdl") || text.contains('/') {
        let arguments = DescriptionArgs { file: text.to_owned(), ..DescriptionArgs::default() };
        let loaded = description::load(&arguments, output)?;
        return Ok((loaded.pool.name.clone(), Some(loaded)));
    }
    Ok((text.parse().map_err(|error| Failure::from_error(Exit::Usage, &error))?, None))
}

/// A folder of the command line, from the root on: the plan says where everything goes.
fn absolute(folder: &str) -> Result<String, Failure> {
    let wrong = |error: String| Failure::new(Exit::Usage, format!("`{folder}` is no folder to save to: {error}"));
    let path = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
    path.into_os_string().into_string().map_err(|_| wrong("its whole path is no text".to_owned()))
}

fn approved(plan: &Plan, session: &Session, output: &Output) -> bool {
    if !output.can_ask || !plan.destroys() {
        return true;
    }
    output.error(&plan_view::render(plan, output.stderr));
    output.confirm_until("Remove these domains and their disks?", || session.is_interrupted())
}

fn render(run: &Run) -> String {
    let pool = &run.plan.pool;
    if run.plan.is_empty() {
        let left = if run.plan.report.unreached.is_empty() {
            "nothing is left of it"
        } else {
            "nothing is left of it on the hosts that can be asked"
        };
        return format!("Pool {pool}: {left}. Balance {}.\n", run.balance.rounded(2));
    }
    let count = run.plan.domains.len();
    let domains = if count == 1 { "1 domain".to_owned() } else { format!("{count} domains") };
    let verb = if run.report.succeeded() { "removed" } else { "to be removed" };
    let is_all_back = run.report.succeeded() && run.plan.report.unreached.is_empty();
    let rest = if is_all_back { "the rest is back" } else { "not all of the rest is back yet" };
    format!(
        "Pool {pool}: {domains} {verb}. It cost {} credits; {rest}. Balance {}.\n",
        run.charged.rounded(4),
        run.balance.rounded(2)
    )
}
