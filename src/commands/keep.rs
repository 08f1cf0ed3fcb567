//! `tycoon keep`: looks after what runs on hosts that have nobody else to do it.
//!
//! The site is open only while it is looked at, so that other commands can use it in between.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clap::Args;
use tycoon_executor::link::LinkError;
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::client::HostClient;
use tycoon_xen::events::HostEvent;

use crate::commands::host::history;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::{Session, world};
use crate::time::span;

/// How often it is looked whether the command was interrupted.
const LOOK: Duration = Duration::from_millis(100);

/// Arguments of `tycoon keep`.
#[derive(Args, Debug)]
pub struct KeepArgs {
    /// How often to look, 1s at least
    #[arg(long, value_name = "TIME", value_parser = pause, default_value = "10s")]
    every: TimeSpan,
    /// End after so long; otherwise with Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    longest: Option<TimeSpan>,
}

fn pause(text: &str) -> Result<TimeSpan, String> {
    span(text).and_then(|span| match span {
        span if span < TimeSpan::from_seconds(1) => Err("write 1s or more".to_owned()),
        span => Ok(span),
    })
}

/// What is known from earlier rounds.
struct Known {
    /// When it began: what was before is not told.
    began: Timestamp,
    /// The number of the last event of each host.
    told: BTreeMap<String, u64>,
    /// Hosts that could not be asked in the last round.
    silent: BTreeSet<String>,
}

/// Looks again and again, until it is interrupted. Looking is what starts again what is due.
pub fn run(arguments: &KeepArgs, output: &Output) -> Result<Exit, Failure> {
    let stop = world::stop_on_interrupt()?;
    let duration = |span: TimeSpan| Duration::from_micros(span.micros());
    let end = arguments.longest.map(|longest| Instant::now() + duration(longest));
    let mut known: Option<Known> = None;
    loop {
        let next = Instant::now() + duration(arguments.every);
        match round(&mut known, output) {
            Ok(()) => {}
            // At first it is the user who is to hear of it; later the next look may find it mended.
            Err(failure) if known.is_none() => return Err(failure),
            Err(failure) => output.message(&format!("looked in vain, and looks again: {}", failure.message())),
        }
        while Instant::now() < next {
            if stop.is_set() {
                return Ok(Exit::Interrupted);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return Ok(Exit::Ok);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Opens the site, by which it is led through the time since, tells what happened, and closes it.
fn round(known: &mut Option<Known>, output: &Output) -> Result<(), Failure> {
    let session = Session::open(output, "tycoon keep")?;
    if session.embedded().is_none() {
        return Err(Failure::new(Exit::Usage, "the hosts of this site look after their domains themselves")
            .help("`tycoon host watch all` shows what they do"));
    }
    let is_first = known.is_none();
    let known =
        known.get_or_insert_with(|| Known { began: session.now(), told: BTreeMap::new(), silent: BTreeSet::new() });
    let hosts = session.site().hosts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    if is_first {
        let count = if hosts.len() == 1 { "1 host".to_owned() } else { format!("{} hosts", hosts.len()) };
        output.message(&format!("looking after {count}; Ctrl-C ends it"));
    }
    for host in &hosts {
        let name = host.name.to_string();
        let after = known.told.get(&name).copied();
        match session.host_client(&host.id).and_then(|client| events(&client, after.unwrap_or(0))) {
            Ok((events, last)) => {
                if known.silent.remove(&name) {
                    output.message(&format!("host {name} answers again"));
                }
                let is_news = |event: &&HostEvent| after.is_some() || event.at >= known.began;
                events.iter().filter(is_news).for_each(|event| history::show(&name, event, output));
                known.told.insert(name, last);
            }
            Err(error) => {
                if known.silent.insert(name.clone()) {
                    output.message(&format!("host {name} cannot be asked, and is asked again: {error}"));
                }
            }
        }
    }
    session.close()
}

/// The events of a host after a number, and the number of the last.
fn events(client: &HostClient, mut after: u64) -> Result<(Vec<HostEvent>, u64), LinkError> {
    let mut events = Vec::new();
    loop {
        let report = client.events(after, 0).map_err(LinkError::from)?;
        let is_last = report.last <= after || report.events.is_empty();
        after = report.last.max(after);
        events.extend(report.events);
        if is_last {
            return Ok((events, after));
        }
    }
}
