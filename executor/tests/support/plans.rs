//! Plans made by hand: steps, hosts, and what needs what.

use std::collections::BTreeMap;

use tycoon_market::{AccountId, Credits, HostId, HostName, TimeSpan, Timestamp};
use tycoon_planner::plan::{Action, Change, DomainPlan, Goal, Money, Plan, PlanId, Report, Step, StepId};
use tycoon_planner::world::Period;

/// The `number`th host.
pub fn host(number: usize) -> HostId {
    format!("{number:032x}").parse().unwrap()
}

fn host_name(number: usize) -> HostName {
    format!("host{number}").parse().unwrap()
}

/// A plan of these steps: each with its host and the numbers of those it needs.
pub fn plan(steps: &[(usize, Vec<usize>)]) -> Plan {
    let step = |(number, (on, needs)): (usize, &(usize, Vec<usize>))| Step {
        id: StepId(number as u32),
        host: host(*on),
        action: Action::EnsureImage { image: format!("image-{number}") },
        needs: needs.iter().map(|need| StepId(*need as u32)).collect(),
    };
    Plan {
        id: PlanId::from_bytes([7; 16]),
        parent: None,
        generation: 1,
        pool: "hello".parse().unwrap(),
        account: "0f".repeat(16).parse::<AccountId>().unwrap(),
        created_at: Timestamp::from_seconds(1_000),
        goal: Goal::Up,
        period: None,
        domains: Vec::new(),
        hosts: Vec::new(),
        steps: steps.iter().enumerate().map(step).collect(),
        report: Report::default(),
        money: Money::default(),
    }
}

/// A plan without steps, for what a journal remembers: domains by their paths and hosts.
pub fn remembered(id: u8, generation: u64, goal: Goal, domains: &[(&str, usize)]) -> Plan {
    let domain = |(path, number): &(&str, usize)| DomainPlan {
        path: path.parse().unwrap(),
        change: if goal == Goal::Up { Change::Create } else { Change::Remove },
        host: host(*number),
        host_name: host_name(*number),
        spec: None,
        expected_cpu: None,
        rate: None,
        keeps: Vec::new(),
        saves: None,
        deletes: false,
    };
    Plan {
        id: PlanId::from_bytes([id; 16]),
        generation,
        goal,
        period: (goal == Goal::Up).then(period),
        domains: domains.iter().map(domain).collect(),
        ..plan(&[])
    }
}

pub fn period() -> Period {
    Period {
        started_at: Timestamp::from_seconds(1_000),
        duration: TimeSpan::from_seconds(3_600),
        budget: Credits::from_micros(10_000_000),
        charged_before: Credits::ZERO,
    }
}

/// Where domains were last put.
pub fn placements(domains: &[(&str, usize)]) -> BTreeMap<tycoon_xen::spec::DomainPath, HostId> {
    domains.iter().map(|(path, number)| (path.parse().unwrap(), host(*number))).collect()
}
