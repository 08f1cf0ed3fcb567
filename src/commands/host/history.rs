//! `tycoon host history` and `tycoon host watch`: what happened to host accounts.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use tycoon_executor::link::LinkError;
use tycoon_market::PoolName;
use tycoon_market::duration_text::show_duration;
use tycoon_market::resource::show_bytes;
use tycoon_xen::events::{Happening, HostEvent};

use super::chosen::{Answers, Chosen, HostsArg, ask};
use super::money::time;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};
use crate::site::Session;
use crate::time::local_with_seconds;

/// How long a host is asked to wait for events, in seconds.
const WAIT_SECONDS: u64 = 10;
/// The pause after a host that did not answer, or had nothing to say at once.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether the command was interrupted.
const LOOK: Duration = Duration::from_millis(100);
/// How long after its end answers are still waited for.
const GRACE: Duration = Duration::from_secs(2);

/// Arguments of `tycoon host history`.
#[derive(Args, Debug)]
pub struct HistoryArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// Only events of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// The last so many events of each host
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 50)]
    last: usize,
}

/// Arguments of `tycoon host watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// The hosts.
    #[command(flatten)]
    hosts: HostsArg,
    /// Only events of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<PoolName>,
    /// End after so long; otherwise with Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    longest: Option<tycoon_market::TimeSpan>,
}

/// Shows what happened.
pub fn history(arguments: &HistoryArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host history")?;
    let chosen = arguments.hosts.choose(&session)?;
    let answers: Answers<Vec<HostEvent>> = ask(&chosen, |chosen| {
        let mut events = Vec::new();
        let mut after = 0;
        loop {
            let report = chosen.client()?.events(after, 0).map_err(LinkError::from)?;
            let is_last = report.last <= after || report.events.is_empty();
            events.extend(report.events);
            if is_last {
                break;
            }
            after = report.last;
        }
        events.retain(|event: &HostEvent| is_wanted(event, arguments.pool.as_ref()));
        let first = events.len().saturating_sub(arguments.last);
        Ok(events.split_off(first))
    });
    session.close()?;
    let to_json = |events: &Vec<HostEvent>| json!({ "events": events });
    Ok(answers.show(output, to_json, |hosts| {
        let rows: Vec<Vec<String>> =
            hosts.iter().flat_map(|(host, events)| events.iter().map(move |event| row(host, event))).collect();
        if rows.is_empty() {
            return "Nothing has happened.\n".to_owned();
        }
        table(&["TIME", "HOST", "ACCOUNT", "POOL", "EVENT", ""], &rows, &[], output.stdout)
    }))
}

