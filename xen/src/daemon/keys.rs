//! Whose keys are whose, as the bank tells.
//!
//! A key that the bank has told nothing about stands for the account that is its own hash: a stranger, who may ask for
//! prices and hand in a first receipt. Every receipt names the keys that may act for its payer. It is signed by the
//! bank, which gives a key to one account at a time, so that nobody can put herself into another's account by a receipt
//! of her own. A receipt stays true only until the keys change, and an old one can be handed in at any time; therefore
//!
//! - the latest receipt of an account (by the bank's epoch and time) names all its keys, and older ones change nothing;
//! - a key that two accounts' receipts name belongs to the one with the later receipt;
//! - once the keys of an account are known, its first key has no right by its hash alone: it may have been removed.
//!
//! So a key that is removed at the bank loses access here as soon as a newer receipt is seen: at once where one is
//! handed in (also again for an escrow that is credited already), and otherwise within an hour, for the daemon asks for
//! one whenever it reports to the bank.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tycoon_market::receipt::{PAYER_KEYS_MAX, ReceiptTerms};
use tycoon_market::{AccountId, PublicKey, Timestamp};

/// Whose keys are whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyBook {
    accounts_of_keys: BTreeMap<PublicKey, AccountId>,
    /// How old what is known of an account's keys is.
    told: BTreeMap<AccountId, Told>,
}

/// When the bank told the keys of an account. Later ones are larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    epoch: u64,
    at: Timestamp,
}

/// What is known of the keys of one account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AccountKeys {
    told: Option<Told>,
    keys: BTreeSet<PublicKey>,
}

impl KeyBook {
    /// The book of what is known of each account.
    pub(super) fn of(accounts: BTreeMap<AccountId, AccountKeys>) -> Self {
        let mut book = Self::default();
        for (account, known) in accounts {
            book.told.extend(known.told.map(|told| (account, told)));
            book.accounts_of_keys.extend(known.keys.into_iter().map(|key| (key, account)));
        }
        book
    }

    /// What is known of each account.
    pub(super) fn by_account(&self) -> BTreeMap<AccountId, AccountKeys> {
        let told = |told: &Told| AccountKeys { told: Some(*told), keys: BTreeSet::new() };
        let mut accounts: BTreeMap<AccountId, AccountKeys> =
            self.told.iter().map(|(account, known)| (*account, told(known))).collect();
        for (key, account) in &self.accounts_of_keys {
            let nothing = || AccountKeys { told: None, keys: BTreeSet::new() };
            accounts.entry(*account).or_insert_with(nothing).keys.insert(*key);
        }
        accounts
    }

    /// The account that a key acts for; `None` for a key that was removed from its account.
    pub(super) fn account_of(&self, key: &PublicKey) -> Option<AccountId> {
        if let Some(account) = self.accounts_of_keys.get(key) {
            return Some(*account);
        }
        let own = AccountId::of(key);
        (!self.told.contains_key(&own)).then_some(own)
    }

    /// True for a key that the bank has said to be one of the account's.
    pub(super) fn is_of(&self, key: &PublicKey, account: &AccountId) -> bool {
        self.accounts_of_keys.get(key) == Some(account)
    }

    /// True for a key of which the bank has told.
    pub(super) fn knows(&self, key: &PublicKey) -> bool {
        self.accounts_of_keys.contains_key(key)
    }

    /// True where a receipt tells nothing that is not known.
    pub(super) fn has_learned(&self, terms: &ReceiptTerms) -> bool {
        let told = Told { epoch: terms.epoch, at: terms.issued_at };
        let its: BTreeSet<&PublicKey> =
            self.accounts_of_keys.iter().filter(|(_, account)| **account == terms.payer).map(|(key, _)| key).collect();
        self.told.get(&terms.payer).is_some_and(|known| {
            *known > told || (*known == told && its == terms.payer_keys.iter().collect::<BTreeSet<_>>())
        })
    }

