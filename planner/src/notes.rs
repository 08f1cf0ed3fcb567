//! What a description asks for and this version does not carry out: it is said, and never passed over.

use tycoon_lang::pool::{CloudInit, Pool, WhenSpent};

use crate::late::{self, Addresses};

/// A sentence for each thing in the description that is checked and has no effect yet.
pub fn not_carried_out(pool: &Pool) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |what: &str, domains: Vec<&str>| {
        if let Some(first) = domains.first() {
            let others = match domains.len() {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            notes.push(format!("{what} of `{first}`{others} is checked, and not carried out yet"));
        }
    };
    let of = |asks: &dyn Fn(&tycoon_lang::pool::Domain) -> bool| {
        pool.domains.iter().filter(|domain| asks(domain)).map(|domain| domain.path.as_str()).collect()
    };
    let addresses = Addresses::of(pool);
    let is_left_out = |seed: &CloudInit| !late::can_wait(&addresses, seed);
    let left_out = of(&|domain| domain.cloud_init.as_ref().is_some_and(is_left_out));
    note("a live value in `cloud-init` that is not the address of a first interface", left_out);
    note("`read-only` of a volume", of(&|domain| domain.volumes.iter().any(|volume| volume.read_only)));
    note("`workflow`", pool.workflows.iter().map(|workflow| workflow.path.as_str()).collect());
    note("`need`", pool.needs.iter().map(|need| need.component.as_str()).collect());
    if pool.bid.is_some() {
        notes.push("`bid` of the pool is checked, and not carried out yet: it bids by best response on CPU".into());
    }
    if let Some(budget) = &pool.budget
        && (!budget.reserve.is_zero() || budget.when_spent != WhenSpent::Drain)
    {
        notes.push("`reserve` and `when-spent` of the budget are checked, and not carried out yet".into());
    }
    if !pool.assertions.is_empty() {
        notes.push("assertions over live values are checked, and not watched yet".into());
    }
    notes
}
