//! Books in a journal on this machine's disk, with an index that is made from it.
//!
//! The index holds only what is on disk in the journal, so whatever is read may be told. What was journaled is gathered
//! and goes into the index many rows at a time (`pending`). After a crash the index lags behind, and is
//! brought up from the journal; where it is damaged it is made again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use tycoon_market::Timestamp;

use crate::bank::{Backend, BankError, Decision, Options, Recovery, changes_of, decide, lock};
use crate::evidence::Written;
use crate::journal::{self, Check, Journal, Record, Settings};
use crate::ledger::Answer;
use crate::pending::{Fill, Gathered, Pending, Whole};
use crate::store::{Head, Store, StoreError};

/// Records after which the index is flushed, so that a start after a crash has no more than these to repeat, beside what was
/// gathered: less than a second's work.
const FLUSH_EVERY: u64 = 16_384;
/// Rows after which it is flushed too: of records that change many each, fewer are a second's work.
const FLUSH_ROWS: usize = 262_144;

struct Writer {
    journal: Journal,
    /// The last record that the index holds through a crash.
    flushed: u64,
    /// The rows that went into the index since.
    unflushed_rows: usize,
    /// Set while something goes into the index.
    indexing: Option<Indexing>,
}

impl Writer {
    /// The index holds everything up to `record` through a crash.
    const fn has_flushed(&mut self, record: u64) {
        (self.flushed, self.unflushed_rows) = (record, 0);
    }
}

/// The thread by which something goes into the index, so that nobody who pays waits for that.
struct Indexing {
    thread: JoinHandle<Result<(), StoreError>>,
    /// The record up to which the index will have been flushed, where it is.
    flushes: Option<u64>,
}

/// A journal and its index.
pub struct JournalBooks {
    store: Arc<dyn Store>,
    /// What is journaled and not in the index yet. It changes only under the writer's lock.
    pending: Pending,
    writer: Mutex<Writer>,
    /// Readers share it; making the index anew takes it alone.
    index: RwLock<()>,
    /// True where the index lacks records and could not be brought up.
    behind: AtomicBool,
}

impl JournalBooks {
    /// Opens the journal, and brings the index up to it.
    pub fn open(options: &Options, store: Arc<dyn Store>) -> Result<(Self, Recovery), BankError> {
        let mut recovery = Recovery::default();
        let indexed = match usable_head(&*store) {
            Ok(head) => head,
            Err(reason) => {
                store.clear()?;
                recovery.rebuilt = Some(reason);
                Head::EMPTY
            }
        };
        let journal = match open_journal(options, &store, &indexed, &mut recovery) {
            Err(BankError::Store(StoreError::Damaged(reason))) => {
                store.clear()?;
                recovery = Recovery { rebuilt: Some(reason), ..Recovery::default() };
                open_journal(options, &store, &Head::EMPTY, &mut recovery)?
            }
            opened => opened?,
        };
        let flushed = journal.head().record;
        let writer = Mutex::new(Writer { journal, flushed, unflushed_rows: 0, indexing: None });
        Ok((
            Self { store, pending: Pending::default(), writer, index: RwLock::new(()), behind: AtomicBool::new(false) },
            recovery,
        ))
    }

    fn write_with(
        &self,
        writer: &mut Writer,
        now: Timestamp,
        payloads: &[&Written],
    ) -> Result<Vec<Result<Answer, BankError>>, BankError> {
        self.settle(writer, false);
        if self.behind.load(Ordering::Acquire) {
            self.catch_up(writer)?;
        }
        let before = writer.journal.head();
        let at = now.max(before.at);
        let Decision { outcomes, payloads, changes } =
            decide(&Whole::of(&*self.store, &self.pending, false), &before, at, payloads)?;
        if payloads.is_empty() {
            return Ok(outcomes);
        }
        let head = writer.journal.append(payloads.iter().map(|payload| (at, *payload)))?;
        match self.pending.add(&head, changes) {
            Fill::Little => {}
            Fill::Enough if writer.indexing.is_some() => {}
            Fill::Enough | Fill::Full => self.index(writer),
        }
        Ok(outcomes)
    }

