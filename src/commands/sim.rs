//! `tycoon sim`: how a market goes, in virtual time.

mod document;
mod plot;
mod report;
mod scenario;

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use clap::Args;
use miette::{GraphicalReportHandler, GraphicalTheme};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde_json::json;
use tycoon_market::simulation::Simulation;

use self::document::Problem;
use self::report::{Outcome, Run};
use self::scenario::NamedScenario;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Arguments of `tycoon sim`.
#[derive(Args, Debug)]
#[command(
    after_help = "docs/simulation.md explains scenarios and measures; examples/scenarios/ has some to begin with."
)]
pub struct SimArgs {
    /// The scenarios, in KDL
    #[arg(value_name = "SCENARIO.kdl")]
    file: String,
    /// Run only the scenarios whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Begin with this seed, whatever the scenarios say
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Write every round of every run
    #[arg(long, value_name = "FILE")]
    csv: Option<String>,
    /// Draw efficiency and prices over the rounds
    #[arg(long, value_name = "FILE")]
    svg: Option<String>,
}

/// The largest scenario file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The most errors that are shown of one file.
const PROBLEMS_MAX: usize = 50;
/// How often progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// Runs the scenarios of a file.
pub fn run(arguments: &SimArgs, output: &Output) -> Result<Exit, Failure> {
    let text = read(&arguments.file)?;
    let scenarios = match document::parse(&text).and_then(|nodes| scenario::read(&nodes)) {
        Ok(scenarios) => scenarios,
        Err(mut problems) => {
            problems.sort_by_key(|problem| problem.span.offset());
            problems.truncate(PROBLEMS_MAX);
            show(problems, &arguments.file, &text, output);
            return Ok(Exit::Failed);
        }
    };
    let is_wanted = |name: &str| arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let chosen: Vec<NamedScenario> = scenarios.into_iter().filter(|scenario| is_wanted(&scenario.name)).collect();
    if chosen.is_empty() {
        let only = arguments.only.as_deref().unwrap_or_default();
        return Err(Failure::new(
            Exit::Failed,
            format!("`{}` has no scenario with `{only}` in its name", arguments.file),
        ));
    }
    let mut outcomes = Vec::new();
    for scenario in chosen {
        outcomes.push(simulate(scenario, arguments.seed, output)?);
    }
    if let Some(path) = &arguments.csv {
        write(path, &report::csv(&outcomes))?;
    }
    if let Some(path) = &arguments.svg {
        write(path, &plot::svg(&outcomes))?;
    }
    if output.json {
        output.print_json(&json!({ "scenarios": outcomes.iter().map(report::json).collect::<Vec<_>>() }));
    } else {
        output.print(&report::tables(&outcomes, output.stdout));
    }
    Ok(Exit::Ok)
}

/// Runs a scenario with all its seeds.
fn simulate(scenario: NamedScenario, seed: Option<u64>, output: &Output) -> Result<Outcome, Failure> {
    let first = seed.unwrap_or(scenario.seed);
    let mut runs = Vec::new();
    let mut shown = Instant::now();
    for number in 0..scenario.repeat {
        let seed = first.wrapping_add(u64::from(number));
        let failed = |error: &dyn std::error::Error| Failure::from_error(Exit::Failed, error);
        let mut simulation = Simulation::new(scenario.scenario.clone(), ChaCha8Rng::seed_from_u64(seed))
            .map_err(|error| failed(&error).context(&format!("the scenario `{}` cannot be run", scenario.name)))?;
        let mut samples = Vec::new();
        while let Some(sample) = simulation.step().map_err(|error| failed(&error))? {
            if output.can_move && shown.elapsed() >= SHOWN_EVERY {
                shown = Instant::now();
                let rounds = scenario.scenario.rounds;
                output.error(&format!(
                    "\r\x1b[K{}: seed {seed}, round {} of {rounds}",
                    scenario.name,
                    sample.round + 1
                ));
            }
            samples.push(sample);
        }
        runs.push(Run { seed, summary: simulation.summary(), samples });
    }
    if output.can_move {
        output.error("\r\x1b[K");
    }
    Ok(Outcome { name: scenario.name, runs })
}

fn read(path: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let limit = FILE_BYTES_MAX + 1;
    let read = if path == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::from_error(Exit::Failed, &error).context(&format!("`{path}` cannot be read")))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(Exit::Failed, format!("`{path}` is larger than 1 MiB; scenarios are small texts")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(Exit::Failed, format!("`{path}` is not UTF-8 text: byte {at} begins no character"))
    })
}

fn write(path: &str, content: &str) -> Result<(), Failure> {
    std::fs::write(path, content)
        .map_err(|error| Failure::from_error(Exit::Failed, &error).context(&format!("`{path}` cannot be written")))
}

/// Shows what is wrong with a file of scenarios.
fn show(problems: Vec<Problem>, file: &str, text: &str, output: &Output) {
    if output.json {
        let diagnostics: Vec<_> = problems.iter().map(|problem| problem.json(file, text)).collect();
        let message = problems.first().map_or("", |problem| problem.message.as_str());
        output.print_json(&json!({
            "error": { "message": message, "diagnostics": diagnostics },
            "exit_code": Exit::Failed.code(),
        }));
        return;
    }
    let theme = if output.stderr.color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(output.stderr.width).with_links(false);
    for problem in problems {
        let mut shown = String::new();
        let report = problem.report(file, text);
        if handler.render_report(&mut shown, &report).is_err() {
            shown = format!("{report}\n");
        }
        output.error(&shown);
    }
}
