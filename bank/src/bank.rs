//! The bank itself: the rules, and where the books are kept, put together.
//!
//! What is to be done waits in a queue, from where it is written, all that waits at a time ([`crate::queue`]). The books
//! are a journal with an index ([`crate::journal_books`]), or a PostgreSQL database ([`crate::postgres_books`]), which
//! several processes may share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tycoon_market::{EscrowId, PublicKey, Receipt, Timestamp};
use tycoon_rpc::{Clock, Signer};

use crate::evidence::{Evidence, Payload, Written};
use crate::journal::{Check, Cut, FaultHook, JournalError, Record, SEGMENT_BYTES, record};
use crate::journal_books::JournalBooks;
use crate::ledger::apply::Moment;
use crate::ledger::{Answer, Books, Changes, Draft, Due, Escrow, Operation, Refusal, Transfer, View, apply};
use crate::queue::{self, Commit, Writer};
use crate::store::{Head, Store, StoreError};
use crate::transfer_receipt::TransferReceipt;

/// What is due and done in one operation at most.
const DUE_MAX: usize = 256;

/// Why the bank did not do something.
#[derive(Clone, Debug, Error)]
pub enum BankError {
    /// The rules forbid it.
    #[error(transparent)]
    Refused(Refusal),
    /// The journal failed.
    #[error(transparent)]
    Journal(Arc<JournalError>),
    /// The index failed.
    #[error(transparent)]
    Store(StoreError),
    /// The ledger belongs to another key.
    #[error(
        "this ledger belongs to the bank with the key {}, not to {}; use the bank's own key", ledger.fingerprint(), given.fingerprint()
    )]
    OtherKey {
        /// The key in the ledger.
        ledger: PublicKey,
        /// The key that was given.
        given: PublicKey,
    },
    /// The database failed.
    #[error("the bank's database cannot be used: {0}")]
    Database(String),
    /// A record in the journal cannot be repeated.
    #[error("record {record} of the journal cannot be repeated: {reason}; was it written by a newer version?")]
    Unrepeatable {
        /// The record.
        record: u64,
        /// Why.
        reason: String,
    },
}

impl From<JournalError> for BankError {
    fn from(error: JournalError) -> Self {
        Self::Journal(Arc::new(error))
    }
}

impl From<StoreError> for BankError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for BankError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Store(error) => Self::Store(error),
            refusal => Self::Refused(refusal),
        }
    }
}

/// How a bank is opened.
#[derive(Clone)]
pub struct Options {
    /// The folder of the journal.
    pub journal: PathBuf,
    /// The length from which on a journal segment is followed by a new one, in bytes.
    pub segment_bytes: u64,
    /// How much of the journal is checked at the start.
    pub check: Check,
    /// Called before and after each write, for crash tests.
    pub hook: Option<FaultHook>,
}

impl Options {
    /// A journal in `journal`, all of it checked at the start.
    pub const fn new(journal: PathBuf) -> Self {
        Self { journal, segment_bytes: SEGMENT_BYTES, check: Check::Everything, hook: None }
    }
}

/// What was found and done at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// True where the bank was founded just now.
    pub founded: bool,
    /// Records that the index lacked.
    pub replayed: u64,
    /// Why the index was made anew; `None` where it was not.
    pub rebuilt: Option<String>,
    /// A record that a crash had cut off; nobody had been told of it.
    pub cut: Option<Cut>,
}

/// Where the books are kept.
pub trait Backend: Send + Sync {
    /// Lets `read` read the books, which hold whole operations only.
    fn read(&self, read: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>) -> Result<(), BankError>;

    /// Decides over the operations one after the other, and returns when those that were accepted are on disk. `at` is
    /// the present time.
    fn write(&self, at: Timestamp, payloads: &[&Written]) -> Result<Vec<Result<Answer, BankError>>, BankError>;

    /// Makes the next start quick.
    fn flush(&self) -> Result<(), BankError>;

    /// True where reading may wait for another process.
    fn is_remote(&self) -> bool {
        false
    }

    /// Whether anything can be written.
    fn check(&self) -> Result<(), BankError>;

    /// Shows every record, from the first, to `visit`.
    fn records(&self, visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>) -> Result<(), BankError>;
}

/// An open bank.
pub struct Bank {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    backend: Arc<dyn Backend>,
    writer: Writer,
}

