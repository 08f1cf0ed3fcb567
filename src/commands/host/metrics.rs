//! What the market of a host counts, for Prometheus.

use tycoon_rpc::server::metrics::Exposition;
use tycoon_xen::daemon::MarketFigures;

/// Writes the figures. Rates are in pico-credits per second for one price unit: a CPU, a GiB.
pub fn write(figures: &MarketFigures, bank_is_reached: bool, text: &mut Exposition) {
    let reached = "1 where the bank answers as the one that is to pay the host, 0 where it does not.";
    text.gauge("tycoon_host_bank_reached", reached, i64::from(bank_is_reached));
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let prices = figures.prices.iter().map(|(kind, rate)| (kind.word(), count(rate.picos_per_second())));
    let price = "What a price unit (a CPU, a GiB) costs now, in pico-credits per second.";
    text.gauges("tycoon_host_price_pico_credits_per_second", price, "resource", prices);
    let amounts = |amounts: &std::collections::BTreeMap<tycoon_market::ResourceKind, tycoon_market::Quantity>| {
        amounts.iter().map(|(kind, amount)| (kind.word(), count(amount.amount()))).collect::<Vec<_>>()
    };
    let units = "in its base unit (millionths of a CPU, bytes, bits per second).";
    text.gauges("tycoon_host_capacity", &format!("What is sold, {units}"), "resource", amounts(&figures.capacity));
    text.gauges(
        "tycoon_host_allocated",
        &format!("What accounts have, {units}"),
        "resource",
        amounts(&figures.allocated),
    );
    let accounts = figures.accounts.iter().map(|(word, number)| (*word, count(*number)));
    text.gauges("tycoon_host_accounts", "Host accounts by where they stand.", "state", accounts);
    let income = &figures.income;
    let earned = u64::try_from(income.ever_charged.micros()).unwrap_or(0);
    text.counter("tycoon_host_charged_micro_credits_total", "All that was ever charged.", earned);
    text.gauge("tycoon_host_due_micro_credits", "Charged and not yet paid by the bank.", income.due.micros());
    text.counter("tycoon_host_ticks_total", "Allocations since the start.", figures.ticks);
    text.counter("tycoon_host_failed_ticks_total", "Allocations that failed.", figures.failed_ticks);
    text.counter("tycoon_host_tick_micros_total", "Time that allocations took, in microseconds.", figures.tick_micros);
    text.counter("tycoon_host_saves_total", "Changes that were put on disk.", figures.saves);
    text.counter("tycoon_host_events_total", "Events, in all of the host's life.", figures.last_event);
    text.counter("tycoon_host_faults_total", "Things that went wrong and were tried again.", figures.faults);
}
