//! The money of one host account, receipt by receipt.

use serde::{Deserialize, Serialize};

use super::account::ReceiptTotals;
use crate::fine::FineCredits;
use crate::{Credits, EscrowId, Rate};

/// The money of one host account.
///
/// What is spent is taken from the oldest receipt first, what goes back from the newest. Spending is counted in fine
/// credits; a receipt is charged when a whole micro-credit has come together. At all times
/// `bid + contingency + owed` is what is left on the receipts, and charged + refunded + left = funded on each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Money {
    receipts: Vec<Receipt>,
    /// The first receipt with something left.
    oldest_open: usize,
    /// What the account bids with.
    pub(super) bid: FineCredits,
    /// What is set aside to defend its minima.
    pub(super) contingency: FineCredits,
    /// What is spent but not yet charged: less than a micro-credit.
    owed: FineCredits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Receipt {
    #[serde(flatten)]
    totals: ReceiptTotals,
    highest_rate: Option<Rate>,
}

/// Sums that cannot overflow: all are at most the total funded, which is checked when it grows.
fn sum(amounts: impl Iterator<Item = Credits>) -> Credits {
    Credits::from_micros(amounts.map(Credits::micros).fold(0, i64::saturating_add))
}

impl Money {
    /// Adds a receipt to what is bid with; false where the total can no longer be counted.
    pub(super) fn fund(&mut self, id: EscrowId, amount: Credits, highest_rate: Option<Rate>) -> bool {
        if self.funded().checked_add(amount).is_none() {
            return false;
        }
        let totals = ReceiptTotals { receipt: id, funded: amount, drawn: Credits::ZERO, released: Credits::ZERO };
        self.receipts.push(Receipt { totals, highest_rate });
        self.bid = self.bid.plus(FineCredits::from_credits(amount));
        true
    }

    pub(super) fn receipt(&self, id: EscrowId) -> Option<&ReceiptTotals> {
        self.totals().find(|totals| totals.receipt == id)
    }

    /// The totals of all receipts, the oldest first.
    pub(super) fn totals(&self) -> impl Iterator<Item = &ReceiptTotals> {
        self.receipts.iter().map(|receipt| &receipt.totals)
    }

    pub(super) fn receipts(&self) -> Vec<ReceiptTotals> {
        self.receipts_from(0)
    }

    /// The totals of the receipts from the `first` one on that have been drawn from.
    pub(super) fn drawn_from(&self, first: usize) -> Vec<ReceiptTotals> {
        self.receipts_from(first).into_iter().filter(|totals| !totals.drawn.is_zero()).collect()
    }

    fn receipts_from(&self, first: usize) -> Vec<ReceiptTotals> {
        self.totals().skip(first).cloned().collect()
    }

    pub(super) fn receipt_count(&self) -> usize {
        self.receipts.len()
    }

    pub(super) const fn oldest_open(&self) -> usize {
        self.oldest_open
    }

    pub(super) fn funded(&self) -> Credits {
        sum(self.receipts.iter().map(|receipt| receipt.totals.funded))
    }

    pub(super) fn charged(&self) -> Credits {
        sum(self.receipts.iter().map(|receipt| receipt.totals.drawn))
    }

    pub(super) fn refunded(&self) -> Credits {
        sum(self.receipts.iter().map(|receipt| receipt.totals.released))
    }

    /// What is left, including the micro-credit that is partly owed.
    pub(super) fn balance(&self) -> Credits {
        sum(self.receipts.iter().map(|receipt| receipt.totals.left()))
    }

    /// What can be spent or given back.
    pub(super) fn available(&self) -> FineCredits {
        self.bid.plus(self.contingency)
    }

    /// The lowest of the highest rates of receipts with something left.
    pub(super) fn highest_rate(&self) -> Option<Rate> {
        let open = self.receipts.iter().skip(self.oldest_open).filter(|receipt| !receipt.totals.left().is_zero());
        open.filter_map(|receipt| receipt.highest_rate).min()
    }

    /// Spends from what is bid with, as far as it goes; returns what came to be charged by it.
    pub(super) fn spend_bid(&mut self, amount: FineCredits) -> Credits {
        let amount = amount.min(self.bid);
        self.bid = self.bid.less(amount);
        self.owe(amount)
    }

