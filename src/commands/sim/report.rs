//! The results of simulations: as tables, as CSV, as JSON.

use std::fmt::Write as _;

use serde_json::json;
use tycoon_market::simulation::{Sample, Summary};

use crate::commands::market::number;
use crate::output::{Style, table};

/// One run of a scenario.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What came of it.
    pub summary: Summary,
    /// Its rounds.
    pub samples: Vec<Sample>,
}

/// All runs of a scenario; at least one.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The scenario's name.
    pub name: String,
    /// The runs, by seed.
    pub runs: Vec<Run>,
}

/// Mean and standard error of a measure over the runs.
struct Mean {
    mean: f64,
    error: f64,
}

impl Outcome {
    fn mean(&self, measure: impl Fn(&Summary) -> f64) -> Mean {
        let values: Vec<f64> = self.runs.iter().map(|run| measure(&run.summary)).collect();
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let error = if count > 1.0 { (squares / (count - 1.0) / count).sqrt() } else { 0.0 };
        Mean { mean, error }
    }

    /// A mean with three decimals, and its standard error where there are several runs.
    fn shown(&self, measure: impl Fn(&Summary) -> f64) -> String {
        let Mean { mean, error } = self.mean(measure);
        if self.runs.len() > 1 { format!("{mean:.3} ±{error:.3}") } else { format!("{mean:.3}") }
    }
}

/// The results as tables.
pub fn tables(outcomes: &[Outcome], style: Style) -> String {
    let header = [
        "SCENARIO",
        "SEEDS",
        "ROUNDS",
        "SETTLED",
        "EFFICIENCY",
        "UNIFORMITY",
        "ENVY-FREE",
        "REGRET",
        "PRICE",
        "REVENUE",
    ];
    let rows: Vec<Vec<String>> = outcomes
        .iter()
        .map(|outcome| {
            vec![
                outcome.name.clone(),
                outcome.runs.len().to_string(),
                number(outcome.mean(|summary| f64::from(summary.rounds)).mean),
                settled(outcome),
                outcome.shown(|summary| summary.efficiency),
                outcome.shown(|summary| summary.uniformity),
                outcome.shown(|summary| summary.envy_freeness),
                outcome.shown(|summary| summary.regret),
                number(outcome.mean(|summary| summary.price).mean),
                number(outcome.mean(|summary| summary.revenue).mean),
            ]
        })
        .collect();
    let mut text = table(&header, &rows, &[1, 2, 3, 4, 5, 6, 7, 8, 9], style);
    let several = outcomes.iter().any(|outcome| {
        outcome.runs.iter().any(|run| run.summary.groups.len() > 1 || run.summary.wealth.left.is_some())
    });
    if several {
        text.push('\n');
        text.push_str(&groups(outcomes, style));
    }
    let least = |outcome: &&Outcome| outcome.runs.iter().any(|run| run.summary.settled.is_none());
    for outcome in outcomes.iter().filter(least) {
        let _ = writeln!(
            text,
            "{}: not at rest; efficiency was {:.3} on average, and down to {:.3} in the second half",
            outcome.name,
            outcome.mean(|summary| summary.efficiency_mean).mean,
            outcome.runs.iter().map(|run| run.summary.efficiency_least).fold(f64::INFINITY, f64::min),
        );
    }
    for outcome in outcomes {
        let left = outcome.runs.iter().find_map(|run| Some((run.summary.wealth.left?, run.summary.wealth.gini?)));
        if let Some((left, gini)) = left {
            let _ = writeln!(text, "{}: {} credits are left on average, Gini {gini:.3}", outcome.name, number(left));
        }
    }
    text
}

/// In which round the market settled; how many did, where not all.
fn settled(outcome: &Outcome) -> String {
    let rounds: Vec<u32> = outcome.runs.iter().filter_map(|run| run.summary.settled).collect();
    let mean = rounds.iter().copied().map(f64::from).sum::<f64>() / rounds.len().max(1) as f64;
    match rounds.len() {
        0 => "no".to_owned(),
        count if count == outcome.runs.len() => number(mean),
        count => format!("{count} of {}", outcome.runs.len()),
    }
}

fn groups(outcomes: &[Outcome], style: Style) -> String {
    let header =
        ["SCENARIO", "USERS", "PRESENT", "UTILITY", "ON AVERAGE", "LEAST", "MOST", "PAYING", "PER CREDIT", "SPENT"];
    let mut rows = Vec::new();
    for outcome in outcomes {
        let Some(first) = outcome.runs.first() else { continue };
        for (index, group) in first.summary.groups.iter().enumerate() {
            let mean = |measure: fn(&tycoon_market::simulation::GroupSummary) -> f64| {
                number(outcome.mean(|summary| summary.groups.get(index).map_or(0.0, measure)).mean)
            };
            rows.push(vec![
                outcome.name.clone(),
                group.name.clone(),
                mean(|group| group.users as f64),
                mean(|group| group.utility),
                mean(|group| group.utility_mean),
                mean(|group| group.utility_least),
                mean(|group| group.utility_most),
                mean(|group| group.paying),
                mean(|group| group.utility_per_credit),
                mean(|group| group.spent),
            ]);
        }
    }
    table(&header, &rows, &[2, 3, 4, 5, 6, 7, 8, 9], style)
}

/// Every round of every run.
pub fn csv(outcomes: &[Outcome]) -> String {
    let mut text =
        "scenario,seed,round,seconds,users,hosts,efficiency,uniformity,utility,price,price_least,price_most,\
                    revenue,change\n"
            .to_owned();
    for outcome in outcomes {
        let name = outcome.name.replace('"', "\"\"");
        for run in &outcome.runs {
            for sample in &run.samples {
                let _ = writeln!(
                    text,
                    "\"{name}\",{},{},{},{},{},{},{},{},{},{},{},{},{}",
                    run.seed,
                    sample.round,
                    sample.seconds,
                    sample.users,
                    sample.hosts,
                    sample.efficiency,
                    sample.uniformity,
                    sample.utility,
                    sample.price,
                    sample.price_least,
                    sample.price_most,
                    sample.revenue,
                    sample.change,
                );
            }
        }
    }
    text
}

/// A scenario's results as data.
pub fn json(outcome: &Outcome) -> serde_json::Value {
    let mean = |measure: fn(&Summary) -> f64| {
        let Mean { mean, error } = outcome.mean(measure);
        json!({ "mean": mean, "standard_error": error })
    };
    let runs: Vec<_> = outcome
        .runs
        .iter()
        .map(|run| json!({ "seed": run.seed, "summary": run.summary, "rounds": run.samples }))
        .collect();
    json!({
        "name": outcome.name,
        "efficiency": mean(|summary| summary.efficiency),
        "uniformity": mean(|summary| summary.uniformity),
        "envy_freeness": mean(|summary| summary.envy_freeness),
        "regret": mean(|summary| summary.regret),
        "runs": runs,
    })
}
