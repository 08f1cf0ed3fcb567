//! `tycoon host trial`: tries everything a host has to do, with small domains of its own that it removes.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde_json::json;
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{RULES, Surroundings, check};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::machine::Machine;

use super::driver;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};
use crate::output::Output;

/// Arguments of `tycoon host trial`.
#[derive(Args, Debug)]
pub struct TrialArgs {
    /// The image that the domains start from
    #[arg(long, default_value = "std:tiny", value_name = "NAME")]
    image: String,
    /// Try only the rules whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// This machine, opened anew whenever a rule wants to see what lasts.
struct ThisMachine {
    machine: Machine,
    image: String,
}

impl Surroundings for ThisMachine {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        driver::open_hypervisor(&self.machine)
    }

    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn pass(&self, span: TimeSpan) {
        std::thread::sleep(Duration::from_micros(span.micros()));
    }

    fn image(&self) -> String {
        self.image.clone()
    }
}

/// Tries the machine.
pub fn run(arguments: &TrialArgs, output: &Output) -> Result<Exit, Failure> {
    let machine = machine::load(Path::new(MACHINE_FILE))?;
    // Tells at once what would stop every rule.
    driver::open(&machine)?;
    let surroundings = ThisMachine { machine, image: arguments.image.clone() };
    let wanted = arguments.only.as_deref().unwrap_or_default();
    let mut told = Vec::new();
    let mut broken = 0;
    for rule in RULES.iter().filter(|rule| rule.name.contains(wanted)) {
        let begun = Instant::now();
        let violation = check(rule, &surroundings).err().map(|violation| violation.to_string());
        let seconds = begun.elapsed().as_secs_f64();
        broken += usize::from(violation.is_some());
        if output.json {
            told.push(
                json!({ "rule": rule.name, "kept": violation.is_none(), "found": violation, "seconds": seconds }),
            );
            continue;
        }
        match violation {
            None => output.print(&format!("✓ {seconds:6.1} s  {}\n", rule.name)),
            Some(found) => output.print(&format!("✗ {seconds:6.1} s  {}\n             {found}\n", rule.name)),
        }
    }
    if output.json {
        output.print_json(&told);
    }
    Ok(if broken == 0 { Exit::Ok } else { Exit::Failed })
}
