//! Books in a PostgreSQL database ([`crate::store::postgres`] says how they are laid out).

use std::sync::Arc;
use std::time::Duration;

use postgres::{Client, IsolationLevel};
use tycoon_market::{TimeSpan, Timestamp};

use crate::bank::{Backend, BankError, Decision, decide, repeat};
use crate::evidence::Written;
use crate::journal::{Record, RecordHash, record};
use crate::ledger::{Answer, Refusal};
use crate::store::postgres::{Database, PooledRows, PostgresStore, TransactionRows, failed, is_conflict};
use crate::store::{Head, Keyed, Store, StoreError};

/// How often a batch is decided anew because another process was faster.
const ATTEMPTS_MAX: u32 = 30;
/// The greatest pause between two attempts; it grows up to this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// How long requests are remembered that any of the processes accepted; longer than they are fresh.
const SEEN_FOR: TimeSpan = TimeSpan::from_seconds(900);
/// The lock that lets processes write one after the other instead of refusing each other. It only saves work: where the
/// database has no such locks (a distributed engine), transactions alone keep the books whole.
const LOCK: i64 = 0x0074_7963_6f6f_6e00;
/// Records that are read at a time.
const PAGE: i64 = 1000;

/// Books in a database.
pub struct PostgresBooks {
    database: Arc<Database>,
    store: PostgresStore,
    locks: bool,
}

type Outcomes = Vec<Result<Answer, BankError>>;

/// Why a batch was not written.
enum Stopped {
    Database(postgres::Error),
    Bank(BankError),
}

impl From<postgres::Error> for Stopped {
    fn from(error: postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl PostgresBooks {
    /// The books in the database at `url` (`postgres://user@host/name`).
    pub fn open(url: &str) -> Result<Self, BankError> {
        let database = Arc::new(Database::open(url).map_err(BankError::Store)?);
        let store = Keyed::over(PooledRows(database.clone()));
        let books = Self { locks: has_locks(&database), database, store };
        let (journal, index) = books.heads()?;
        if journal != index {
            return Err(BankError::Database(format!(
                "its journal ends at record {}, its rows at {}; they were changed by something else than the bank: \
                 restore the database from its backup",
                journal.record, index.record
            )));
        }
        Ok(books)
    }

    /// The last record of the journal, and the one that the rows hold, as they were at one moment.
    fn heads(&self) -> Result<(Head, Head), BankError> {
        let read = self.database.with(|client| {
            let level = IsolationLevel::RepeatableRead;
            let mut transaction = client.build_transaction().isolation_level(level).read_only(true).start()?;
            let row = transaction.query_opt(LAST, &[])?;
            // A hash that cannot be read is not that of the rows, which is what the caller looks for.
            let journal = row.and_then(|row| head_of(&row).ok()).unwrap_or(Head::EMPTY);
            let store = Keyed::over(TransactionRows::new(&mut transaction));
            match store.head() {
                Ok(index) => Ok(Ok((journal, index))),
                Err(error) => store.rows().refused().map_or(Ok(Err(error)), Err),
            }
        });
        read.map_err(|error| BankError::Store(failed(&error)))?.map_err(BankError::Store)
    }

    /// Puts a record of another bank's books behind the last one, as it is.
    pub fn append(&self, shown: &Record<'_>) -> Result<(), BankError> {
        let appended = self.database.with(|client| {
            let mut transaction = client.build_transaction().isolation_level(IsolationLevel::Serializable).start()?;
            let rows = TransactionRows::new(&mut transaction);
            let store = Keyed::over(rows);
            if let Err(error) = repeat(&store, shown) {
                return match store.rows().refused() {
                    Some(refused) => Err(refused),
                    None => Ok(Err(error)),
                };
            }
            drop(store);
            insert(&mut transaction, &shown.head, shown.payload)?;
            transaction.commit().map(Ok)
        });
        appended.map_err(|error| BankError::Store(failed(&error)))?
    }

    fn attempt(&self, client: &mut Client, now: Timestamp, payloads: &[&Written]) -> Result<Outcomes, Stopped> {
        let mut transaction = client.build_transaction().isolation_level(IsolationLevel::Serializable).start()?;
        let before = {
            let row = transaction.query_opt(LAST, &[])?;
            row.map_or(Ok(Head::EMPTY), |row| head_of(&row)).map_err(Stopped::Bank)?
        };
        let at = now.max(before.at);
        let fresh = fresh(&mut transaction, now, payloads)?;
        let decided: Vec<&Written> =
            payloads.iter().zip(&fresh).filter(|(_, fresh)| **fresh).map(|(payload, _)| *payload).collect();
        let rows = TransactionRows::new(&mut transaction);
        let store = Keyed::over(rows);
        let stop = |store: &Keyed<TransactionRows<'_, '_>>, error: StoreError| match store.rows().refused() {
            Some(refused) => Stopped::Database(refused),
            None => Stopped::Bank(error.into()),
        };
        let decision = decide(&store, &before, at, &decided);
        let Decision { outcomes, payloads: texts, changes } = decision.map_err(|error| stop(&store, error))?;
        let mut head = before;
        let mut records = Vec::with_capacity(texts.len());
        let mut line = String::new();
        for text in &texts {
            line.clear();
            head = record::encode(&mut line, &head, at, text);
            records.push((head, text));
        }
        if !records.is_empty() {
            store.apply(&head, &changes).map_err(|error| stop(&store, error))?;
        }
        drop(store);
        for (head, payload) in records {
            insert(&mut transaction, &head, payload)?;
        }
        transaction.commit()?;
        let mut outcomes = outcomes.into_iter();
        let seen = || Err(BankError::Refused(Refusal::Seen));
        Ok(fresh.iter().map(|fresh| if *fresh { outcomes.next().unwrap_or_else(seen) } else { seen() }).collect())
    }

    /// One attempt, with the other processes kept waiting meanwhile where the database can do that.
    fn locked_attempt(&self, client: &mut Client, now: Timestamp, payloads: &[&Written]) -> Result<Outcomes, Stopped> {
        if !self.locks {
            return self.attempt(client, now, payloads);
        }
        client.execute("SELECT pg_advisory_lock($1)", &[&LOCK])?;
        let outcomes = self.attempt(client, now, payloads);
        client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK])?;
        outcomes
    }
}

