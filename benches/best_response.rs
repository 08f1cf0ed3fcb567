//! How long a best response takes, beside other ways to get it, in one run:
//!
//! - from 100 to a million hosts, beside sorting the same hosts by weight over price, with which the textbook begins;
//! - 1,000 hosts, beside Clarabel, an interior-point solver, on the same problem as a second-order cone programme;
//! - 300 hosts, beside SciPy's SLSQP. Python and SciPy come into a virtual environment under the target folder, made by
//!   this benchmark; where that cannot be had, the comparison is left out and the output says so.
//!
//! `cargo bench --bench best_response` prints medians and ratios; all solvers must find the same utility.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clarabel::algebra::CscMatrix;
use clarabel::solver::SupportedConeT::{NonnegativeConeT, SecondOrderConeT, ZeroConeT};
use clarabel::solver::{DefaultSettingsBuilder, DefaultSolver, IPSolver as _};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tycoon_market::best_response::{HostOffer, Problem, solve};

fn main() {
    println!(
        "{:>9}  {:>12}  {:>12}  {:>12}  {:>8}  {:>8}",
        "hosts", "solve", "sort hosts", "sort ratios", "ratio", "ratio"
    );
    for count in [100, 1_000, 10_000, 100_000, 1_000_000] {
        beside_sorting(count);
    }
    println!("aim: at most 1.5 at 1,000,000 (first ratio: to sorting the hosts; second: to sorting bare weight/price)");
    beside_clarabel(1_000);
    beside_scipy(300);
}

/// Weights even from 0 to 1; prices about 1, spread over two magnitudes; a budget with which some hosts stay without a bid.
fn problem(count: usize) -> Problem {
    let mut rng = ChaCha8Rng::seed_from_u64(count as u64);
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let hosts: Vec<HostOffer> =
        (0..count).map(|_| HostOffer::new(unit().max(1e-9), 10_f64.powf(2.0 * unit() - 1.0))).collect();
    let price: f64 = hosts.iter().map(HostOffer::price).sum();
    Problem { budget: price * 0.05, hosts }
}

fn beside_sorting(count: usize) {
    let problem = problem(count);
    let runs = (3_000_000 / count).clamp(11, 2001);
    let (mut solving, mut sorting, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        solving.push(time(|| solve(&problem).expect("the problem is right").utility));
        let mut hosts = problem.hosts.clone();
        sorting.push(time(|| {
            hosts.sort_unstable_by(|one, other| (other.weight / other.price()).total_cmp(&(one.weight / one.price())));
            hosts[0].weight
        }));
        let mut ratios: Vec<f64> = problem.hosts.iter().map(|host| host.weight / host.price()).collect();
        bare.push(time(|| {
            ratios.sort_unstable_by(|one, other| other.total_cmp(one));
            ratios[0]
        }));
    }
    let (solving, sorting, bare) = (median(solving), median(sorting), median(bare));
    println!(
        "{count:>9}  {:>12}  {:>12}  {:>12}  {:>8.2}  {:>8.2}",
        show(solving),
        show(sorting),
        show(bare),
        ratio(solving, sorting),
        ratio(solving, bare)
    );
}

/// minimise Σ w·y·t where t·(x + y) ≥ 1, Σx = X, x ≥ 0: the utility is Σ w less that. t·v ≥ 1 is ‖(2, v − t)‖ ≤ v + t.
fn beside_clarabel(count: usize) {
    let problem = problem(count);
    let ours = median((0..101).map(|_| time(|| solve(&problem).expect("the problem is right").utility)).collect());
    let found = solve(&problem).expect("the problem is right").utility;
    let hosts = &problem.hosts;
    // Variables x_0 … x_{n−1}, t_0 … t_{n−1}; rows: the budget, x ≥ 0, and three for each cone. A·z + s = b.
    let rows = 1 + count + 3 * count;
    let mut triplets: Vec<(usize, usize, f64)> = Vec::new();
    let mut right = vec![0.0; rows];
    right[0] = problem.budget;
    let mut linear = vec![0.0; 2 * count];
    for (index, host) in hosts.iter().enumerate() {
        let cone = 1 + count + 3 * index;
        linear[count + index] = host.weight * host.price();
        triplets.push((0, index, 1.0));
        triplets.push((1 + index, index, -1.0));
        triplets.extend([(cone, index, -1.0), (cone, count + index, -1.0)]);
        triplets.extend([(cone + 2, index, -1.0), (cone + 2, count + index, 1.0)]);
        right[cone] = host.price();
        right[cone + 1] = 2.0;
        right[cone + 2] = host.price();
    }
    triplets.sort_by_key(|&(row, column, _)| (column, row));
    let (rows_of, columns_of) = (triplets.iter().map(|t| t.0).collect(), triplets.iter().map(|t| t.1).collect());
    let matrix =
        CscMatrix::new_from_triplets(rows, 2 * count, rows_of, columns_of, triplets.iter().map(|t| t.2).collect());
    let mut cones = vec![ZeroConeT(1), NonnegativeConeT(count)];
    cones.extend((0..count).map(|_| SecondOrderConeT(3)));
    let nothing = CscMatrix::zeros((2 * count, 2 * count));
    let weights: f64 = hosts.iter().map(|host| host.weight).sum();
    let mut theirs = Vec::new();
    let mut utility = 0.0;
    for _ in 0..5 {
        theirs.push(time(|| {
            let settings = DefaultSettingsBuilder::default().verbose(false).build().expect("settings that are right");
            let mut solver = DefaultSolver::new(&nothing, &linear, &matrix, &right, &cones, settings)
                .expect("a problem that is right");
            solver.solve();
            utility = weights - solver.solution.obj_val;
            utility
        }));
    }
    compare("Clarabel", count, ours, median(theirs), found, utility, 1e-6, 1_000.0);
}

