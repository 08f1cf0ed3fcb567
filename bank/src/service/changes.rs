//! What changes the books: the operation of each call, and what is told of it when it is on disk.

use http::{Response, StatusCode};
use tycoon_market::{AccountId, Statement};
use tycoon_rpc::receiver::json;
use tycoon_rpc::{Call, Problem};

use super::calls::Call as Named;
use super::claims::Claim;
use super::{BankService, Registration, Reply, failed, forbidden, segment};
use crate::api::{
    AccountRequest, AllowanceRequest, CloseRequest, IssueRequest, Paid, TransferOutcome, TransferRequest,
    TransfersRequest,
};
use crate::bank::BankError;
use crate::evidence::Evidence;
use crate::ledger::{
    AccountKind, Answer, EscrowOrder, KeyChange, Opener, Operation, RefundOrder, ReservationOrder, Resolution,
};
use crate::problem;
use crate::queue::{Commit, Done};

/// How far an answer has come.
pub(super) enum Step {
    /// It is there.
    Answered(Response<Vec<u8>>),
    /// It is made of what comes of an operation, once that is on disk.
    Writing(Commit, Tells),
}

/// What is told of an operation.
#[derive(Clone, Copy)]
pub(super) enum Tells {
    /// What it changed; of transfers also the receipts.
    Change,
    /// Only the receipt of the escrow that it opened.
    EscrowReceipt,
}

impl BankService {
    /// Begins a call that changes something.
    pub(super) fn change(&self, named: Named, parts: &[&str], call: &Call<'_>) -> Result<Step, Problem> {
        match (named, parts) {
            (Named::OpenAccount, []) => self.open_account(call),
            (Named::CloseAccount, [id]) => {
                let CloseRequest { to } = call.json()?;
                self.commit(call, Operation::CloseAccount { account: segment(id)?, to, by: call.sender()? })
            }
            (Named::SetAllowance, [id]) => {
                let AllowanceRequest { allowance } = call.json()?;
                self.commit(call, Operation::SetAllowance { account: segment(id)?, allowance, by: call.sender()? })
            }
            (Named::ChangeKeys, [id]) => self.change_keys(call, segment(id)?),
            (Named::Transfer, []) => self.transfer(call),
            (Named::Transfers, []) => self.transfers(call),
            (Named::Refund, []) => {
                let order: RefundOrder = call.json()?;
                self.commit(call, Operation::Refund { order, by: call.sender()? })
            }
            (Named::Reserve, []) => {
                let order: ReservationOrder = call.json()?;
                self.commit(call, Operation::Reserve { order, by: call.sender()? })
            }
            (Named::Resolve, [payer, id]) => {
                let resolution: Resolution = call.json()?;
                let (payer, id) = (segment(payer)?, segment(id)?);
                self.commit(call, Operation::Resolve { payer, id, resolution, by: call.sender()? })
            }
            (Named::Issue, []) => self.issue(call),
            (Named::OpenEscrow, []) => self.open_escrow(call),
            (Named::Settle, []) => self.settle(call),
            _ => Err(call.no_such_call()),
        }
    }

    fn open_account(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let sender = call.sender()?;
        let AccountRequest { key, kind, label, deposit, sub } = call.json()?;
        let member = self.account_of(&sender)?;
        let is_issuer = member.as_ref().is_some_and(|account| account.kind == AccountKind::Issuer);
        let own = sender == key && deposit.is_zero() && !sub;
        let may = match self.registration {
            Registration::Open => member.is_some() || own,
            Registration::ByMembers => member.is_some(),
            Registration::ByIssuer => is_issuer || (sub && member.is_some()),
        };
        if !may {
            let who = match self.registration {
                Registration::Open => "accounts for other keys are opened by whoever has one",
                Registration::ByMembers => "accounts are opened by whoever has one",
                Registration::ByIssuer => "accounts are opened by the issuer",
            };
            return Err(forbidden(who).help("send your public key to somebody who may, or to the site operator"));
        }
        // Asking again for one's own account is no new one, and costs nothing.
        let opener = member.filter(|_| !own).map(|account| Opener {
            account: account.id,
            by: sender,
            deposit,
            sub,
            accounts_max: if is_issuer { u64::MAX } else { self.accounts_per_opener_max },
        });
        if self.bank.books().map_err(failed)?.accounts >= self.accounts_max {
            return Err(Problem::new(StatusCode::CONFLICT, "bank.too-many-accounts", "The bank is full")
                .detail(format_args!("it has {} accounts, which is all it takes", self.accounts_max)));
        }
        self.commit(call, Operation::OpenAccount { key, kind, label, opener })
    }