const LAST: &str = "SELECT record, hash, at FROM journal ORDER BY record DESC LIMIT 1";

fn head_of(row: &postgres::Row) -> Result<Head, BankError> {
    let (record, hash, at): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
    let hash: RecordHash =
        hash.parse().map_err(|_| BankError::Database(format!("record {record} of its journal has no hash")))?;
    Ok(Head { record: u64::try_from(record).unwrap_or(0), hash, at: Timestamp::from_micros(at) })
}

fn insert(transaction: &mut postgres::Transaction<'_>, head: &Head, payload: &str) -> Result<(), postgres::Error> {
    let record = i64::try_from(head.record).unwrap_or(i64::MAX);
    let parameters: &[&(dyn postgres::types::ToSql + Sync)] =
        &[&record, &head.hash.to_string(), &head.at.micros(), &payload];
    transaction.execute("INSERT INTO journal (record, hash, at, payload) VALUES ($1, $2, $3, $4)", parameters)?;
    Ok(())
}

/// Which of the requests none of the processes has accepted before. They are remembered from now on.
fn fresh(
    transaction: &mut postgres::Transaction<'_>,
    now: Timestamp,
    payloads: &[&Written],
) -> Result<Vec<bool>, postgres::Error> {
    let signatures: Vec<Vec<u8>> = payloads
        .iter()
        .filter_map(|written| written.payload().evidence.as_ref())
        .map(|evidence| evidence.signature.as_bytes().to_vec())
        .collect();
    if signatures.is_empty() {
        return Ok(vec![true; payloads.len()]);
    }
    let old = now.micros().saturating_sub(i64::try_from(SEEN_FOR.micros()).unwrap_or(i64::MAX));
    transaction.execute("DELETE FROM seen_requests WHERE at < $1", &[&old])?;
    let rows = transaction.query(
        "INSERT INTO seen_requests (signature, at) SELECT s, $2 FROM unnest($1::bytea[]) AS new (s) \
         ON CONFLICT (signature) DO NOTHING RETURNING signature",
        &[&signatures, &now.micros()],
    )?;
    let fresh: std::collections::BTreeSet<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    let is_fresh = |written: &&Written| {
        written.payload().evidence.as_ref().is_none_or(|evidence| fresh.contains(&evidence.signature.as_bytes()[..]))
    };
    Ok(payloads.iter().map(is_fresh).collect())
}