const SCRIPT: &str = r#"
import json, sys, time
import numpy as np
from scipy.optimize import minimize
data = json.load(sys.stdin)
w, y, budget = np.array(data["weights"]), np.array(data["prices"]), data["budget"]
def value(x): return -float(np.sum(w * x / (x + y)))
def slope(x): return -w * y / (x + y) ** 2
start = np.full(len(w), budget / len(w))
times = []
for _ in range(3):
    begin = time.perf_counter()
    found = minimize(value, start, jac=slope, method="SLSQP", bounds=[(0, None)] * len(w),
                     constraints={"type": "eq", "fun": lambda x: x.sum() - budget, "jac": lambda x: np.ones_like(x)},
                     options={"maxiter": 1000, "ftol": 1e-9})
    times.append(time.perf_counter() - begin)
print(sorted(times)[1], -found.fun)
"#;

fn beside_scipy(count: usize) {
    let python = match python_with_scipy() {
        Ok(python) => python,
        Err(why) => {
            println!("SciPy SLSQP: LEFT OUT, {why}");
            return;
        }
    };
    let problem = problem(count);
    let ours = median((0..301).map(|_| time(|| solve(&problem).expect("the problem is right").utility)).collect());
    let found = solve(&problem).expect("the problem is right").utility;
    let weights: Vec<f64> = problem.hosts.iter().map(|host| host.weight).collect();
    let prices: Vec<f64> = problem.hosts.iter().map(HostOffer::price).collect();
    let input = serde_json::json!({ "weights": weights, "prices": prices, "budget": problem.budget }).to_string();
    let file = folder().join("slsqp-input.json");
    fs::write(&file, input).expect("the input can be written");
    let output = Command::new(python)
        .args(["-c", SCRIPT])
        // Small matrices: more threads than one only get in each other's way.
        .env("OPENBLAS_NUM_THREADS", "1")
        .stdin(fs::File::open(&file).expect("the input can be read"))
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "SciPy failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [seconds, utility] = numbers[..] else { panic!("two numbers are expected, not `{text}`") };
    compare("SciPy SLSQP", count, ours, Duration::from_secs_f64(seconds), found, utility, 1e-6, 20_000.0);
}

/// A Python that has SciPy, in a virtual environment of this benchmark's own.
fn python_with_scipy() -> Result<PathBuf, String> {
    let environment = folder().join("slsqp-python");
    let python = environment.join("bin/python");
    let has_scipy = || run(Command::new(&python).args(["-c", "import scipy"])).is_ok();
    if has_scipy() {
        return Ok(python);
    }
    println!("making a Python environment with SciPy in the target folder");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        .map_err(|why| format!("python3 with venv is needed: {why}"))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "scipy"]))
        .map_err(|why| format!("pip could not install scipy: {why}"))?;
    if has_scipy() { Ok(python) } else { Err("scipy cannot be imported".to_owned()) }
}

fn run(command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(text.lines().last().unwrap_or("it failed without a word").to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// A folder for what this benchmark makes.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn compare(
    whom: &str,
    count: usize,
    ours: Duration,
    theirs: Duration,
    found: f64,
    utility: f64,
    tolerance: f64,
    aim: f64,
) {
    let difference = (found - utility) / found;
    assert!(difference > -tolerance, "{whom} finds a better utility: {utility} instead of {found}");
    println!(
        "{whom}, {count} hosts: {} against our {}, {:.0} times (aim: {aim}); its utility is lower by a part of {difference:.1e}",
        show(theirs),
        show(ours),
        ratio(theirs, ours),
    );
}

fn time<T>(what: impl FnOnce() -> T) -> Duration {
    let started = Instant::now();
    std::hint::black_box(what());
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

fn show(time: Duration) -> String {
    format!("{time:.2?}")
}
