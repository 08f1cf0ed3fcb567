//! `tycoon suspend` and `tycoon resume`: domains stand still in memory, and go on.

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::link::{LinkError, SiteHost};
use tycoon_executor::status::pool_domains;
use tycoon_xen::protocol::{Answer, Request};
use tycoon_xen::spec::{DomainPath, Ownership};
use tycoon_xen::status::{DomainState, DomainStatus};

use crate::domains::DomainName;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;

/// Arguments of `tycoon suspend` and `tycoon resume`.
#[derive(Args, Debug)]
pub struct SuspendArgs {
    /// Pools, or domains of them, such as `hello`, `hello/web` and `hello/web.0`
    #[arg(value_name = "POOL[/DOMAIN]", required = true)]
    domains: Vec<DomainName>,
}

/// What is wanted of domains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Suspended,
    Running,
}

/// What came of one domain.
struct Row {
    name: String,
    host: String,
    outcome: Result<(DomainState, bool), String>,
}

/// Suspends domains.
pub fn suspend(arguments: &SuspendArgs, output: &Output) -> Result<Exit, Failure> {
    run(arguments, Wish::Suspended, "tycoon suspend", output)
}

/// Has suspended domains go on.
pub fn resume(arguments: &SuspendArgs, output: &Output) -> Result<Exit, Failure> {
    run(arguments, Wish::Running, "tycoon resume", output)
}

fn run(arguments: &SuspendArgs, wish: Wish, command: &str, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, command)?;
    let (mut rows, mut is_all_known) = (Vec::new(), true);
    for wanted in &arguments.domains {
        let history = session.history(&wanted.pool, output);
        let asked = pool_domains(&*session.site(), &wanted.pool, &history);
        let there = asked.map_err(|error| Failure::from_executor(error, None))?;
        for (host, why) in &there.unknown {
            is_all_known = false;
            output.message(&format!("note: {host} {why}; what it holds of `{}` is left as it is", wanted.pool));
        }
        let mut chosen: Vec<(&SiteHost, &DomainStatus, &Ownership)> = there
            .found
            .iter()
            .filter_map(|(host, domain)| Some((host, domain, domain.ownership.as_ref()?)))
            .filter(|(_, _, own)| wanted.path.as_ref().is_none_or(|path| is_within(&own.path, path)))
            .collect();
        if chosen.is_empty() {
            let named = wanted.path.as_ref().map_or(String::new(), |path| format!(" named `{path}`"));
            return Err(Failure::new(Exit::Failed, format!("the pool `{}` has no domain{named}", wanted.pool))
                .help(format!("`{}` shows what there is", output.command(&format!("status {}", wanted.pool)))));
        }
        chosen.sort_by(|(_, _, a), (_, _, b)| a.path.natural_order().cmp(&b.path.natural_order()));
        rows.extend(chosen.into_iter().map(|(host, domain, own)| Row {
            name: format!("{}/{}", own.pool, own.path),
            host: host.name.to_string(),
            outcome: ask(host, domain, own, wish),
        }));
    }
    session.close()?;
    show(&rows, wish, output);
    let failed = rows.iter().filter(|row| row.outcome.is_err()).count();
    Ok(match (failed, is_all_known) {
        (0, true) => Exit::Ok,
        (failed, _) if failed == rows.len() => Exit::Failed,
        _ => Exit::Partly,
    })
}

/// True for the path itself and what is inside it: `web.0` is in `web`.
fn is_within(path: &DomainPath, wanted: &DomainPath) -> bool {
    let rest = path.as_str().strip_prefix(wanted.as_str());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Asks the host of a domain for what is wanted of it; nothing where it is so. Why it is not done.
fn ask(host: &SiteHost, domain: &DomainStatus, own: &Ownership, wish: Wish) -> Result<(DomainState, bool), String> {
    match (wish, domain.state) {
        (Wish::Suspended, DomainState::Paused) | (Wish::Running, DomainState::Running | DomainState::Booting) => {
            return Ok((domain.state, false));
        }
        (Wish::Suspended, state) if !state.is_active() => {
            return Err(format!("it is {}; only what runs can be suspended", state.word()));
        }
        (Wish::Running, state) if state != DomainState::Paused => {
            return Err(format!("it is {}; `tycoon up` with its description starts it", state.word()));
        }
        _ => {}
    }
    let told = |error: LinkError| error.to_string();
    // What the pool's last plan was is what the host goes by.
    let known = host.link.account(&own.pool).map_err(told)?.map_or(0, |account| account.generation);
    let (pool, path, generation) = (own.pool.clone(), own.path.clone(), known.max(own.generation));
    let request = match wish {
        Wish::Suspended => Request::EnsureSuspended { pool, generation, path },
        Wish::Running => Request::EnsureRunning { pool, generation, path },
    };
    match host.link.request(&request).map_err(told)? {
        Answer::Ensured { changed, domain: after } => Ok((after.map_or(domain.state, |after| after.state), changed)),
        Answer::Domains { .. } => Err("its host answers something else".to_owned()),
    }
}

fn show(rows: &[Row], wish: Wish, output: &Output) {
    if output.json {
        let values: Vec<Value> = rows
            .iter()
            .map(|row| match &row.outcome {
                Ok((state, changed)) => {
                    json!({ "domain": row.name, "host": row.host, "state": state, "changed": changed })
                }
                Err(error) => json!({ "domain": row.name, "host": row.host, "error": error }),
            })
            .collect();
        output.print_json(&values);
    } else {
        for row in rows {
            if let Ok((state, changed)) = &row.outcome {
                let already = if *changed { "" } else { " already" };
                output.print(&format!("{} on {} is {}{already}\n", row.name, row.host, state.word()));
            }
        }
        if wish == Wish::Suspended && rows.iter().any(|row| row.outcome.is_ok()) {
            output.print("What is suspended uses no CPU; its memory and disks stay reserved, and are paid for.\n");
        }
    }
    for row in rows {
        if let Err(error) = &row.outcome {
            output.error(&format!("{}: {} on {}: {error}\n", output.stderr.red("error"), row.name, row.host));
        }
    }
}
