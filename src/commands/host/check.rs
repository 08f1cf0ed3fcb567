//! `tycoon host check`: whether the machine it runs on is a good host, and what it sells.

use std::path::Path;

use tycoon_xen::survey::Survey;

use super::driver;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;

/// Looks at this machine.
pub fn run(output: &Output) -> Result<Exit, Failure> {
    let survey = Survey::take();
    for good in &survey.good {
        output.message(&format!("✓ {good}"));
    }
    for problem in &survey.problems {
        output.message(&format!("✗ {}\n    {}", problem.what, problem.remedy));
    }
    if !survey.problems.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("this machine has {} problem(s)", survey.problems.len())));
    }
    let machine = machine::load(Path::new(MACHINE_FILE))?;
    let facts =
        driver::open(&machine)?.hypervisor.facts().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    if output.json {
        output.print_json(&facts);
        return Ok(Exit::Ok);
    }
    let sells: Vec<String> =
        facts.capacity.iter().map(|(kind, quantity)| format!("{} of {kind}", kind.show(*quantity))).collect();
    output.print(&format!("{} sells {}\n", facts.hypervisor, sells.join(", ")));
    output.print(&format!("images: {}\n", facts.images.join(", ")));
    Ok(Exit::Ok)
}
