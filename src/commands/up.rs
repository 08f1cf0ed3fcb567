//! `tycoon up`: make a pool real.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;
use tycoon_executor::journal::Outcome;
use tycoon_executor::run::Run;
use tycoon_executor::status::{PoolStatus, pool_status};
use tycoon_lang::pool::Pool;
use tycoon_market::Credits;
use tycoon_planner::Plan;
use tycoon_planner::plan::Action;

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::{outputs_view, plan_view, saved_view, status_view};

/// Plans that put more than this in escrow are only carried out after a question, where somebody can answer it.
const ASK_ABOVE: Option<Credits> = Credits::from_whole(100);

/// Arguments of `tycoon up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    #[command(flatten)]
    description: DescriptionArgs,
    /// Do not ask before disks are deleted or much is spent
    #[arg(long, short)]
    yes: bool,
}

/// Makes a pool real.
pub fn run(arguments: &UpArgs, output: &Output) -> Result<Exit, Failure> {
    let loaded = description::load(&arguments.description, output)?;
    let session = Session::open(output, &format!("tycoon up {}", arguments.description.file))?;
    let mut approve = |plan: &Plan| {
        if !plan.is_empty() {
            output.message(plan_view::headline(plan, output.stderr).trim_end());
            if !plan.report.notes.is_empty() {
                output.message(plan_view::notes(plan, output.stderr).trim_end());
            }
        }
        arguments.yes || approved(plan, &session, output)
    };
    let run = session
        .runner(output)
        .up(&loaded.pool, &mut approve)
        .map_err(|error| Failure::from_executor(error, Some(&loaded.sources)))?;
    let Some(run) = run else {
        return Err(not_approved(&session));
    };
    let status = pool_status(&*session.site(), &loaded.pool.name, &session.history(&loaded.pool.name, output))
        .map_err(|error| Failure::from_executor(error, Some(&loaded.sources)))?;
    session.close()?;
    let exit = exit_of(&run);
    if output.json {
        let mut value = to_json(&run, &status, exit);
        value["outputs"] = outputs_view::to_json(&loaded.pool, &status);
        output.print_json(&value);
    } else {
        output.print(&saved_view::lines(&run.saved));
        output.print(&render(&run, &loaded.pool, &status, output));
        output.error(&plan_view::failures(&run.plan, &run.report, output.stderr));
        explain_exit(&run, exit, output);
    }
    Ok(exit)
}

/// Asks where something would be destroyed or much would be spent, and somebody is there to answer.
fn approved(plan: &Plan, session: &Session, output: &Output) -> bool {
    let is_dear = ASK_ABOVE.is_some_and(|limit| plan.money.escrow > limit);
    if !output.can_ask || !(plan.destroys() || is_dear) {
        return true;
    }
    output.error(&plan_view::render(plan, output.stderr));
    output.confirm_until("Carry this out?", || session.is_interrupted())
}

/// The end of a run that nobody wanted.
pub fn not_approved(session: &Session) -> Failure {
    let exit = if session.is_interrupted() { Exit::Interrupted } else { Exit::Failed };
    Failure::new(exit, "not approved; nothing was done")
}

/// How a run ended.
pub fn exit_of(run: &Run) -> Exit {
    if run.report.was_stopped {
        return Exit::Interrupted;
    }
    if run.report.succeeded() {
        return if run.plan.report.unreached.is_empty() { Exit::Ok } else { Exit::Partly };
    }
    let did_something =
        run.report.outcomes.iter().flatten().any(|outcome| matches!(outcome, Outcome::Done { changed: true }));
    if did_something { Exit::Partly } else { Exit::Failed }
}

fn explain_exit(run: &Run, exit: Exit, output: &Output) {
    let pool = &run.plan.pool;
    match exit {
        Exit::Interrupted => output.message("interrupted: what had begun was finished; run `tycoon up` again to go on"),
        Exit::Partly | Exit::Failed => output.message(&format!(
            "not everything was done; nothing that was paid is lost. Run `tycoon up` again to go on, or `{}` to undo it",
            output.command(&format!("down {pool}"))
        )),
        _ => {}
    }
}