    /// Spends from what is set aside, then from what is bid with, as far as both go; returns what came to be charged.
    pub(super) fn spend_top_up(&mut self, amount: FineCredits) -> Credits {
        let first = amount.min(self.contingency);
        self.contingency = self.contingency.less(first);
        let charged = self.owe(first);
        sum([charged, self.spend_bid(amount.less(first))].into_iter())
    }

    fn owe(&mut self, amount: FineCredits) -> Credits {
        self.owed = self.owed.plus(amount);
        let mut due = self.owed.whole();
        let charged = due;
        self.owed = self.owed.less(FineCredits::from_credits(due));
        while !due.is_zero() {
            let Some(receipt) = self.receipts.get_mut(self.oldest_open) else { break };
            let drawn = due.min(receipt.totals.left());
            receipt.totals.drawn = sum([receipt.totals.drawn, drawn].into_iter());
            due = due.saturating_sub_at_zero(drawn);
            if !due.is_zero() {
                self.oldest_open += 1;
            }
        }
        self.skip_used_up();
        charged.saturating_sub_at_zero(due)
    }

    fn skip_used_up(&mut self) {
        while self.receipts.get(self.oldest_open).is_some_and(|receipt| receipt.totals.left().is_zero()) {
            self.oldest_open += 1;
        }
    }

    /// Gives `amount` back, from the newest receipts, out of what is bid with and then of what is set aside; returns
    /// the totals of the receipts concerned. The caller has checked that it is available.
    pub(super) fn refund(&mut self, amount: Credits) -> Vec<ReceiptTotals> {
        self.take(amount);
        let mut due = amount;
        let mut concerned = Vec::new();
        for receipt in self.receipts.iter_mut().rev() {
            let released = due.min(receipt.totals.left());
            if !released.is_zero() {
                receipt.totals.released = sum([receipt.totals.released, released].into_iter());
                due = due.saturating_sub_at_zero(released);
                concerned.push(receipt.totals.clone());
            }
            if due.is_zero() {
                break;
            }
        }
        self.skip_used_up();
        concerned.reverse();
        concerned
    }

    /// Gives all that is left of one receipt back; `None` where there is no such receipt.
    pub(super) fn end_receipt(&mut self, id: EscrowId) -> Option<ReceiptTotals> {
        let index = self.receipts.iter().position(|receipt| receipt.totals.receipt == id)?;
        let left = self.receipts[index].totals.left();
        self.take(left);
        let totals = &mut self.receipts[index].totals;
        totals.released = sum([totals.released, left].into_iter());
        let ended = totals.clone();
        self.skip_used_up();
        Some(ended)
    }

    /// Gives everything back and returns the final totals.
    pub(super) fn close(mut self) -> Vec<ReceiptTotals> {
        for receipt in &mut self.receipts {
            let left = receipt.totals.left();
            receipt.totals.released = sum([receipt.totals.released, left].into_iter());
        }
        self.receipts()
    }

    /// Takes what goes back out of the funds. The last micro-credit may be partly owed: that part is forgiven.
    fn take(&mut self, amount: Credits) {
        let amount = FineCredits::from_credits(amount);
        let from_bid = amount.min(self.bid);
        let from_contingency = amount.less(from_bid).min(self.contingency);
        self.bid = self.bid.less(from_bid);
        self.contingency = self.contingency.less(from_contingency);
        self.owed = self.owed.less(amount.less(from_bid).less(from_contingency));
    }

    /// What is wrong with the books, if anything is.
    pub(super) fn audit(&self) -> Option<String> {
        let left = FineCredits::from_credits(self.balance());
        let funds = self.bid.plus(self.contingency).plus(self.owed);
        if left != funds {
            return Some(format!("the receipts have {left:?} left but the funds are {funds:?}"));
        }
        if !self.owed.whole().is_zero() {
            return Some(format!("a whole micro-credit is owed: {:?}", self.owed));
        }
        let totals = [self.charged(), self.refunded(), self.balance()];
        if Credits::checked_sum(totals) != Some(self.funded()) {
            return Some(format!("charged, refunded and balance {totals:?} are not {}", self.funded()));
        }
        let wrong = self.receipts.iter().find(|receipt| {
            let totals = &receipt.totals;
            totals.drawn.is_negative() || totals.released.is_negative() || totals.left().is_negative()
        });
        wrong.map(|receipt| format!("a receipt is overdrawn: {receipt:?}"))
    }
}
