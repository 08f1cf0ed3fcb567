//! Checks on a real host that its driver keeps the rules of a hypervisor, with domains of its own that it removes.
//!
//! ```text
//! conformance MACHINE.json [IMAGE [PART OF A RULE'S NAME]]
//! ```
//!
//! `MACHINE.json` describes the machine as `Machine` is written in JSON; the image is `std:tiny` where none is named.
//! It prints each rule with `ok` or what was found instead, and the time it took. It ends with 1 where a rule is broken.

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{RULES, Surroundings, check};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::libvirt::LibvirtHost;
use tycoon_xen::machine::Machine;
use tycoon_xen::storage::MachineStorage;

struct RealHost {
    machine: Machine,
    image: String,
}

impl Surroundings for RealHost {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        let storage = Arc::new(MachineStorage::open(self.machine.clone())?);
        Ok(Box::new(LibvirtHost::open(&self.machine, storage)?))
    }

    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_seconds(0).plus(TimeSpan::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX)))
    }

    fn pass(&self, span: TimeSpan) {
        std::thread::sleep(Duration::from_micros(span.micros()));
    }

    fn image(&self) -> String {
        self.image.clone()
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(machine) = arguments.first() else {
        eprintln!("Usage: conformance MACHINE.json [IMAGE [PART OF A RULE'S NAME]]");
        return Ok(ExitCode::from(2));
    };
    let text = std::fs::read_to_string(machine).map_err(|error| format!("{machine}: {error}"))?;
    let machine: Machine = serde_json::from_str(&text).map_err(|error| format!("{machine}: {error}"))?;
    let image = arguments.get(1).cloned().unwrap_or_else(|| "std:tiny".to_owned());
    let host = RealHost { machine, image };
    println!("{:?}", host.open()?.facts()?);
    let part = arguments.get(2).map_or("", String::as_str);
    let mut is_broken = false;
    for rule in RULES.iter().filter(|rule| rule.name.contains(part)) {
        let begun = Instant::now();
        let outcome = check(rule, &host);
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("ok      {seconds:6.1} s  {}", rule.name),
            Err(violation) => {
                is_broken = true;
                println!("BROKEN  {seconds:6.1} s  {}: {violation}", rule.name);
            }
        }
    }
    Ok(if is_broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