    /// Begins to put what is pending into the index, after what went before. A failure of that does not undo what was done:
    /// the index is brought up before anything else is read or written.
    fn index(&self, writer: &mut Writer) {
        self.settle(writer, true);
        if self.behind.load(Ordering::Acquire) || self.pending.is_empty() {
            return;
        }
        writer.journal.call_hook("bank:before-index");
        let record = writer.journal.head().record;
        let (store, going) = (self.store.clone(), self.pending.go());
        writer.unflushed_rows += going.as_deref().map_or(0, Gathered::rows);
        let is_much = record - writer.flushed >= FLUSH_EVERY || writer.unflushed_rows >= FLUSH_ROWS;
        let flushes = is_much.then_some(record);
        let work = move || {
            let going = going.as_deref().and_then(Gathered::due);
            going.map_or(Ok(()), |(head, changes)| store.apply(head, changes))?;
            if flushes.is_some() { store.flush() } else { Ok(()) }
        };
        match thread::Builder::new().name("bank-index".into()).spawn(work) {
            Ok(thread) => writer.indexing = Some(Indexing { thread, flushes }),
            // It is brought up from the journal, when there is room for another thread.
            Err(_) => self.behind.store(true, Ordering::Release),
        }
    }

    /// Notes that what went into the index is in it, where that has ended, or waits for the end.
    fn settle(&self, writer: &mut Writer, waits: bool) {
        let has_ended = |indexing: &mut Indexing| waits || indexing.thread.is_finished();
        let Some(Indexing { thread, flushes }) = writer.indexing.take_if(has_ended) else { return };
        if matches!(thread.join(), Ok(Ok(()))) {
            if let Some(flushed) = flushes {
                writer.has_flushed(flushed);
            }
            self.pending.gone();
        } else {
            // Whoever reads sees what did not go in until the index is brought up, from the journal.
            self.behind.store(true, Ordering::Release);
        }
        writer.journal.call_hook("bank:after-index");
    }

    /// Has the index hold everything.
    fn index_all(&self, writer: &mut Writer) -> Result<(), BankError> {
        self.index(writer);
        self.settle(writer, true);
        if self.behind.load(Ordering::Acquire) { self.catch_up(writer) } else { Ok(()) }
    }

    /// Opens an index that failed again, where that can be done, and brings it up to the journal.
    fn catch_up(&self, writer: &mut Writer) -> Result<(), BankError> {
        self.settle(writer, true);
        let alone = self.index.write().unwrap_or_else(PoisonError::into_inner);
        self.behind.store(true, Ordering::Release);
        self.pending.clear();
        if self.store.reopen()?
            && let Ok(indexed) = usable_head(&*self.store)
        {
            let folder = writer.journal.folder().to_owned();
            let repeated = Repeated::into(&*self.store);
            let read = journal::read(&folder, &indexed, Check::Tail, &mut |record| repeated.add(record));
            match read.and_then(|_| repeated.finish()) {
                Err(BankError::Store(StoreError::Damaged(_))) => {}
                read => {
                    read?;
                    self.store.flush()?;
                    writer.has_flushed(writer.journal.head().record);
                    self.behind.store(false, Ordering::Release);
                    return Ok(());
                }
            }
        }
        drop(alone);
        self.rebuild(writer)
    }

    /// What is done about an index that failed: it is made anew where it is damaged, and opened again otherwise.
    fn mend(&self, writer: &mut Writer, error: &StoreError) -> Result<(), BankError> {
        match error {
            StoreError::Damaged(_) => self.rebuild(writer),
            _ => self.catch_up(writer),
        }
    }

    /// Makes the index anew from the journal.
    fn rebuild(&self, writer: &mut Writer) -> Result<(), BankError> {
        self.settle(writer, true);
        let _alone = self.index.write().unwrap_or_else(PoisonError::into_inner);
        self.behind.store(true, Ordering::Release);
        self.pending.clear();
        self.store.clear()?;
        let folder = writer.journal.folder().to_owned();
        let repeated = Repeated::into(&*self.store);
        journal::read(&folder, &Head::EMPTY, Check::Everything, &mut |record| repeated.add(record))?;
        repeated.finish()?;
        self.store.flush()?;
        writer.has_flushed(writer.journal.head().record);
        self.behind.store(false, Ordering::Release);
        Ok(())
    }
}

