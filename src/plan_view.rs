//! A plan as people read it.

use std::fmt::Write as _;

use tycoon_executor::engine::Report;
use tycoon_market::{Credits, Quantity, ResourceKind};
use tycoon_planner::plan::{Change, DomainPlan, FieldChange, Goal, HostPlan, Plan, Unreached};
use tycoon_xen::spec::DomainSpec;

use crate::output::{Style, table};

/// How many equal lines are shown before the rest is only counted.
const MOST_DOMAINS: usize = 40;

/// All of a plan.
pub fn render(plan: &Plan, style: Style) -> String {
    let mut text = headline(plan, style);
    domains(&mut text, plan, style);
    market(&mut text, plan, style);
    hosts(&mut text, plan, style);
    text.push_str(&notes(plan, style));
    text.push_str(&unreached(plan, &style.yellow("note")));
    money(&mut text, plan, style);
    text
}

/// What else is worth saying of a plan, a line each: above all what it does not carry out.
pub fn notes(plan: &Plan, style: Style) -> String {
    plan.report.notes.iter().map(|note| format!("{}: {note}\n", style.yellow("note"))).collect()
}

/// One line that says what a plan does.
pub fn headline(plan: &Plan, style: Style) -> String {
    let simulated = if plan.is_simulated() { " (simulated hosts)" } else { "" };
    let name = style.bold(&format!("{}", plan.pool));
    if plan.is_empty() {
        let as_described = if plan.report.unreached.is_empty() {
            "everything is as described"
        } else {
            "everything is as described on the hosts that can be asked"
        };
        return format!("Pool {name}{simulated}: nothing to do, {as_described}.\n");
    }
    let mut parts = Vec::new();
    let mut part = |count: usize, what: &str| {
        if count > 0 {
            parts.push(format!("{count} to {what}"));
        }
    };
    part(plan.count(|change| matches!(change, Change::Create | Change::TakeUp { .. })), "create");
    part(plan.count(|change| matches!(change, Change::Start { .. })), "start");
    part(plan.count(|change| matches!(change, Change::Update { .. })), "change");
    part(plan.count(|change| matches!(change, Change::Replace { .. })), "replace");
    part(plan.count(|change| *change == Change::Remove), "remove");
    part(plan.count(|change| *change == Change::Keep), "keep");
    if parts.is_empty() {
        parts.push("only money moves".into());
    }
    format!("Pool {name}{simulated}: {}.\n", parts.join(", "))
}

fn domains(text: &mut String, plan: &Plan, style: Style) {
    let changing: Vec<&DomainPlan> = plan.domains.iter().filter(|domain| domain.change != Change::Keep).collect();
    if changing.is_empty() {
        return;
    }
    text.push('\n');
    let width = changing.iter().map(|domain| domain.path.as_str().len()).max().unwrap_or(0);
    for domain in changing.iter().take(MOST_DOMAINS) {
        let line =
            format!("{} {:width$}  {}  {}", domain.change.sign(), domain.path.as_str(), place(domain), what(domain));
        let line = match domain.change {
            Change::Create | Change::TakeUp { .. } => style.green(&line),
            Change::Remove => style.red(&line),
            Change::Replace { .. } => style.yellow(&line),
            _ => style.cyan(&line),
        };
        let _ = writeln!(text, "  {}", line.trim_end());
        for field in fields(&domain.change) {
            let _ = writeln!(text, "      {} {} → {}", field.field, field.from, field.to);
        }
        if let Change::Replace { why, .. } = &domain.change {
            let but = match domain.keeps.as_slice() {
                [] => String::new(),
                keeps => format!(", but for {}", keeps.join(", ")),
            };
            let _ = writeln!(text, "      {}: {why}; its disks are deleted{but}", style.yellow("replaced"));
        }
        if let Some(save) = &domain.saves {
            let _ = writeln!(text, "      {}: its root disk first, {save}", style.green("saved"));
        }
    }
    if changing.len() > MOST_DOMAINS {
        let _ = writeln!(text, "  … and {} more (all of them with --json)", changing.len() - MOST_DOMAINS);
    }
}

fn place(domain: &DomainPlan) -> String {
    match &domain.change {
        Change::Remove => format!("from {}", domain.host_name),
        Change::Replace { from: Some((_, from)), .. } => format!("from {from} to {}", domain.host_name),
        _ => format!("on {}", domain.host_name),
    }
}

fn what(domain: &DomainPlan) -> String {
    match (&domain.change, &domain.spec) {
        (Change::Create, Some(spec)) => describe(spec),
        (Change::TakeUp { volumes, .. }, Some(spec)) => {
            format!("{}, with what was kept of it: {}", describe(spec), volumes.join(", "))
        }
        (Change::Remove, _) if !domain.keeps.is_empty() => format!("and keep {} there", domain.keeps.join(", ")),
        (Change::Start { found }, _) => format!("is {found}: start it"),
        (Change::Update { restart: true, .. }, _) => "restart".into(),
        (Change::Update { restart: false, .. }, _) => "while it runs".into(),
        _ => String::new(),
    }
}

fn describe(spec: &DomainSpec) -> String {
    let ports: String = spec.forwards().map(|forward| format!(", port {forward}")).collect();
    format!("{}, {}{ports}", spec.show_size(), spec.image)
}

