//! The bank itself: the rules, the journal and the index, put together.
//!
//! ```text
//! commit ─▶ queue ─▶ [one of the waiting threads takes all that wait]
//!                      decide each over index + what was decided before it
//!                      append all to the journal, one sync          ◀── the truth
//!                      apply all to the index
//!                    ─▶ answers
//! ```
//!
//! The index holds only what is on disk in the journal, so whatever is read may be told. It may lag behind after a
//! crash, and is brought up from the journal; where it is damaged it is made again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use thiserror::Error;
use tycoon_market::{EscrowId, PublicKey, Receipt, Timestamp};
use tycoon_rpc::{Clock, Signer};

use crate::evidence::{Evidence, Payload};
use crate::journal::{self, Check, Cut, FaultHook, Journal, JournalError, Record, SEGMENT_BYTES, Settings};
use crate::ledger::apply::Moment;
use crate::ledger::{Answer, Books, Changes, Draft, Escrow, Operation, Refusal, apply};
use crate::store::{Head, Store, StoreError};

/// Operations that are written with one sync at most.
const BATCH_MAX: usize = 256;
/// Escrows that lapse in one operation at most.
const LAPSING_MAX: usize = 256;
/// Records after which the index is flushed, so that a start after a crash has no more than these to repeat.
const FLUSH_EVERY: u64 = 1024;

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

struct Writer {
    journal: Journal,
    flushed: u64,
}

struct Pending {
    payload: Payload,
    outcome: Mutex<Option<Result<Answer, BankError>>>,
}

/// An open bank.
pub struct Bank {
    signer: Arc<dyn Signer>,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Store>,
    queue: Mutex<Vec<Arc<Pending>>>,
    writer: Mutex<Writer>,
    /// Readers share it; making the index anew takes it alone.
    index: RwLock<()>,
    /// True where the index lacks records and could not be brought up.
    behind: AtomicBool,
}