// What these locks guard is whole after a panic: outcomes are set at once, and a half-written journal refuses.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bank {
    /// Opens the bank that signs with `signer`, brings the index up to the journal, and founds the bank, with the
    /// issuer `issuer`, where the journal is empty.
    pub fn open(
        options: Options,
        store: Arc<dyn Store>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        issuer: PublicKey,
    ) -> Result<(Self, Recovery), BankError> {
        let (books, mut recovery) = JournalBooks::open(&options, store)?;
        let (bank, founded) = Self::over(Box::new(books), signer, clock, issuer)?;
        recovery.founded = founded;
        if recovery.replayed > 0 || recovery.rebuilt.is_some() {
            bank.flush()?;
        }
        Ok((bank, recovery))
    }

    /// Opens the bank whose books are in `backend`, and founds it where they are empty; says whether it did.
    pub fn over(
        backend: Box<dyn Backend>,
        signer: Arc<dyn Signer>,
        clock: Arc<dyn Clock>,
        issuer: PublicKey,
    ) -> Result<(Self, bool), BankError> {
        let backend: Arc<dyn Backend> = Arc::from(backend);
        let writer = Writer::start(backend.clone(), clock.clone(), signer.clone())
            .map_err(|error| BankError::Store(StoreError::Failed(format!("the thread that writes: {error}"))))?;
        let bank = Self { signer, clock, backend, writer };
        let is_new = bank.read(|store| store.books())?.is_none();
        if is_new {
            let operation = Operation::Found { bank: bank.public_key(), issuer, epoch: 1 };
            match bank.commit(operation, None) {
                // Another process of the bank was faster.
                Ok(_) | Err(BankError::Refused(Refusal::AlreadyFounded)) => {}
                Err(error) => return Err(error),
            }
        }
        let ledger = bank.books()?.bank;
        if ledger != bank.public_key() {
            return Err(BankError::OtherKey { ledger, given: bank.public_key() });
        }
        Ok((bank, is_new))
    }

    /// The bank's key.
    pub fn public_key(&self) -> PublicKey {
        self.signer.public_key()
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The totals.
    pub fn books(&self) -> Result<Books, BankError> {
        self.read(|store| store.books())?.ok_or(BankError::Refused(Refusal::NotFounded))
    }

    /// The number of the last record; 0 where it cannot be read.
    pub fn last_record(&self) -> u64 {
        self.read(|store| store.head()).map_or(0, |head| head.record)
    }

    /// Whether the books can be read and written.
    pub fn check(&self) -> Result<(), BankError> {
        self.books()?;
        self.backend.check()
    }

    /// Reads the books.
    pub fn read<T>(&self, read: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, BankError> {
        let mut found = None;
        self.backend.read(&mut |store| {
            found = Some(read(store)?);
            Ok(())
        })?;
        found.ok_or_else(|| BankError::Store(StoreError::Failed("nothing was read".to_owned())))
    }

    /// Shows every record of the books, from the first, to `visit`.
    pub fn records(&self, visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>) -> Result<(), BankError> {
        self.backend.records(visit)
    }

    /// How many operations wait to be written.
    pub fn waiting(&self) -> usize {
        self.writer.waiting()
    }

    /// Does `operation`, and returns when it is on disk.
    pub fn commit(&self, operation: Operation, evidence: Option<Evidence>) -> Result<Answer, BankError> {
        self.begin(operation, evidence)?.wait().map(|done| done.answer)
    }

    /// Has `operation` done, and does not wait for it.
    pub fn begin(&self, operation: Operation, evidence: Option<Evidence>) -> Result<Commit, BankError> {
        let written = Written::of(Payload { operation, evidence }).map_err(StoreError::Failed)?;
        if written.text().len() > record::PAYLOAD_BYTES_MAX {
            return Err(BankError::Refused(Refusal::TooLarge(written.text().len())));
        }
        Ok(self.writer.write(written))
    }

    /// True where what is read comes from another process, and may be waited for.
    pub fn is_remote(&self) -> bool {
        self.backend.is_remote()
    }

    /// Does what is due: escrows whose hosts were silent too long and reservations whose time is over return to their
    /// payers, and the next periods of allowances begin. Says what was done.
    pub fn lapse(&self) -> Result<Vec<Due>, BankError> {
        let mut all = Vec::new();
        loop {
            let now = self.now();
            let due = self.read(|store| store.due(now, DUE_MAX))?;
            if due.is_empty() {
                return Ok(all);
            }
            let (mut escrows, mut reservations, mut accounts): (Vec<EscrowId>, Vec<_>, Vec<_>) = Default::default();
            for due in due {
                match due {
                    Due::Escrow(id) => escrows.push(id),
                    Due::Reservation(payer, id) => reservations.push((payer, id)),
                    Due::Allowance(account) => accounts.push(account),
                }
            }
            let mut operations = Vec::new();
            if !escrows.is_empty() || !reservations.is_empty() {
                operations.push(Operation::Lapse { escrows, reservations });
            }
            if !accounts.is_empty() {
                operations.push(Operation::Renew { accounts });
            }
            for operation in operations {
                match self.commit(operation, None) {
                    Ok(Answer::Done(done)) => all.extend(done),
                    // Another thread was faster.
                    Err(BankError::Refused(Refusal::NothingLapsed | Refusal::NothingRenewed)) | Ok(_) => {
                        return Ok(all);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// Starts the epoch after the present one. To be called after the bank was restored from a copy: receipts of older
    /// epochs may be of escrows that the copy does not know.
    pub fn start_epoch(&self) -> Result<Books, BankError> {
        let epoch = self.books()?.epoch + 1;
        self.commit(Operation::NewEpoch { epoch }, None)?;
        self.books()
    }

    /// The signed receipt of `escrow`.
    pub fn receipt(&self, escrow: &Escrow) -> Result<Receipt, BankError> {
        let epoch = self.books()?.epoch;
        let payer = self.read(|store| store.account(&escrow.order.payer))?;
        let payer = payer.ok_or(Refusal::NoAccount(escrow.order.payer))?;
        Ok(escrow.receipt(self.public_key(), epoch, &payer, |bytes| self.signer.sign(bytes)))
    }

    /// The receipts of transfers, in their order; of several with one signature.
    pub fn transfer_receipts<'a>(&self, transfers: impl Iterator<Item = &'a Transfer>) -> Vec<TransferReceipt> {
        queue::receipts(transfers, &*self.signer)
    }

    /// Makes the next start quick.
    pub fn flush(&self) -> Result<(), BankError> {
        self.backend.flush()
    }
}

/// What came of a batch.
pub(crate) struct Decision<'a> {
    /// The outcomes, in the order of the operations.
    pub(crate) outcomes: Vec<Result<Answer, BankError>>,
    /// The payloads of the records to be written.
    pub(crate) payloads: Vec<&'a str>,
    /// What they change.
    pub(crate) changes: Changes,
}

/// Decides over `payloads`, one after the other, over `view`, which holds the records up to `before`.
pub(crate) fn decide<'a>(
    view: &dyn View,
    before: &Head,
    at: Timestamp,
    payloads: &[&'a Written],
) -> Result<Decision<'a>, StoreError> {
    let mut draft = Draft::new(view);
    let mut lines = Vec::new();
    let mut outcomes = Vec::with_capacity(payloads.len());
    for written in payloads {
        let moment = Moment { record: before.record + lines.len() as u64 + 1, at };
        match apply(&draft, moment, &written.payload().operation) {
            Ok((answer, changes)) if changes.is_empty() => outcomes.push(Ok(answer)),
            Ok((answer, changes)) => {
                lines.push(written.text());
                draft.absorb(changes);
                outcomes.push(Ok(answer));
            }
            Err(Refusal::Store(error)) => return Err(error),
            Err(refusal) => outcomes.push(Err(BankError::Refused(refusal))),
        }
    }
    Ok(Decision { outcomes, payloads: lines, changes: draft.into_changes() })
}

/// Applies a record of the journal to an index that holds the one before it.
pub(crate) fn repeat(store: &dyn Store, record: &Record<'_>) -> Result<(), BankError> {
    let changes = changes_of(store, record)?;
    store.apply(&record.head, &changes).map_err(BankError::Store)
}

/// What a record of the journal changes in books that hold the one before it.
pub(crate) fn changes_of(view: &dyn View, record: &Record<'_>) -> Result<Changes, BankError> {
    let number = record.head.record;
    let unrepeatable = |reason: String| BankError::Unrepeatable { record: number, reason };
    let payload: Payload =
        serde_json::from_str(record.payload).map_err(|error| unrepeatable(format!("it cannot be read: {error}")))?;
    let moment = Moment { record: number, at: record.head.at };
    match apply(view, moment, &payload.operation) {
        Ok((_, changes)) => Ok(changes),
        Err(Refusal::Store(error)) => Err(error.into()),
        Err(refusal) => Err(unrepeatable(refusal.to_string())),
    }
}