impl Backend for JournalBooks {
    fn read(&self, read: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>) -> Result<(), BankError> {
        if self.behind.load(Ordering::Acquire) {
            let mut writer = lock(&self.writer);
            // Another thread may have been faster.
            if self.behind.load(Ordering::Acquire) {
                self.catch_up(&mut writer)?;
            }
        }
        {
            let guard = self.index.read().unwrap_or_else(PoisonError::into_inner);
            match read(&Whole::of(&*self.store, &self.pending, false)) {
                Ok(()) => return Ok(()),
                Err(StoreError::Pending) => {
                    drop(guard);
                    self.index_all(&mut lock(&self.writer))?;
                }
                Err(error) => {
                    drop(guard);
                    self.mend(&mut lock(&self.writer), &error)?;
                }
            }
        }
        // Whatever was done before the question was asked is in the index now.
        let read_again = |read: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>| {
            let _guard = self.index.read().unwrap_or_else(PoisonError::into_inner);
            read(&Whole::of(&*self.store, &self.pending, true))
        };
        match read_again(read) {
            Ok(()) => Ok(()),
            Err(error) => {
                self.mend(&mut lock(&self.writer), &error)?;
                read_again(read).map_err(BankError::Store)
            }
        }
    }

    fn write(&self, at: Timestamp, payloads: &[&Written]) -> Result<Vec<Result<Answer, BankError>>, BankError> {
        let mut writer = lock(&self.writer);
        match self.write_with(&mut writer, at, payloads) {
            Err(BankError::Store(error)) => {
                self.mend(&mut writer, &error)?;
                self.write_with(&mut writer, at, payloads)
            }
            outcomes => outcomes,
        }
    }

    fn flush(&self) -> Result<(), BankError> {
        let mut writer = lock(&self.writer);
        self.index_all(&mut writer)?;
        self.store.flush()?;
        let record = writer.journal.head().record;
        writer.has_flushed(record);
        Ok(())
    }

    fn check(&self) -> Result<(), BankError> {
        lock(&self.writer).journal.check().map_err(BankError::from)
    }

    fn records(&self, visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>) -> Result<(), BankError> {
        let folder = lock(&self.writer).journal.folder().to_owned();
        journal::read(&folder, &Head::EMPTY, Check::Everything, visit).map(|_| ())
    }
}

impl Drop for JournalBooks {
    fn drop(&mut self) {
        // Best effort: what is not flushed is repeated from the journal at the next start.
        if let Some(Indexing { thread, .. }) = lock(&self.writer).indexing.take()
            && !matches!(thread.join(), Ok(Ok(())))
        {
            return;
        }
        if let Some((head, changes)) = self.pending.go().as_deref().and_then(Gathered::due) {
            let _ = self.store.apply(head, changes);
        }
        let _ = self.store.flush();
    }
}

/// Records of the journal on their way into an index that lacks them, many rows at a time: that is quicker, and takes
/// less room on a disk that has little.
struct Repeated<'a> {
    store: &'a dyn Store,
    pending: Pending,
}

impl<'a> Repeated<'a> {
    fn into(store: &'a dyn Store) -> Self {
        Self { store, pending: Pending::default() }
    }

    /// Adds the record after the last one.
    fn add(&self, record: &Record<'_>) -> Result<(), BankError> {
        let changes = changes_of(&Whole::of(self.store, &self.pending, false), record)?;
        if self.pending.add(&record.head, changes) == Fill::Little { Ok(()) } else { self.finish() }
    }

    /// Has the index hold all that was added.
    fn finish(&self) -> Result<(), BankError> {
        if let Some((head, changes)) = self.pending.go().as_deref().and_then(Gathered::due) {
            self.store.apply(head, changes)?;
        }
        self.pending.gone();
        Ok(())
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
    let repeated = Repeated::into(&**store);
    let (journal, cut) = Journal::open(&options.journal, settings, indexed, options.check, &mut |record| {
        replayed += 1;
        repeated.add(record)
    })?;
    repeated.finish()?;
    recovery.replayed = replayed;
    recovery.cut = cut;
    Ok(journal)
}
