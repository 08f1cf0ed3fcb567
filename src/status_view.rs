//! The state of pools as people read it.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tycoon_executor::status::{DomainRow, HostRow, KeptRow, PoolStatus};
use tycoon_market::auctioneer::{AccountState, Reason};
use tycoon_market::{Credits, ResourceKind, Timestamp, resource::show_bytes};

use crate::output::{Style, table};
use crate::time::{local, local_with_seconds};

/// The domains of a pool and what it costs.
pub fn render(status: &PoolStatus, now: Timestamp, style: Style) -> String {
    let mut text = String::new();
    if !(status.is_absent() && status.domains.is_empty()) {
        text.push_str(&domain_table(status, style));
    }
    text.push_str(&kept_table(&status.kept, style));
    if status.is_simulated {
        text.push_str(&style.dim("These hosts are simulated: no real machine was started.\n"));
    }
    for (host, why) in &status.unknown {
        let _ = writeln!(text, "{}: {host} {why}; what it holds is not shown", style.yellow("note"));
    }
    if !status.waiting.is_zero() {
        let _ = writeln!(
            text,
            "{}: {} credits wait in escrow, left by a run that was interrupted; `tycoon up` goes on, `tycoon down {}` \
             fetches them back",
            style.yellow("note"),
            status.waiting.rounded(2),
            status.pool
        );
    }
    if let Some(problem) = &status.bank_problem {
        let _ = writeln!(
            text,
            "{}: the bank cannot be asked ({problem}); what may wait in escrow is not shown",
            style.yellow("note")
        );
    }
    for domain in status.domains.iter().filter(|domain| !domain.forwards.is_empty()) {
        let ways = domain.forwards.iter().map(|way| format!("{}:{} to port {}", domain.host, way.port, way.to));
        let _ = writeln!(text, "`{}` is reached by {}.", domain.path, ways.collect::<Vec<_>>().join(", "));
    }
    for domain in &status.domains {
        text.push_str(&restarts(domain, style));
    }
    for row in &status.hosts {
        if let Some(warning) = warning(row) {
            let _ = writeln!(text, "{}: {warning}", style.yellow("warning"));
        }
    }
    for claim in &status.refused {
        let name = status.hosts.iter().find(|row| row.id == claim.host).map(|row| row.host.to_string());
        let _ = writeln!(
            text,
            "{}: {} claimed {} credits of an escrow of which it could have had {} at most; the bank refused that ({}, last \
             on {}): `tycoon bank statement` shows every line that it was paid",
            style.yellow("warning"),
            name.unwrap_or_else(|| claim.host.to_string()),
            claim.claimed.rounded(2),
            claim.granted.rounded(2),
            if claim.times == 1 { "once".to_owned() } else { format!("{} times", claim.times) },
            local_with_seconds(claim.at)
        );
    }
    if !status.hosts.is_empty() {
        let _ = writeln!(
            text,
            "Pays at most {:.4} credits per hour; charged so far {}; left with the hosts {}.",
            status.rate().credits_per_hour(),
            status.charged().rounded(4),
            status.left().rounded(2)
        );
    }
    if let Some(end) = status.expires_at() {
        let left = end.since(now);
        if left.is_zero() {
            let _ = writeln!(text, "The bid ended on {}; `tycoon up` begins a new period.", local(end));
        } else {
            let _ = writeln!(text, "Paid until {} ({left} left).", local(end));
        }
    }
    text
}

/// What the restart policy of a domain has done lately; nothing where there was nothing to do.
fn restarts(domain: &DomainRow, style: Style) -> String {
    let (path, host) = (&domain.path, &domain.host);
    let Some(report) = &domain.restarts else { return String::new() };
    let times = |count: u32| if count == 1 { "once".to_owned() } else { format!("{count} times") };
    if report.has_given_up {
        return format!(
            "{}: {host} does not start `{path}` again: it was started again {} of late, and ended once more; `tycoon up` \
             starts it\n",
            style.yellow("warning"),
            times(report.restarts)
        );
    }
    let next =
        report.next.map(|at| format!("`{path}` has ended, and is started again from {} on", local_with_seconds(at)));
    let last = report.last.filter(|_| report.restarts > 0).map(|at| {
        let (count, times) = (times(report.restarts), report.times);
        format!(
            "{host} has started `{path}` again {count} of late, last on {}; {times} are possible",
            local_with_seconds(at)
        )
    });
    let lines = next.into_iter().chain(last).map(|line| format!("{}: {line}\n", style.yellow("note")));
    lines.collect()
}

/// What threatens the pool on a host, and what to do about it.
fn warning(row: &HostRow) -> Option<String> {
    let host = &row.host;
    let cure = |reason: &Reason| match reason {
        Reason::OutOfFunds => "`tycoon up` pays again",
        Reason::Displaced => "`tycoon up` bids anew, with more money where the budget is raised",
        Reason::Evicted => "save what you need, and take the pool down or bring it up elsewhere",
    };
    match &row.state {
        AccountState::Active => None,
        AccountState::Idle => Some(format!("nothing is paid on {host} now; `tycoon up` pays again")),
        AccountState::Waiting => Some(format!(
            "the bid on {host} has to wait: others hold what it needs, or bid more; `tycoon up` bids anew"
        )),
        AccountState::Warned { reason, stop_at } => Some(format!(
            "{host} shuts down what the pool has there on {} ({reason}); {}",
            local(*stop_at),
            cure(reason)
        )),
        AccountState::Stopped { reason, delete_at } => Some(format!(
            "{host} has shut down what the pool has there ({reason}), and deletes its disks on {}; {}",
            local(*delete_at),
            cure(reason)
        )),
    }
}

