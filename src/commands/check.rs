//! `tycoon check`: are the descriptions right?

use clap::Args;
use serde_json::{Value, json};
use tycoon_lang::pool::Pool;
use tycoon_lang::pool::hosts::{named_hosts, unknown_hosts};
use tycoon_lang::tree::Component;
use tycoon_lang::{CheckedPool, Diagnostic, Severity, Sources};
use tycoon_planner::PlanError;
use tycoon_planner::desired::spec_of;
use tycoon_planner::late::Addresses;

use crate::cli::{DescriptionArgs, ReadingArgs};
use crate::description;
use crate::exit::Exit;
use crate::failure::{Failure, diagnostic_of, diagnostics_json};
use crate::output::Output;
use crate::site::remote::RemoteChoice;

/// Arguments of `tycoon check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The descriptions
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// How they are read
    #[command(flatten)]
    reading: ReadingArgs,
    /// The pool to use, where a file has several
    #[arg(long, value_name = "NAME")]
    pool: Option<String>,
}

/// Checks descriptions, each by itself; one that is wrong does not keep the others from being checked.
pub fn run(arguments: &CheckArgs, output: &Output) -> Result<Exit, Failure> {
    let check = |file: &String| {
        let (file, reading, pool) = (file.clone(), arguments.reading.clone(), arguments.pool.clone());
        check(&DescriptionArgs { file, reading, pool }, output)
    };
    if let [file] = &arguments.files[..] {
        let value = check(file)?;
        if output.json {
            output.print_json(&value);
        }
        return Ok(Exit::Ok);
    }
    let mut exit = Exit::Ok;
    let mut values = Vec::new();
    for file in &arguments.files {
        let mut value = check(file).unwrap_or_else(|failure| {
            exit = failure.exit;
            if !output.json {
                output.error(&failure.render(output.stderr));
            }
            failure.json()
        });
        value["file"] = json!(file);
        values.push(value);
    }
    if output.json {
        output.print_json(&values);
    }
    Ok(exit)
}

/// Checks a description, be it a pool or a library: by itself, by what any host can do, and by the hosts of the site. What
/// is found is shown to people, and returned as data.
fn check(arguments: &DescriptionArgs, output: &Output) -> Result<Value, Failure> {
    let file = &arguments.file;
    let mut checked = description::check(arguments)?;
    for resolved in &checked.resolved {
        possible(&resolved.pool, &checked.sources)?;
        checked.warnings.extend(missing_budget(&resolved.pool));
        checked.warnings.extend(missing_hosts(&resolved.tree, output)?);
    }
    description::show_warnings(&checked.sources, &checked.warnings, output);
    let warnings = diagnostics_json(&checked.sources, &checked.warnings);
    // Of a file with one pool that pool is spoken of; of a library and a file of several the names.
    let wanted = arguments.pool.as_deref();
    let is_wanted = |pool: &&CheckedPool| wanted.is_none_or(|name| pool.pool.name.as_str() == name);
    let pool = match (wanted, checked.pools.as_slice()) {
        (Some(_), _) | (None, [_]) => match checked.resolved.iter().find(is_wanted) {
            Some(found) => Some((found.pool.name.clone(), found.pool.domains.len())),
            // Why a command could not take it is said as that command says it.
            None => {
                let loaded = description::load(arguments, &output.silent())?;
                Some((loaded.pool.name, loaded.pool.domains.len()))
            }
        },
        _ => None,
    };
    let value = json!({
        "ok": true,
        "pools": checked.pools,
        "domains": pool.as_ref().map(|(_, domains)| domains),
        "warnings": warnings,
    });
    if output.json {
        return Ok(value);
    }
    let what = match (&pool, checked.pools.as_slice()) {
        (Some((name, 1)), _) => format!("pool {name} with 1 domain"),
        (Some((name, domains)), _) => format!("pool {name} with {domains} domains"),
        (None, []) if checked.others.is_empty() => "a library without pools".to_owned(),
        (None, []) => {
            let others: Vec<String> = checked.others.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            others.join(", ")
        }
        (None, pools) => format!("pools {}", pools.join(", ")),
    };
    output.print(&format!("{file}: {what}, no errors\n"));
    Ok(value)
}

/// Refuses what no host can do, whichever it is.
fn possible(pool: &Pool, sources: &Sources) -> Result<(), Failure> {
    let addresses = Addresses::of(pool);
    let refused = pool.domains.iter().filter_map(|domain| spec_of(domain, &addresses, &[]).err());
    let errors: Vec<PlanError> = refused.collect();
    if errors.is_empty() { Ok(()) } else { Err(Failure::from_plans(&errors, sources)) }
}

/// A warning of a pool that is sound and that nobody can bring up: nothing says what it may cost.
fn missing_budget(pool: &Pool) -> Option<Diagnostic> {
    if pool.budget.is_some() || pool.domains.is_empty() {
        return None;
    }
    let error = PlanError::NoBudget { pool: pool.name.to_string(), span: pool.span };
    diagnostic_of(&error).map(|diagnostic| Diagnostic { severity: Severity::Warning, ..diagnostic })
}

/// Warnings of hosts that the description names and the site does not have, where that is known without asking it.
fn missing_hosts(tree: &Component, output: &Output) -> Result<Vec<Diagnostic>, Failure> {
    let named = named_hosts(tree);
    if named.is_empty() {
        return Ok(Vec::new());
    }
    let site = description::load_site(output)?;
    // Hosts on the network say themselves what they are called.
    if !site.network_hosts.is_empty() || RemoteChoice::of(&site, output)?.is_some() {
        return Ok(Vec::new());
    }
    let known: Vec<String> = site.hosts.iter().map(|host| host.address.clone()).collect();
    Ok(unknown_hosts(&named, &site.name, &known))
}
