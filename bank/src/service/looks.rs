//! What is read: accounts, histories, transfers, reservations, escrows.

use http::StatusCode;
use tycoon_market::{AccountId, EscrowId, HostId, PoolName, Timestamp, TransferId};
use tycoon_rpc::receiver::json;
use tycoon_rpc::{Call, Problem};

use super::calls::Call as Named;
use super::changes::unexpected;
use super::{BankService, Reply, failed, forbidden, segment};
use crate::api::{BankInfo, EscrowInfo, PAGE_DEFAULT, PAGE_MAX, Page, Paid};
use crate::ledger::{AccountKind, Entry, LinePlace, Refusal, SILENCE_MAX};
use crate::problem;

/// Entries that are looked through for one page of a filtered history.
const SCAN_MAX: usize = 5_000;

impl BankService {
    /// The answer to a call that reads.
    pub(super) fn look(&self, named: Named, parts: &[&str], call: &Call<'_>) -> Reply {
        match (named, parts) {
            (Named::Info, []) => self.info(call),
            (Named::OwnAccount, []) => self.own_account(call),
            (Named::Accounts, []) => self.accounts(call),
            (Named::Account, [id]) => json(&self.visible_account(call, segment(id)?)?),
            (Named::History, [id]) => self.history(call, segment(id)?),
            (Named::Lines, [id]) => self.lines(call, segment(id)?),
            (Named::Paid, [payer, id]) => self.paid(call, segment(payer)?, segment(id)?),
            (Named::Reservation, [payer, id]) => self.reservation(call, segment(payer)?, segment(id)?),
            (Named::Escrows, []) => self.escrows(call),
            (Named::Claims, []) => self.claims(call),
            (Named::Escrow, [id]) => self.escrow(call, segment(id)?),
            _ => Err(call.no_such_call()),
        }
    }

    fn info(&self, call: &Call<'_>) -> Reply {
        let books = self.bank.books().map_err(failed)?;
        json(&BankInfo {
            key: self.bank.public_key(),
            epoch: books.epoch,
            time: call.now,
            issuer: books.issuer,
            silence_max: SILENCE_MAX,
        })
    }

    fn own_account(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        match self.account_of(&sender)? {
            Some(account) => json(&account),
            None => Err(Problem::new(StatusCode::NOT_FOUND, "bank.no-account", "There is no such account")
                .detail(format_args!("the key {} has no account at this bank", sender.fingerprint()))
                .help("open one: `tycoon bank create`, or ask the site operator")),
        }
    }

    /// A transfer, for its payer, its payee and the issuer. What the payer has is the payer's business.
    fn paid(&self, call: &Call<'_>, payer: AccountId, id: TransferId) -> Reply {
        let found = self.bank.read(|store| store.transfer(&payer, &id)).map_err(failed)?;
        let as_payer = self.visible_account(call, payer);
        let (Some(mut transfer), is_payer) = (found, as_payer.is_ok()) else {
            as_payer?;
            return Err(no_transfer(id));
        };
        if !is_payer {
            self.visible_account(call, transfer.payee)?;
            transfer.balance = tycoon_market::Credits::ZERO;
        }
        let receipt = self.bank.transfer_receipts(std::iter::once(&transfer)).pop().ok_or_else(unexpected)?;
        json(&Paid { receipt, transfer })
    }

    fn reservation(&self, call: &Call<'_>, payer: AccountId, id: TransferId) -> Reply {
        let found = self.bank.read(|store| store.reservation(&payer, &id)).map_err(failed)?;
        let as_payer = self.visible_account(call, payer);
        match found {
            Some(reservation) => {
                if as_payer.is_err() {
                    self.visible_account(call, reservation.order.payee)?;
                }
                json(&reservation)
            }
            None => {
                as_payer?;
                Err(problem::of_refusal(&Refusal::NoReservation { payer, id }))
            }
        }
    }

    /// The accounts that the sender may see: her own and its sub-accounts; all of them for the issuer.
    fn accounts(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let limit = page_limit(call)?;
        let after = call.query::<AccountId>("after")?;
        let Some(own) = self.account_of(&sender)? else {
            return Err(forbidden("only who has an account sees accounts"));
        };
        let listed = self.bank.read(|store| {
            if own.kind == AccountKind::Issuer {
                return store.accounts(after.as_ref(), limit + 1);
            }
            // Her own account comes first, then the sub-accounts by their ids.
            let after_children = after.filter(|after| *after != own.id);
            let mut listed = store.children(&own.id, after_children.as_ref(), limit + 1)?;
            if after.is_none() {
                listed.insert(0, own.clone());
            }
            listed.truncate(limit + 1);
            Ok(listed)
        });
        json(&Page::of(listed.map_err(failed)?, limit, |account| account.id.to_string()))
    }

