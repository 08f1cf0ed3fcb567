//! `tycoon status`: what runs, and what does it cost?

use clap::Args;
use tycoon_executor::status::{all_pools, pool_status};

use crate::commands::down::pool_of;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;
use crate::{outputs_view, status_view};

/// Arguments of `tycoon status`.
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The pool, by its name or by its description; all your pools where none is given
    #[arg(value_name = "POOL|FILE")]
    pool: Option<String>,
}

/// Shows one pool or all.
pub fn run(arguments: &StatusArgs, output: &Output) -> Result<Exit, Failure> {
    let (pool, loaded) = match &arguments.pool {
        Some(text) => pool_of(text, output).map(|(pool, loaded)| (Some(pool), loaded))?,
        None => (None, None),
    };
    let session = Session::open(output, "tycoon status")?;
    let (site, now) = (session.site(), session.now());
    let failed = |error| Failure::from_executor(error, None);
    let pools = match &pool {
        Some(pool) => vec![pool_status(&*site, pool, &session.history(pool, output)).map_err(failed)?],
        None => all_pools(&*site).map_err(failed)?,
    };
    session.close()?;
    if let (Some(pool), [status]) = (&pool, pools.as_slice())
        && status.is_absent()
        && status.kept.is_empty()
        && status.unknown.is_empty()
    {
        return Err(Failure::new(Exit::Failed, format!("there is nothing of a pool `{pool}`")).help(format!(
            "`tycoon ls` lists your pools; `tycoon up FILE` brings one up; `{}` tells what became of one",
            output.command(&format!("host history all --pool {pool}"))
        )));
    }
    if output.json {
        let mut values: Vec<_> = pools.iter().map(status_view::to_json).collect();
        if let (Some(loaded), [value], [status]) = (&loaded, values.as_mut_slice(), pools.as_slice()) {
            value["outputs"] = outputs_view::to_json(&loaded.pool, status);
        }
        match (&pool, values.as_slice()) {
            (Some(_), [value]) => output.print_json(value),
            _ => output.print_json(&values),
        }
        return Ok(Exit::Ok);
    }
    if pools.is_empty() {
        output.print("You have no pools. `tycoon up FILE` brings one up.\n");
    }
    for (number, status) in pools.iter().enumerate() {
        if number > 0 {
            output.print("\n");
        }
        if pool.is_none() {
            output.print(&format!("Pool {}\n", output.stdout.bold(status.pool.as_str())));
        }
        output.print(&status_view::render(status, now, output.stdout));
        if let Some(loaded) = &loaded {
            output.print(&outputs_view::render(&loaded.pool, status, output.stdout));
        }
    }
    Ok(Exit::Ok)
}