    /// Takes in the keys that a receipt names, which the bank's signature vouches for.
    pub(super) fn learn(&mut self, terms: &ReceiptTerms) {
        let told = Told { epoch: terms.epoch, at: terms.issued_at };
        if self.told.get(&terms.payer).is_some_and(|known| *known > told) {
            return;
        }
        self.accounts_of_keys.retain(|_, account| *account != terms.payer);
        for key in terms.payer_keys.iter().take(PAYER_KEYS_MAX) {
            let other = self.accounts_of_keys.get(key).and_then(|other| self.told.get(other));
            if other.is_none_or(|other| *other <= told) {
                self.accounts_of_keys.insert(*key, terms.payer);
            }
        }
        self.told.insert(terms.payer, told);
    }

    /// True where it knows of other accounts than these.
    pub(super) fn has_others(&self, accounts: &BTreeSet<AccountId>) -> bool {
        self.accounts_of_keys.values().chain(self.told.keys()).any(|account| !accounts.contains(account))
    }

    /// Forgets all accounts but these.
    pub(super) fn retain(&mut self, accounts: &BTreeSet<AccountId>) {
        self.accounts_of_keys.retain(|_, account| accounts.contains(account));
        self.told.retain(|account, _| accounts.contains(account));
    }
}

#[cfg(test)]
mod tests {
    use tycoon_market::{Credits, EscrowId, HostId, Rate, TimeSpan};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        use tycoon_rpc::Signer as _;
        tycoon_rpc::SecretKey::from_seed(&[seed; 32]).public_key()
    }

    /// What a receipt of the account of key `first` says about its keys at a time.
    fn terms(first: u8, keys: &[u8], epoch: u64, seconds: i64) -> ReceiptTerms {
        ReceiptTerms {
            bank: key(100),
            epoch,
            escrow: EscrowId::from_bytes([first; 16]),
            payer: AccountId::of(&key(first)),
            payer_keys: keys.iter().map(|seed| key(*seed)).collect(),
            pool: "hello".parse().unwrap(),
            host: HostId::of(&key(101)),
            beneficiary: AccountId::of(&key(102)),
            amount: Credits::from_micros(1),
            longest: TimeSpan::from_seconds(1),
            highest_rate: Rate::ZERO,
            opened_at: Timestamp::from_seconds(seconds),
            issued_at: Timestamp::from_seconds(seconds),
        }
    }

    fn book(receipts: &[ReceiptTerms]) -> KeyBook {
        let mut book = KeyBook::default();
        receipts.iter().for_each(|terms| book.learn(terms));
        book
    }

    fn account(first: u8) -> Option<AccountId> {
        Some(AccountId::of(&key(first)))
    }

    #[test]
    fn a_stranger_is_her_own_account_and_a_second_key_is_that_of_the_first() {
        let book = book(&[terms(1, &[1, 2], 1, 10)]);
        assert_eq!([1, 2, 3].map(|seed| book.account_of(&key(seed))), [account(1), account(1), account(3)]);
        assert!(book.knows(&key(2)) && !book.knows(&key(3)));
    }

    #[test]
    fn a_removed_key_has_lost_its_account_even_where_it_was_the_first() {
        let book = book(&[terms(1, &[1, 2, 3], 1, 10), terms(1, &[2], 1, 20)]);
        assert_eq!(book.account_of(&key(2)), account(1));
        assert_eq!(book.account_of(&key(1)), None, "the account is its hash, and it was removed all the same");
        assert_eq!(book.account_of(&key(3)), account(3), "it is a stranger again");
    }

    #[test]
    fn an_old_receipt_gives_no_key_back() {
        for old in [terms(1, &[1, 2], 1, 10), terms(1, &[1, 2], 0, 99)] {
            let book = book(&[terms(1, &[1], 1, 20), old]);
            assert_eq!(book.account_of(&key(2)), account(2));
        }
    }

    #[test]
    fn a_key_belongs_to_the_account_with_the_later_receipt() {
        let before = terms(1, &[1, 9], 1, 10);
        let after = terms(2, &[2, 9], 1, 20);
        for receipts in [[before.clone(), after.clone()], [after, before]] {
            assert_eq!(book(&receipts).account_of(&key(9)), account(2));
        }
    }

    #[test]
    fn what_is_forgotten_is_a_stranger_s_again() {
        let mut book = book(&[terms(1, &[1, 2], 1, 10), terms(3, &[3], 1, 10)]);
        book.retain(&account(3).into_iter().collect());
        assert_eq!(book, self::book(&[terms(3, &[3], 1, 10)]));
    }
}