// What these locks guard is whole after a panic: outcomes are set at once, and a half-written journal refuses.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let mut recovery = Recovery::default();
        let indexed = match usable_head(&*store) {
            Ok(head) => head,
            Err(reason) => {
                store.clear()?;
                recovery.rebuilt = Some(reason);
                Head::EMPTY
            }
        };
        let opened = open_journal(&options, &store, &indexed, &mut recovery);
        let journal = match opened {
            Err(BankError::Store(StoreError::Damaged(reason))) => {
                store.clear()?;
                recovery = Recovery { rebuilt: Some(reason), ..Recovery::default() };
                open_journal(&options, &store, &Head::EMPTY, &mut recovery)?
            }
            opened => opened?,
        };
        let flushed = journal.head().record;
        let bank = Self {
            signer,
            clock,
            store,
            queue: Mutex::default(),
            writer: Mutex::new(Writer { journal, flushed }),
            index: RwLock::new(()),
            behind: AtomicBool::new(false),
        };
        if bank.store.books()?.is_none() {
            let operation = Operation::Found { bank: bank.public_key(), issuer, epoch: 1 };
            bank.commit(operation, None)?;
            recovery.founded = true;
        }
        let ledger = bank.books()?.bank;
        if ledger != bank.public_key() {
            return Err(BankError::OtherKey { ledger, given: bank.public_key() });
        }
        if recovery.replayed > 0 || recovery.rebuilt.is_some() {
            bank.store.flush()?;
        }
        Ok((bank, recovery))
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

    /// Reads the index. Where it is damaged it is made anew from the journal, and read again.
    pub fn read<T>(&self, read: impl Fn(&dyn Store) -> Result<T, StoreError>) -> Result<T, BankError> {
        if !self.behind.load(Ordering::Acquire) {
            let guard = self.index.read().unwrap_or_else(PoisonError::into_inner);
            match read(&*self.store) {
                Err(StoreError::Damaged(_)) => drop(guard),
                result => return result.map_err(BankError::Store),
            }
        }
        self.rebuild(&mut lock(&self.writer))?;
        let _guard = self.index.read().unwrap_or_else(PoisonError::into_inner);
        read(&*self.store).map_err(BankError::Store)
    }

    /// Does `operation`, and returns when it is on disk.
    pub fn commit(&self, operation: Operation, evidence: Option<Evidence>) -> Result<Answer, BankError> {
        let payload = Payload { operation, evidence };
        let pending = Arc::new(Pending { payload, outcome: Mutex::default() });
        lock(&self.queue).push(pending.clone());
        loop {
            let mut writer = lock(&self.writer);
            if let Some(outcome) = lock(&pending.outcome).take() {
                return outcome;
            }
            let batch: Vec<_> = {
                let mut queue = lock(&self.queue);
                let count = queue.len().min(BATCH_MAX);
                queue.drain(..count).collect()
            };
            if batch.is_empty() {
                // Whoever took this one was stopped before it had an outcome.
                return Err(JournalError::Broken("a write was interrupted".to_owned()).into());
            }
            let outcomes = match self.write(&mut writer, &batch) {
                Err(BankError::Store(StoreError::Damaged(_))) => {
                    self.rebuild(&mut writer).and_then(|()| self.write(&mut writer, &batch))
                }
                outcomes => outcomes,
            };
            match outcomes {
                Ok(outcomes) => {
                    for (pending, outcome) in batch.iter().zip(outcomes) {
                        *lock(&pending.outcome) = Some(outcome);
                    }
                }
                Err(error) => {
                    for pending in &batch {
                        *lock(&pending.outcome) = Some(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Returns to their payers what is held by escrows whose hosts were silent too long. Says which.
    pub fn lapse(&self) -> Result<Vec<EscrowId>, BankError> {
        let mut all = Vec::new();
        loop {
            let now = self.now();
            let escrows = self.read(|store| store.lapsing(now, LAPSING_MAX))?;
            if escrows.is_empty() {
                return Ok(all);
            }
            match self.commit(Operation::Lapse { escrows }, None) {
                Ok(Answer::Lapsed(lapsed)) => all.extend(lapsed),
                // Another thread was faster.
                Err(BankError::Refused(Refusal::NothingLapsed)) | Ok(_) => return Ok(all),
                Err(error) => return Err(error),
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

    /// Flushes the index, so that the next start has nothing to repeat.
    pub fn flush(&self) -> Result<(), BankError> {
        let mut writer = lock(&self.writer);
        self.store.flush()?;
        writer.flushed = writer.journal.head().record;
        Ok(())
    }

    /// Decides a batch, writes it to the journal and then to the index.
    fn write(&self, writer: &mut Writer, batch: &[Arc<Pending>]) -> Result<Vec<Result<Answer, BankError>>, BankError> {
        if self.behind.load(Ordering::Acquire) {
            self.rebuild(writer)?;
        }
        let before = writer.journal.head();
        let at = self.clock.now().max(before.at);
        let mut draft = Draft::new(&*self.store);
        let mut payloads = Vec::new();
        let mut outcomes = Vec::with_capacity(batch.len());
        for pending in batch {
            let moment = Moment { record: before.record + payloads.len() as u64 + 1, at };
            match apply(&draft, moment, &pending.payload.operation) {
                Ok((answer, changes)) => {
                    if !changes.is_empty() {
                        let payload = serde_json::to_string(&pending.payload)
                            .map_err(|error| StoreError::Failed(format!("a record cannot be written: {error}")))?;
                        payloads.push(payload);
                        draft.absorb(changes);
                    }
                    outcomes.push(Ok(answer));
                }
                Err(Refusal::Store(error)) => return Err(error.into()),
                Err(refusal) => outcomes.push(Err(BankError::Refused(refusal))),
            }
        }
        let changes = draft.into_changes();
        if payloads.is_empty() {
            return Ok(outcomes);
        }
        let head = writer.journal.append(payloads.iter().map(|payload| (at, payload.as_str())))?;
        self.index(writer, &head, &changes);
        Ok(outcomes)
    }

    /// Applies to the index what the journal holds. A failure here does not undo what was done: the index is brought
    /// up before anything else is read or written.
    fn index(&self, writer: &mut Writer, head: &Head, changes: &Changes) {
        writer.journal.call_hook("bank:before-index");
        let flush_due = head.record - writer.flushed >= FLUSH_EVERY;
        let applied = self.store.apply(head, changes);
        let done = applied.and_then(|()| if flush_due { self.store.flush() } else { Ok(()) });
        if done.is_err() {
            self.behind.store(true, Ordering::Release);
        } else if flush_due {
            writer.flushed = head.record;
        }
        writer.journal.call_hook("bank:after-index");
    }

    /// Makes the index anew from the journal.
    fn rebuild(&self, writer: &mut Writer) -> Result<(), BankError> {
        let _alone = self.index.write().unwrap_or_else(PoisonError::into_inner);
        self.behind.store(true, Ordering::Release);
        self.store.clear()?;
        let folder = writer.journal.folder().to_owned();
        journal::read(&folder, &Head::EMPTY, Check::Everything, &mut |record| repeat(&*self.store, record))?;
        self.store.flush()?;
        writer.flushed = writer.journal.head().record;
        self.behind.store(false, Ordering::Release);
        Ok(())
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        // Best effort: what is not flushed is repeated from the journal at the next start.
        let _ = self.store.flush();
    }
}

/// The head of an index that looks usable, or why it is not.
fn usable_head(store: &dyn Store) -> Result<Head, String> {
    let head = store.head().map_err(|error| error.to_string())?;
    match store.books().map_err(|error| error.to_string())? {
        Some(books) if !books.are_balanced() => Err("the totals of the index do not add up".to_owned()),
        Some(_) if head.record == 0 => Err("the index has totals but no head".to_owned()),
        None if head.record > 0 => Err("the index has a head but no totals".to_owned()),
        _ => Ok(head),
    }
}

fn open_journal(
    options: &Options,
    store: &Arc<dyn Store>,
    indexed: &Head,
    recovery: &mut Recovery,
) -> Result<Journal, BankError> {
    let settings = Settings { segment_bytes: options.segment_bytes, hook: options.hook.clone() };
    let mut replayed = 0;
    let (journal, cut) = Journal::open(&options.journal, settings, indexed, options.check, &mut |record| {
        replayed += 1;
        repeat(&**store, record)
    })?;
    recovery.replayed = replayed;
    recovery.cut = cut;
    Ok(journal)
}

/// Applies a record of the journal to an index that holds the one before it.
pub(crate) fn repeat(store: &dyn Store, record: &Record<'_>) -> Result<(), BankError> {
    let number = record.head.record;
    let unrepeatable = |reason: String| BankError::Unrepeatable { record: number, reason };
    let payload: Payload =
        serde_json::from_str(record.payload).map_err(|error| unrepeatable(format!("it cannot be read: {error}")))?;
    let moment = Moment { record: number, at: record.head.at };
    match apply(as_view(store), moment, &payload.operation) {
        Ok((_, changes)) => store.apply(&record.head, &changes).map_err(BankError::Store),
        Err(Refusal::Store(error)) => Err(error.into()),
        Err(refusal) => Err(unrepeatable(refusal.to_string())),
    }
}

fn as_view(store: &dyn Store) -> &dyn crate::ledger::View {
    store
}
