//! `tycoon market best-response`: how to divide a budget over hosts.

use std::collections::BTreeMap;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use tycoon_market::best_response::{BestResponseError, HostOffer, ManyHosts, Problem, solve_with_bound};

use super::{number, read_json};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, table};

/// The form of the input, for `--help`.
pub const FORMAT: &str = r#"Input, in JSON:
  {"budget": 1.5, "max_hosts": 2,
   "hosts": [{"id": "h1", "weight": 3, "price": 1, "min_share": 0.1, "max_share": 0.5,
              "base_price": 0.1, "price_floor": 2}]}

Rates are credits per second, or any one unit of money per time.
  weight        the value of the whole host
  price         the sum of the others' bids on it; your share is bid / (bid + price + base_price)
  base_price    what its owner bids against everybody (0)
  price_floor   all of the host is given out only when all bids reach this (0)
  min_share     the least share of this host, which you will have in any case (0)
  max_share     the greatest share of it that is of use (1)
  max_hosts     bid on so many hosts at most (all)

The result names the bids, the shares that they bring if nobody else moves, the utility Σ weight·share, `lambda` (what
one more credit per second would bring), what is `unspent` because it is of no use, and `optimality_gap`: no bids
whatsoever bring more than utility·(1 + gap)."#;

/// Arguments of `tycoon market best-response`.
#[derive(Args, Debug)]
pub struct BestResponseArgs {
    /// The file with budget and hosts; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: String,
}

/// The most steps of the search for the best choice of hosts, and the most hosts × steps.
const STEPS_MAX: usize = 20_000;
const WORK_MAX: usize = 200_000;

/// What is asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    budget: f64,
    hosts: Vec<HostInput>,
    #[serde(default)]
    max_hosts: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostInput {
    id: String,
    weight: f64,
    price: f64,
    #[serde(default)]
    min_share: Option<f64>,
    #[serde(default)]
    max_share: Option<f64>,
    #[serde(default)]
    base_price: Option<f64>,
    #[serde(default)]
    price_floor: Option<f64>,
}

/// Solves the problem of a file.
pub fn run(arguments: &BestResponseArgs, output: &Output) -> Result<Exit, Failure> {
    let input: Input = read_json(&arguments.input, "best-response")?;
    let found = solve(&input)?;
    let solution = &found.solution;
    let gap = match (found.bound - solution.utility, solution.utility) {
        (none, _) if none <= 0.0 => 0.0,
        // A gap of some utility to none has no measure; all of the bound is open then.
        (_, 0.0) => 1.0,
        (open, utility) => (open / utility).min(f64::MAX),
    };
    if output.json {
        let hosts: Vec<_> = input
            .hosts
            .iter()
            .zip(solution.bids.iter().zip(&solution.shares))
            .map(|(host, (bid, share))| json!({ "id": host.id, "bid": bid, "share": share }))
            .collect();
        output.print_json(&json!({
            "hosts": hosts,
            "utility": solution.utility,
            "lambda": solution.lambda,
            "optimality_gap": gap,
            "unspent": solution.unspent,
        }));
        return Ok(Exit::Ok);
    }
    let rows: Vec<Vec<String>> = input
        .hosts
        .iter()
        .zip(solution.bids.iter().zip(&solution.shares))
        .map(|(host, (bid, share))| {
            vec![host.id.clone(), number(host.weight), number(host.price), number(*bid), number(*share)]
        })
        .collect();
    output.print(&table(&["HOST", "WEIGHT", "PRICE", "BID", "SHARE"], &rows, &[1, 2, 3, 4], output.stdout));
    let spent: f64 = solution.bids.iter().sum();
    output.print(&format!(
        "utility {}, one more credit per second would bring {}; {} of {} credits per second bid\n",
        number(solution.utility),
        number(solution.lambda),
        number(spent),
        number(input.budget),
    ));
    if gap > 0.0 {
        output.print(&format!("no bids bring more than {}, by a part of {}\n", number(found.bound), number(gap)));
    } else {
        output.print("no bids bring more\n");
    }
    Ok(Exit::Ok)
}

fn solve(input: &Input) -> Result<ManyHosts, Failure> {
    let mut seen = BTreeMap::new();
    for (index, host) in input.hosts.iter().enumerate() {
        if host.id.is_empty() || host.id.chars().any(char::is_control) {
            let message = format!("the id of hosts[{index}] is {:?}", host.id);
            return Err(Failure::new(Exit::Failed, message).help("an id is a text that can be shown on one line"));
        }
        if let Some(first) = seen.insert(host.id.as_str(), index) {
            let id = &host.id;
            let message = format!("two hosts are called `{id}`: hosts[{first}] and hosts[{index}]");
            return Err(Failure::new(Exit::Failed, message).help("give every host an id of its own"));
        }
    }
    let hosts = input.hosts.iter().map(|host| HostOffer {
        base_price: host.base_price.unwrap_or(0.0),
        min_share: host.min_share,
        max_share: host.max_share,
        ..HostOffer::new(host.weight, host.price)
    });
    let problem = Problem { budget: input.budget, hosts: hosts.collect() };
    let floors: Vec<f64> = input.hosts.iter().map(|host| host.price_floor.unwrap_or(0.0)).collect();
    let steps = (WORK_MAX / problem.hosts.len().max(1)).clamp(1, STEPS_MAX);
    solve_with_bound(&problem, &floors, input.max_hosts, steps).map_err(|error| explain(&error, input))
}

/// The error with the names of the hosts, and what to do about it.
fn explain(error: &BestResponseError, input: &Input) -> Failure {
    let name = |host: usize| input.hosts.get(host).map_or("", |host| host.id.as_str());
    match error {
        BestResponseError::Number { what, host: Some(host), value } => {
            let what = if *what == "others' bid" { "price" } else { what };
            let message =
                format!("the {what} of host `{}` is {value}; it must be 0, or between 1e-30 and 1e30", name(*host));
            Failure::new(Exit::Failed, message)
        }
        BestResponseError::Shares { host, min, max } => {
            let message = format!("the shares of host `{}` are from {min} to {max}", name(*host));
            Failure::new(Exit::Failed, message).help(
                "`min_share` is from 0 to below 1, `max_share` above 0 and at most 1, and the least at most the greatest",
            )
        }
        BestResponseError::Budget { .. } => {
            Failure::from_error(Exit::Budget, error).help("raise `budget`, or lower a `min_share`")
        }
        BestResponseError::MaxHosts { .. } => {
            Failure::from_error(Exit::Failed, error).help("raise `max_hosts`, or leave out a `min_share`")
        }
        error => Failure::from_error(Exit::Failed, error),
    }
}