/// Shows what happens, until it is interrupted. Hosts are asked side by side, each for itself, so that one that is silent
/// holds nobody up.
pub fn watch(arguments: &WatchArgs, output: &Output) -> Result<Exit, Failure> {
    let session = Session::open(output, "tycoon host watch")?;
    let chosen = arguments.hosts.choose(&session)?;
    if session.embedded().is_some() {
        return Err(Failure::new(Exit::Usage, "on the embedded site nothing happens while nobody works on it")
            .help("`tycoon host history` shows what has happened"));
    }
    let deadline = arguments.longest.map(|span| Instant::now() + Duration::from_micros(span.micros()));
    let (tell, told) = mpsc::channel();
    for chosen in chosen {
        let tell = tell.clone();
        // It ends with the program: a call that waits for events cannot be cut short.
        std::thread::spawn(move || follow(&chosen, deadline, &tell));
    }
    drop(tell);
    let end = deadline.map(|deadline| deadline + GRACE);
    let exit = loop {
        match told.recv_timeout(LOOK) {
            Ok(Told::Message(text)) => output.message(&text),
            Ok(Told::Events(host, events)) => {
                let wanted = events.iter().filter(|event| is_wanted(event, arguments.pool.as_ref()));
                wanted.for_each(|event| show(&host, event, output));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break Exit::Ok,
        }
        if session.is_interrupted() {
            break Exit::Interrupted;
        }
        if end.is_some_and(|end| Instant::now() >= end) {
            break Exit::Ok;
        }
    };
    session.close()?;
    Ok(exit)
}

/// What is told of a host that is watched.
enum Told {
    /// How it goes with the host.
    Message(String),
    /// What happened on the host of this name.
    Events(String, Vec<HostEvent>),
}

/// Tells what happens on a host from now on, until the deadline, or until nobody listens.
fn follow(chosen: &Chosen, deadline: Option<Instant>, tell: &Sender<Told>) {
    let host = chosen.host.name.as_str();
    let left = || deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
    // Up to which event all is known; nothing of what was before is told.
    let mut after = None;
    let mut is_silent = false;
    while !left().is_zero() {
        let wait = left().as_secs().clamp(1, WAIT_SECONDS);
        let asked = Instant::now();
        let (from, wait) = after.map_or((u64::MAX, 0), |after| (after, wait));
        let answer = chosen.client().and_then(|client| client.events(from, wait).map_err(LinkError::from));
        let (told, pause) = match answer {
            Ok(report) => {
                let mut told = Vec::new();
                if is_silent {
                    told.push(Told::Message(format!("host {host} answers again")));
                }
                is_silent = false;
                // A host on which many wait answers at once, with nothing: it is not asked without end.
                let is_early = report.events.is_empty() && asked.elapsed() < Duration::from_secs(1);
                let pause = if after.is_some() && is_early { PAUSE } else { Duration::ZERO };
                if after.is_some() {
                    if report.is_torn {
                        let text = format!("host {host} has forgotten some events that were not shown");
                        told.push(Told::Message(text));
                    }
                    told.push(Told::Events(host.to_owned(), report.events));
                }
                after = Some(report.last);
                (told, pause)
            }
            Err(error) => {
                let text = format!("host {host} does not answer, and is asked again: {error}");
                let told = if is_silent { Vec::new() } else { vec![Told::Message(text)] };
                is_silent = true;
                (told, PAUSE)
            }
        };
        if told.into_iter().any(|told| tell.send(told).is_err()) {
            return;
        }
        std::thread::sleep(pause.min(left()));
    }
}

/// Shows one event of a host, as it happens.
pub fn show(host: &str, event: &HostEvent, output: &Output) {
    if output.json {
        let mut value = json!(event);
        if let Some(object) = value.as_object_mut() {
            object.insert("host".to_owned(), Value::from(host));
        }
        output.print(&format!("{value}\n"));
    } else {
        output.print(&format!("{}\n", row(host, event).join("  ")));
    }
}

fn is_wanted(event: &HostEvent, pool: Option<&PoolName>) -> bool {
    pool.is_none_or(|pool| event.pool == *pool)
}

fn row(host: &str, event: &HostEvent) -> Vec<String> {
    vec![
        local_with_seconds(event.at),
        host.to_owned(),
        event.account.short(),
        event.pool.to_string(),
        event.what.word().to_owned(),
        details(event),
    ]
}

fn details(event: &HostEvent) -> String {
    let within = |until: tycoon_market::Timestamp| show_duration(until.since(event.at));
    match &event.what {
        Happening::Funded { amount, .. } | Happening::Refunded { amount } => format!("{} credits", amount.rounded(6)),
        Happening::Allocated { shares } => super::account::shares(shares).join(", "),
        Happening::Granted { id } => format!("holds {id}"),
        Happening::Outbid { id } => format!("lost {id}"),
        Happening::Warned { reason, stop_at } => format!("{reason}, stops in {}", within(*stop_at)),
        Happening::Displaced { stop_at } => format!("others bid more, stops in {}", within(*stop_at)),
        Happening::Stopped { reason, delete_at } => format!("{reason}, disks go in {}", within(*delete_at)),
        Happening::Deleted { reason } => reason.to_string(),
        Happening::Expired { rate } => {
            format!("bids {} per hour from now on", super::account::number(rate.credits_per_hour()))
        }
        Happening::Ended { domain, is_crash, restart_at } => {
            let next = restart_at.map_or_else(
                || "stays as it is".to_owned(),
                |at| match at.since(event.at) {
                    wait if wait.is_zero() => "starts again at once".to_owned(),
                    wait => format!("starts again in {}", show_duration(wait)),
                },
            );
            format!("{domain} {}, {next}", end(*is_crash))
        }
        Happening::Restarted { domain, restarts } => format!("{domain}, restart {restarts} of late"),
        Happening::GaveUp { domain, is_crash, restarts } => {
            format!("{domain} {} again after {} restarts: it stays as it is", end(*is_crash), restarts)
        }
        Happening::Hoarded { domain, memory_bytes, given_bytes } => {
            format!(
                "{domain} kept {} where {} are bought: shut down",
                show_bytes(*memory_bytes),
                show_bytes(*given_bytes)
            )
        }
        Happening::Closed { charged, refunded } => {
            format!("charged {}, returned {}", charged.rounded(6), refunded.rounded(6))
        }
    }
}

/// How a domain ended.
const fn end(is_crash: bool) -> &'static str {
    if is_crash { "crashed" } else { "ended by itself" }
}