fn fields(change: &Change) -> &[FieldChange] {
    match change {
        Change::Update { fields, .. } | Change::TakeUp { fields, .. } | Change::Replace { fields, .. } => fields,
        _ => &[],
    }
}

/// The bids, where there are any.
fn market(text: &mut String, plan: &Plan, style: Style) {
    let bidding: Vec<&HostPlan> = plan.hosts.iter().filter(|host| host.bid.is_some() || host.closes).collect();
    if bidding.is_empty() || plan.is_empty() || plan.goal == Goal::Down {
        return;
    }
    let rows: Vec<Vec<String>> = bidding.iter().map(|host| bid_row(plan, host)).collect();
    text.push('\n');
    let header = ["HOST", "DOMAINS", "CPU SHARE", "MEMORY", "DISK", "BID AT MOST", ""];
    text.push_str(&indent(&table(&header, &rows, &[1, 2, 3, 4, 5], style)));
}

fn bid_row(plan: &Plan, host: &HostPlan) -> Vec<String> {
    let here = |domain: &&DomainPlan| domain.host == host.id && domain.change != Change::Remove;
    let domains = plan.domains.iter().filter(here).count();
    let amount = |kind: ResourceKind| {
        let quantity = host.expected.get(&kind).copied().unwrap_or_default();
        if quantity == Quantity::ZERO { "–".to_owned() } else { kind.show(quantity) }
    };
    let rate = host.bid.as_ref().map_or("–".to_owned(), |bid| format!("{:.4}/h", bid.rate.credits_per_hour()));
    let mut notes = Vec::new();
    if let Some(escrow) = host.escrow {
        notes.push(format!("{} into escrow", escrow.amount.rounded(2)));
    }
    if !host.redeem.is_empty() {
        notes.push("uses an escrow that was left".into());
    }
    if host.closes {
        notes.push("account closed, the rest comes back".into());
    } else if !host.refund.is_zero() {
        notes.push(format!("{} comes back", host.refund.rounded(2)));
    }
    if host.bid.as_ref().is_some_and(|bid| bid.bid.is_none()) {
        notes.push("bid stands".into());
    }
    vec![
        host.name.to_string(),
        domains.to_string(),
        amount(ResourceKind::Cpu),
        amount(ResourceKind::Memory),
        amount(ResourceKind::Disk),
        rate,
        notes.join(", "),
    ]
}

/// The hosts that were looked at, and why each was taken or not.
fn hosts(text: &mut String, plan: &Plan, style: Style) {
    if plan.report.hosts.is_empty() || plan.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nHosts that were looked at:");
    let width = plan.report.hosts.iter().map(|verdict| verdict.name.as_str().len()).max().unwrap_or(0);
    for verdict in &plan.report.hosts {
        let mark = if verdict.is_taken { style.green("taken    ") } else { style.dim("not taken") };
        let price = verdict.price.map(|price| price.credits_per_hour());
        let price = match price {
            Some(price) if verdict.is_crowded => format!("; one more would share its CPUs, from {price:.4}/h"),
            Some(price) => format!("; one more would cost up to {price:.4}/h"),
            None => String::new(),
        };
        let _ = writeln!(text, "  {:width$}  {mark}  {}{price}", verdict.name.as_str(), verdict.why);
    }
}

fn money(text: &mut String, plan: &Plan, style: Style) {
    if plan.is_empty() {
        return;
    }
    text.push('\n');
    let money = &plan.money;
    match (plan.goal, plan.period) {
        (Goal::Up, Some(period)) => {
            let _ = writeln!(
                text,
                "Costs at most {} credits per hour; budget {} for {}.",
                style.bold(&format!("{:.4}", money.rate.credits_per_hour())),
                period.budget.rounded(2),
                period.duration
            );
            let after = money.balance.checked_sub(money.escrow).unwrap_or(Credits::ZERO);
            if !money.escrow.is_zero() {
                let _ = writeln!(
                    text,
                    "Into escrow: {}. Balance {} → {}. What is not used comes back.",
                    style.bold(&money.escrow.rounded(2)),
                    money.balance.rounded(2),
                    after.rounded(2)
                );
            }
            if !money.refund.is_zero() {
                let _ = writeln!(text, "Back from escrow: about {}.", style.bold(&money.refund.rounded(2)));
            }
            if money.escrow.is_zero() && money.refund.is_zero() {
                text.push_str("No money moves.\n");
            }
        }
        _ => {
            let _ = writeln!(text, "About {} credits come back.", style.bold(&money.refund.rounded(2)));
        }
    }
}

/// The hosts that may hold something of the pool and could not be asked.
fn unreached(plan: &Plan, mark: &str) -> String {
    let told =
        |host: &Unreached| format!("{mark}: {} {}; what it holds of the pool is left as it is\n", host.name, host.why);
    plan.report.unreached.iter().map(told).collect()
}

/// The hosts that were not reached, and the steps that failed.
pub fn failures(plan: &Plan, report: &Report, style: Style) -> String {
    let mut text = unreached(plan, &style.red("failed"));
    for (step, error) in report.failures(plan) {
        let host = plan.host(&step.host).map_or_else(|| step.host.short(), |host| host.name.to_string());
        let _ = writeln!(text, "{}: {} on {host}: {error}", style.red("failed"), step.action.describe());
    }
    text
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