fn render(run: &Run, pool: &Pool, status: &PoolStatus, output: &Output) -> String {
    let style = output.stdout;
    let mut text = String::new();
    if status.is_absent() && status.unknown.is_empty() && !run.plan.is_empty() {
        return format!("Nothing is there of pool {}. Balance {}.\n", run.plan.pool, run.balance.rounded(2));
    }
    if run.plan.is_empty() {
        text.push_str(&plan_view::headline(&run.plan, style));
    }
    text.push_str(&status_view::domain_table(status, style));
    let outputs = outputs_view::render(pool, status, style);
    if !outputs.is_empty() {
        text.push_str(&outputs);
        text.push('\n');
    }
    if status.is_simulated {
        text.push_str(&style.dim("These hosts are simulated: no real machine was started.\n"));
    }
    if run.plan.is_empty() {
        let _ = writeln!(text, "Nothing was paid. Balance {}.", run.balance.rounded(2));
    } else {
        let (paid, back) = moved(run);
        if !paid.is_zero() {
            let duration = run.plan.period.map_or_else(String::new, |period| format!(" for {}", period.duration));
            let _ = write!(text, "Paid {} credits into escrow{duration}. ", paid.rounded(2));
        }
        if !back.is_zero() {
            let _ = write!(text, "About {} credits came back. ", back.rounded(2));
        }
        let rate = status.rate().credits_per_hour();
        let _ = writeln!(text, "Costs at most {rate:.4} per hour. Balance {}.", run.balance.rounded(2));
        let down = output.command(&format!("down {}", run.plan.pool));
        let _ = writeln!(text, "`{down}` stops it and returns what is left.");
    }
    text
}

/// What was paid into escrow, and about what came back: by the steps that were done, not by those that were planned.
fn moved(run: &Run) -> (Credits, Credits) {
    let done = run.plan.steps.iter().zip(&run.report.outcomes);
    let done = done.filter(|(_, outcome)| matches!(outcome, Some(Outcome::Done { .. }))).map(|(step, _)| step);
    let (mut paid, mut back) = (Vec::new(), Vec::new());
    for step in done {
        match &step.action {
            Action::OpenEscrow { escrow } => paid.push(escrow.amount),
            Action::Refund { amount, .. } => back.push(*amount),
            Action::CloseAccount => back.extend(run.plan.host(&step.host).map(|host| host.refund)),
            _ => {}
        }
    }
    let sum = |amounts: Vec<Credits>| Credits::checked_sum(amounts).unwrap_or_default();
    (sum(paid), sum(back))
}

fn to_json(run: &Run, status: &PoolStatus, exit: Exit) -> serde_json::Value {
    let mut value = status_view::to_json(status);
    value["changed"] = json!(!run.plan.is_empty());
    value["plan"] = json!(run.plan.id);
    value["generation"] = json!(run.plan.generation);
    value["paid_micro"] = json!(moved(run).0.micros());
    value["balance_micro"] = json!(run.balance.micros());
    value["failures"] = failures_json(run);
    value["unreached_hosts"] = unreached_json(run);
    value["saved"] = json!(run.saved.iter().map(saved_view::to_json).collect::<Vec<_>>());
    value["exit_code"] = json!(exit.code());
    value
}

/// The failed steps as data.
pub fn failures_json(run: &Run) -> serde_json::Value {
    run.report
        .failures(&run.plan)
        .map(|(step, error)| {
            let host = run.plan.host(&step.host).map(|host| host.name.to_string());
            json!({ "host": host, "step": step.action.describe(), "domain": step.action.domain(), "error": error })
        })
        .collect()
}

/// The hosts that may hold something of the pool and could not be asked, as data.
pub fn unreached_json(run: &Run) -> serde_json::Value {
    let hosts = run.plan.report.unreached.iter();
    hosts.map(|host| json!({ "host": host.name, "reason": host.why })).collect()
}
