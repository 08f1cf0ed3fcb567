//! `tycoon sls watch`: what changes, as it happens.

use std::time::Duration;

use clap::Args;
use http::Request;
use tycoon_rpc::events::LAST_EVENT_ID;
use tycoon_rpc::http_transport::StreamError;
use tycoon_rpc::{HttpTransport, query};
use tycoon_sls::service::{HostEvent, MISSED};

use super::access::{Access, SlsChoice};
use super::list::filter;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::time;

/// The pause before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of `tycoon sls watch`.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Only hosts for which this holds
    #[arg(value_name = "FILTER")]
    pub filter: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Tells what changes, until it is interrupted. One service is listened to; where it goes away, the next.
pub fn run(arguments: &WatchArgs, choice: &SlsChoice, output: &Output) -> Result<Exit, Failure> {
    let filter = filter(arguments.filter.as_deref())?;
    let Access::Remote { services, .. } = choice.open(output, "tycoon sls watch")? else {
        return Err(Failure::new(Exit::Usage, "only services on the network can be watched")
            .help("name one with --sls URL, or pin it with `tycoon init --sls URL`"));
    };
    let target = match &filter {
        Some(filter) => format!("/v1/events?{}", query::encode([("filter", filter.to_string().as_str())])),
        None => "/v1/events".to_owned(),
    };
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut places = vec![None::<u64>; services.len()];
    loop {
        let mut problems = Vec::new();
        let mut was_open = false;
        for ((url, transport), last) in services.iter().zip(&mut places) {
            match listen(transport, url, &target, last, &mut left, output) {
                Ok(()) => was_open = true,
                Err(problem) => problems.push(format!("{url}: {problem}")),
            }
            if left == 0 {
                return Ok(Exit::Ok);
            }
        }
        if !was_open {
            return Err(Failure::new(Exit::Failed, format!("no service can be watched: {}", problems.join("; "))));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Listens until the stream ends.
fn listen(
    transport: &HttpTransport,
    url: &str,
    target: &str,
    last: &mut Option<u64>,
    left: &mut u64,
    output: &Output,
) -> Result<(), StreamError> {
    let mut request = Request::get(target);
    if let Some(last) = last {
        request = request.header(LAST_EVENT_ID, last.to_string());
    }
    // The target is percent-encoded, and the header is a number.
    let Ok(request) = request.body(Vec::new()) else { return Ok(()) };
    let reader = transport.events(request)?;
    output.message(&format!("watching {url}"));
    for event in reader {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                output.error(&format!("warning: {error}\n"));
                break;
            }
        };
        *last = event.id.or(*last);
        if event.name == MISSED {
            output.error("warning: some events were missed; `tycoon sls list` shows what is there now\n");
            continue;
        }
        let Ok(told) = serde_json::from_str::<HostEvent>(&event.data) else { continue };
        if output.json {
            output.print(&format!("{}\n", event.data));
        } else {
            let now = tycoon_rpc::Clock::now(&tycoon_rpc::SystemClock);
            output.print(&format!("{}  {:<11} {}\n", time::local_with_seconds(now), told.what.word(), told.name));
        }
        *left -= 1;
        if *left == 0 {
            break;
        }
    }
    Ok(())
}
