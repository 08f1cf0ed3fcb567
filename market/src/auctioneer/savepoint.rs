//! Taking back a call that is refused.

use std::collections::BTreeMap;

use super::unique_lots::Lot;
use super::unique_states::UniqueRecord;
use super::{Auctioneer, HostConfig, Quote};
use crate::price_statistics::PriceStatistics;
use crate::{HostAccountId, Rate, ResourceKind, Timestamp, UniqueId};

/// All of a market but its accounts, whose former states are noted as they are touched, and the receipts of closed
/// accounts, which follow from these.
pub(super) struct Savepoint {
    config: HostConfig,
    draining: bool,
    accounted_at: Timestamp,
    ticked_at: Timestamp,
    next_sequence: u64,
    quotes: BTreeMap<HostAccountId, Quote>,
    prices: BTreeMap<ResourceKind, Rate>,
    lots: BTreeMap<UniqueId, Lot>,
    unique_records: BTreeMap<UniqueId, UniqueRecord>,
    statistics: BTreeMap<ResourceKind, PriceStatistics>,
    is_calm: bool,
    quiet_until: Option<Timestamp>,
}

impl Auctioneer {
    /// Begins a call that may be refused.
    pub(super) fn begin(&mut self) -> Savepoint {
        self.accounts.watch();
        Savepoint {
            config: self.config.clone(),
            draining: self.draining,
            accounted_at: self.accounted_at,
            ticked_at: self.ticked_at,
            next_sequence: self.next_sequence,
            quotes: self.quotes.clone(),
            prices: self.prices.clone(),
            lots: self.lots.clone(),
            unique_records: self.unique_records.clone(),
            statistics: self.statistics.clone(),
            is_calm: self.index.is_calm,
            quiet_until: self.index.quiet_until,
        }
    }

    /// Makes everything as it was when the call began.
    pub(super) fn take_back(&mut self, savepoint: Savepoint) {
        for (id, former) in self.accounts.watched() {
            match &former {
                Some(account) => {
                    if !self.accounts.contains_key(&id) {
                        // The call closed it. A receipt is in one account only, so that these are its own.
                        for totals in account.money.receipts() {
                            self.closed.remove(&totals.receipt);
                        }
                    }
                    self.index.add(&id, account);
                }
                None => self.index.remove(&id),
            }
            self.accounts.put_back(id, former);
        }
        self.config = savepoint.config;
        self.draining = savepoint.draining;
        self.accounted_at = savepoint.accounted_at;
        self.ticked_at = savepoint.ticked_at;
        self.next_sequence = savepoint.next_sequence;
        self.quotes = savepoint.quotes;
        self.prices = savepoint.prices;
        self.lots = savepoint.lots;
        self.unique_records = savepoint.unique_records;
        self.statistics = savepoint.statistics;
        self.index.is_calm = savepoint.is_calm;
        self.index.quiet_until = savepoint.quiet_until;
    }
}