fn has_locks(database: &Database) -> bool {
    database
        .with(|client| {
            client.execute("SELECT pg_advisory_lock($1)", &[&LOCK])?;
            client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK])
        })
        .is_ok()
}

impl Backend for PostgresBooks {
    fn read(&self, read: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>) -> Result<(), BankError> {
        read(&self.store).map_err(BankError::Store)
    }

    fn write(&self, at: Timestamp, payloads: &[&Written]) -> Result<Outcomes, BankError> {
        for attempt in 1..=ATTEMPTS_MAX {
            let mut stopped = None;
            let written = self.database.with(|client| match self.locked_attempt(client, at, payloads) {
                Ok(outcomes) => Ok(Some(outcomes)),
                Err(Stopped::Database(error)) => Err(error),
                Err(Stopped::Bank(error)) => {
                    stopped = Some(error);
                    Ok(None)
                }
            });
            match (written, stopped) {
                (_, Some(error)) => return Err(error),
                (Ok(Some(outcomes)), None) => return Ok(outcomes),
                (Err(error), None) if is_conflict(&error) && attempt < ATTEMPTS_MAX => {
                    std::thread::sleep(PAUSE_MAX.min(Duration::from_millis(u64::from(attempt) * 2)));
                }
                (Err(error), None) => return Err(BankError::Store(failed(&error))),
                (Ok(None), None) => break,
            }
        }
        Err(BankError::Database("other processes of the bank were faster again and again".to_owned()))
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn flush(&self) -> Result<(), BankError> {
        Ok(())
    }

    fn check(&self) -> Result<(), BankError> {
        let read_only = self.database.with(|client| client.query_one("SELECT pg_is_in_recovery()", &[]));
        match read_only.map(|row| row.get::<_, bool>(0)) {
            Ok(false) => Ok(()),
            Ok(true) => Err(BankError::Database("it is a standby, which cannot be written".to_owned())),
            // An engine that does not know the question answers it with an error of its own, which is no trouble.
            Err(error) if error.as_db_error().is_some() => Ok(()),
            Err(error) => Err(BankError::Store(failed(&error))),
        }
    }

    fn records(&self, visit: &mut dyn FnMut(&Record<'_>) -> Result<(), BankError>) -> Result<(), BankError> {
        let (mut head, mut line) = (Head::EMPTY, String::new());
        loop {
            let after = i64::try_from(head.record).unwrap_or(i64::MAX);
            let rows = self.database.with(|client| {
                client.query(
                    "SELECT record, hash, at, payload FROM journal WHERE record > $1 ORDER BY record LIMIT $2",
                    &[&after, &PAGE],
                )
            });
            let rows = rows.map_err(|error| BankError::Store(failed(&error)))?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                let found = head_of(row)?;
                let payload: String = row.get(3);
                line.clear();
                if record::encode(&mut line, &head, found.at, &payload) != found {
                    return Err(BankError::Database(format!(
                        "record {} of its journal is not what the bank wrote; restore the database from its backup",
                        head.record + 1
                    )));
                }
                visit(&Record { head: found, payload: &payload })?;
                head = found;
            }
        }
    }
}