/// The table of domains.
pub fn domain_table(status: &PoolStatus, style: Style) -> String {
    let rows: Vec<Vec<String>> = status
        .domains
        .iter()
        .map(|domain| {
            vec![
                domain.path.to_string(),
                domain.host.to_string(),
                domain.state.word().to_owned(),
                domain.address.map_or("–".to_owned(), |address| address.to_string()),
                show_bytes(domain.memory_bytes),
                domain.cpu_share.map_or("–".to_owned(), |share| ResourceKind::Cpu.show(share)),
                domain.rate.map_or("–".to_owned(), |rate| format!("{:.4}", rate.credits_per_hour())),
            ]
        })
        .collect();
    let header = ["DOMAIN", "HOST", "STATE", "ADDRESS", "MEMORY", "CPU SHARE", "COST/H AT MOST"];
    table(&header, &rows, &[4, 5, 6], style)
}

/// What is kept of domains that were removed; nothing where nothing is.
pub fn kept_table(kept: &[KeptRow], style: Style) -> String {
    if kept.is_empty() {
        return String::new();
    }
    let cells = |row: &KeptRow| {
        let volumes: Vec<String> =
            row.volumes.iter().map(|(name, bytes)| format!("{name} ({})", show_bytes(*bytes))).collect();
        vec![row.path.to_string(), row.host.to_string(), volumes.join(", "), local(row.until)]
    };
    let rows: Vec<Vec<String>> = kept.iter().map(cells).collect();
    table(&["REMOVED", "HOST", "KEPT VOLUMES", "KEPT UNTIL"], &rows, &[], style)
}

/// The same as data.
pub fn kept_json(kept: &[KeptRow]) -> Value {
    let volume = |(name, bytes): &(String, u64)| json!({ "volume": name, "bytes": bytes });
    let row = |row: &KeptRow| {
        json!({
            "domain": row.path,
            "host": row.host,
            "volumes": row.volumes.iter().map(volume).collect::<Vec<_>>(),
            "until_unix_us": row.until.micros(),
        })
    };
    kept.iter().map(row).collect()
}

/// A line per pool.
pub fn render_list(pools: &[PoolStatus], style: Style) -> String {
    let rows: Vec<Vec<String>> = pools
        .iter()
        .map(|pool| {
            let is_pressed = pool.hosts.iter().any(|row| warning(row).is_some());
            let state = match () {
                () if pool.is_absent() && !pool.kept.is_empty() => "volumes kept",
                () if pool.hosts.is_empty() && !pool.waiting.is_zero() => "left behind",
                () if is_pressed => "in danger",
                () if !pool.unknown.is_empty() => "partly known",
                () => "good",
            };
            let running = pool.domains.iter().filter(|domain| domain.state.is_active()).count();
            vec![
                pool.pool.to_string(),
                state.to_owned(),
                format!("{running}/{}", pool.domains.len()),
                pool.hosts.len().to_string(),
                format!("{:.4}", pool.rate().credits_per_hour()),
                pool.charged().rounded(4),
                sum_left(pool).rounded(2),
                pool.expires_at().map_or("–".to_owned(), local),
            ]
        })
        .collect();
    let header = ["POOL", "STATE", "RUNNING", "HOSTS", "COST/H AT MOST", "CHARGED", "LEFT", "PAID UNTIL"];
    table(&header, &rows, &[2, 3, 4, 5, 6], style)
}

/// What is left with the hosts, and what waits in escrow for them.
fn sum_left(pool: &PoolStatus) -> Credits {
    pool.left().checked_add(pool.waiting).unwrap_or(Credits::MAX)
}

/// The same as data. Money is in micro-credits, rates in credits per hour, amounts in base units.
pub fn to_json(status: &PoolStatus) -> Value {
    let micros = |credits: Credits| credits.micros();
    json!({
        "pool": status.pool,
        "simulated": status.is_simulated,
        "domains": status.domains.iter().map(|domain| json!({
            "domain": domain.path,
            "host": domain.host,
            "state": domain.state,
            "address": domain.address,
            "vcpus": domain.vcpus,
            "memory_bytes": domain.memory_bytes,
            "forwards": domain.forwards,
            "cpu_share": domain.cpu_share.map(|share| share.cpus()),
            "credits_per_hour_max": domain.rate.map(|rate| rate.credits_per_hour()),
            "restarts": domain.restarts.map(|restarts| json!({
                "count": restarts.restarts,
                "most": restarts.times,
                "last_unix_us": restarts.last.map(|at| at.micros()),
                "next_unix_us": restarts.next.map(|at| at.micros()),
                "given_up": restarts.has_given_up,
            })),
        })).collect::<Vec<_>>(),
        "kept": kept_json(&status.kept),
        "hosts": status.hosts.iter().map(|host| json!({
            "host": host.host,
            "state": host.state,
            "credits_per_hour_max": host.rate.credits_per_hour(),
            "funded_micro": micros(host.funded),
            "charged_micro": micros(host.charged),
            "balance_micro": micros(host.balance),
            "expires_at_unix_us": host.expires_at.map(|end| end.micros()),
        })).collect::<Vec<_>>(),
        "waiting_micro": micros(status.waiting),
        "refused_claims": status.refused,
        "bank_problem": status.bank_problem,
        "unknown_hosts": status.unknown.iter().map(|(host, why)| json!({ "host": host, "reason": why })).collect::<Vec<_>>(),
        "credits_per_hour_max": status.rate().credits_per_hour(),
        "charged_micro": micros(status.charged()),
        "left_micro": micros(status.left()),
    })
}
