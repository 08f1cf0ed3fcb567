//! `tycoon test`: the expectations that a description has of itself.

use clap::Args;
use serde_json::json;
use tycoon_lang::run_tests;

use crate::cli::DescriptionArgs;
use crate::description;
use crate::exit::Exit;
use crate::failure::{Failure, diagnostics_json, render_diagnostics};
use crate::output::Output;

/// Arguments of `tycoon test`.
#[derive(Args, Debug)]
pub struct TestArgs {
    #[command(flatten)]
    description: DescriptionArgs,
}

/// Runs the tests of a file. A file that cannot be read, or is not sound and has no tests, ends as with `tycoon check`.
pub fn run(arguments: &TestArgs, output: &Output) -> Result<Exit, Failure> {
    let (loader, options) = description::loader(&arguments.description)?;
    let reports = run_tests(&arguments.description.file, &loader, &options).map_err(Failure::description)?;
    let failed = reports.iter().filter(|report| !report.passed()).count();
    if output.json {
        let tests: Vec<_> = reports
            .iter()
            .map(|report| {
                let failures = diagnostics_json(&report.sources, &report.failures);
                json!({ "name": report.name, "passed": report.passed(), "failures": failures })
            })
            .collect();
        output.print_json(&tests);
    } else {
        for report in &reports {
            let word = if report.passed() { output.stdout.green("ok") } else { output.stdout.red("FAILED") };
            output.print(&format!("{word}  {}\n", report.name));
            output.error(&render_diagnostics(&report.sources, &report.failures, output.stderr));
        }
        output.print(&format!("{} passed, {failed} failed\n", reports.len() - failed));
        if reports.is_empty() {
            output.message(&format!(
                "{} is sound, but has no tests; write one: `test \"what it shows\" {{ expect \"…\"; }}`",
                arguments.description.file
            ));
        }
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failed })
}