    fn change_keys(&self, call: &Call<'_>, account: AccountId) -> Result<Step, Problem> {
        let change: KeyChange = call.json()?;
        self.commit(call, Operation::ChangeKeys { account, change, by: call.sender()? })
    }

    fn transfer(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let TransferRequest { id, payer, payee, amount, memo } = call.json()?;
        self.commit(call, Operation::Transfer { id, payer, payee, amount, memo, by: call.sender()? })
    }

    fn issue(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let IssueRequest { id, to, amount, memo } = call.json()?;
        self.commit(call, Operation::Issue { id, to, amount, memo, by: call.sender()? })
    }

    fn open_escrow(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let order: EscrowOrder = call.json()?;
        self.write(call, Operation::OpenEscrow { order, by: call.sender()? }, Tells::EscrowReceipt)
    }

    fn settle(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let sender = call.sender()?;
        let statement: Statement = call.json()?;
        let escrow = self.existing_escrow(statement.terms.escrow)?;
        if escrow.order.host_key != sender {
            return Err(forbidden("only the host of an escrow sends its statements"));
        }
        self.commit(call, Operation::Settle { statement })
    }

    fn transfers(&self, call: &Call<'_>) -> Result<Step, Problem> {
        let TransfersRequest { transfers, linked } = call.json()?;
        self.commit(call, Operation::Transfers { orders: transfers, linked, by: call.sender()? })
    }

    fn commit(&self, call: &Call<'_>, operation: Operation) -> Result<Step, Problem> {
        self.write(call, operation, Tells::Change)
    }

    fn write(&self, call: &Call<'_>, operation: Operation, tells: Tells) -> Result<Step, Problem> {
        let commit = self.bank.begin(operation, Evidence::of(call)).map_err(|error| self.refused(error))?;
        Ok(Step::Writing(commit, tells))
    }

    /// What is told of an operation that came to nothing. What a host claimed too much, its payer shall hear of.
    fn refused(&self, error: BankError) -> Problem {
        if let BankError::Refused(refusal) = &error
            && let Some(claim) = Claim::of(refusal)
            && let Ok(escrow) = self.existing_escrow(claim.escrow)
        {
            self.claims.add(&claim, &escrow, self.bank.now());
        }
        failed(error)
    }

    /// What is told of an operation that is on disk.
    pub(super) fn done(&self, outcome: Result<Done, BankError>, tells: Tells) -> Reply {
        let Done { answer, receipt } = outcome.map_err(|error| self.refused(error))?;
        match answer {
            Answer::Account(account) => json(&account),
            Answer::Transfer(transfer) => json(&Paid { receipt: receipt.ok_or_else(unexpected)?, transfer }),
            Answer::Reservation(reservation) => json(&reservation),
            Answer::Escrow(escrow) => match tells {
                Tells::Change => json(&escrow),
                Tells::EscrowReceipt => json(&self.bank.receipt(&escrow).map_err(failed)?),
            },
            Answer::Transfers(outcomes) => {
                let receipts = self.bank.transfer_receipts(outcomes.iter().flatten());
                let mut receipts = receipts.into_iter();
                let told = outcomes.into_iter().map(|outcome| match outcome {
                    Ok(transfer) => {
                        let receipt = receipts.next().ok_or_else(unexpected)?;
                        Ok(TransferOutcome::Paid(Box::new(Paid { receipt, transfer })))
                    }
                    Err(refusal) => Ok(TransferOutcome::Problem(problem::of_refusal(&refusal))),
                });
                json(&told.collect::<Result<Vec<_>, Problem>>()?)
            }
            Answer::Books(_) | Answer::Done(_) => Err(unexpected()),
        }
    }
}

pub(super) fn unexpected() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "bank.failed", "The bank failed")
        .detail("the ledger gave an answer of another kind")
}