    fn history(&self, call: &Call<'_>, id: AccountId) -> Reply {
        self.visible_account(call, id)?;
        let limit = page_limit(call)?;
        let mut before = call.query::<u64>("before")?.unwrap_or(u64::MAX);
        let (from, to) = (time(call, "from")?, time(call, "to")?);
        let kind = call.query::<String>("kind")?;
        let fits = |entry: &Entry| {
            to.is_none_or(|to| entry.at < to) && kind.as_deref().is_none_or(|kind| entry.cause.kind() == kind)
        };
        let (mut found, mut scanned) = (Vec::new(), 0);
        // Entries are looked through in parts, so that a filter that fits nothing does not read a whole history.
        let next = loop {
            let part = self.bank.read(|store| store.entries(&id, before, PAGE_MAX)).map_err(failed)?;
            let Some(last) = part.last().map(|entry| entry.number) else { break None };
            scanned += part.len();
            let is_over = part.iter().any(|entry| from.is_some_and(|from| entry.at < from));
            let wanted = part.into_iter().take_while(|entry| from.is_none_or(|from| entry.at >= from));
            found.extend(wanted.filter(fits));
            if found.len() > limit {
                found.truncate(limit);
                break found.last().map(|entry| entry.number);
            }
            if is_over {
                break None;
            }
            before = last;
            if scanned >= SCAN_MAX {
                break Some(last);
            }
        };
        json(&Page { items: found, next: next.map(|number| number.to_string()) })
    }

    fn lines(&self, call: &Call<'_>, id: AccountId) -> Reply {
        self.visible_account(call, id)?;
        let limit = page_limit(call)?;
        let from = time(call, "from")?.unwrap_or(Timestamp::from_micros(0));
        let to = time(call, "to")?.unwrap_or(Timestamp::from_micros(i64::MAX));
        let after = call.query::<LinePlace>("after")?.unwrap_or(LinePlace::before(from));
        let lines = self.bank.read(|store| store.lines(&id, &after, to, limit + 1)).map_err(failed)?;
        json(&Page::of(lines, limit, |line| line.place().to_string()))
    }

    /// The escrows that the sender pays (`pool` narrows them), or, with `host`, those that pay the sender's host or
    /// that she pays there.
    fn escrows(&self, call: &Call<'_>) -> Reply {
        let sender = call.sender()?;
        let limit = page_limit(call)?;
        let (pool, host) = (call.query::<PoolName>("pool")?, call.query::<HostId>("host")?);
        let after = call.query::<EscrowId>("after")?;
        let account = self.account_of(&sender)?;
        let listed = match (host, account) {
            (Some(host), _) if host == HostId::of(&sender) => {
                self.bank.read(|store| store.escrows_of_host(&host, after.as_ref(), limit + 1))
            }
            (_, Some(account)) => {
                self.bank.read(|store| store.escrows_of_payer(&account.id, pool.as_ref(), after.as_ref(), limit + 1))
            }
            (_, None) => return Err(forbidden("only a payer and a host see their escrows")),
        };
        let mut page = Page::of(listed.map_err(failed)?, limit, |escrow| escrow.order.id.to_string());
        page.items.retain(|escrow| {
            host.is_none_or(|host| escrow.order.host == host)
                && pool.as_ref().is_none_or(|pool| escrow.order.pool == *pool)
        });
        json(&page)
    }

    /// What hosts were refused of the sender's escrows.
    fn claims(&self, call: &Call<'_>) -> Reply {
        match self.account_of(&call.sender()?)? {
            Some(account) => json(&self.claims.of(&account.id)),
            None => Err(forbidden("only a payer sees what hosts claim of her")),
        }
    }

    fn escrow(&self, call: &Call<'_>, id: EscrowId) -> Reply {
        let sender = call.sender()?;
        let escrow = self.existing_escrow(id)?;
        let own = self.account_of(&sender)?.is_some_and(|account| {
            [escrow.order.payer, escrow.order.beneficiary].contains(&account.id) || account.kind == AccountKind::Issuer
        });
        if !own && escrow.order.host_key != sender {
            return Err(forbidden("only its payer, its host and the host's owner see an escrow"));
        }
        let receipt = self.bank.receipt(&escrow).map_err(failed)?;
        json(&EscrowInfo { escrow, receipt })
    }
}

fn page_limit(call: &Call<'_>) -> Result<usize, Problem> {
    Ok(call.query::<usize>("limit")?.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX))
}

fn no_transfer(id: TransferId) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "bank.no-transfer", "There is no such transfer")
        .detail(format_args!("the account has made no transfer {id}"))
}

/// A time in the query, in microseconds since 1970.
fn time(call: &Call<'_>, name: &str) -> Result<Option<Timestamp>, Problem> {
    Ok(call.query::<i64>(name)?.map(Timestamp::from_micros))
}
