//! Books in a PostgreSQL database, which several processes of one bank may share.
//!
//! Two tables: `journal` has the same hash-chained records as the journal on disk, `ledger_rows` the index made from them
//! ([`super::keyed`] says what its rows are). Every batch is one serialisable transaction that reads the last record,
//! decides, appends, and updates the rows; where another process was faster the database refuses it, and it is decided
//! anew, some times at most. So the rules never see a state that is not the latest.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Config, IsolationLevel, NoTls, Transaction};

use super::StoreError;
use super::keyed::{Batch, Keyed, Row, Rows};

/// An index in a table of PostgreSQL.
pub type PostgresStore = Keyed<PooledRows>;

/// The steps from an empty database to the present form, each done once, in their order. A step that was published is
/// never changed; a new form gets a new step.
const MIGRATIONS: &[&str] = &[
    "CREATE TABLE journal (
        record bigint PRIMARY KEY,
        hash text NOT NULL,
        at bigint NOT NULL,
        payload text NOT NULL
     );
     CREATE TABLE ledger_rows (
        key bytea PRIMARY KEY,
        row jsonb NOT NULL
     );
     CREATE TABLE seen_requests (
        signature bytea PRIMARY KEY,
        at bigint NOT NULL
     );
     CREATE INDEX seen_requests_at ON seen_requests (at);",
    "CREATE VIEW accounts AS
        SELECT row->>'id' AS id, row->>'label' AS label, row->>'kind' AS kind, row->>'parent' AS parent,
               (row->>'balance')::bigint AS balance_micros, (row->>'set_aside')::bigint AS set_aside_micros
        FROM ledger_rows WHERE key >= '\\x61' AND key < '\\x62';
     CREATE VIEW transfers AS
        SELECT row->>'id' AS id, row->>'payer' AS payer, row->>'payee' AS payee, row->>'memo' AS memo,
               (row->>'amount')::bigint AS amount_micros, (row->>'at')::bigint AS at_micros
        FROM ledger_rows WHERE key >= '\\x74' AND key < '\\x75';",
];
/// Connections that wait for their next use.
const IDLE_MAX: usize = 16;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement may take, so that a database that hangs is noticed.
const STATEMENT_TIMEOUT: &str = "SET statement_timeout = '20s'; SET lock_timeout = '10s'; \
     SET idle_in_transaction_session_timeout = '30s'";

/// Connections to a database.
pub struct Database {
    config: Config,
    idle: Mutex<Vec<Client>>,
}

/// What the database said, without the address and the user that a connection text may have.
pub(crate) fn failed(error: &postgres::Error) -> StoreError {
    let detail = match error.as_db_error() {
        Some(told) => format!("{} ({})", told.message(), told.code().code()),
        None => std::error::Error::source(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    };
    if is_away(error) { StoreError::Unavailable(detail) } else { StoreError::Failed(detail) }
}

/// True where the database is stopping, starting, full of connections, or not there at all.
fn is_away(error: &postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            // Classes 08 (the connection) and 53 (resources), and 57P (the operator).
            let code = code.code();
            ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
        }
        None => true,
    }
}

/// True where the same transaction may succeed when it is made again.
pub(crate) fn is_conflict(error: &postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::LOCK_NOT_AVAILABLE)
    ) || (error.code() == Some(&SqlState::UNIQUE_VIOLATION)
        && error.as_db_error().and_then(|told| told.table()) == Some("journal"))
}

impl Database {
    /// Opens the database at `url` (`postgres://user@host/name`), and brings its tables to the present form.
    pub fn open(url: &str) -> Result<Self, StoreError> {
        let mut config: Config = url
            .parse()
            .map_err(|error: postgres::Error| StoreError::Failed(format!("its address is not understood: {error}")))?;
        config.connect_timeout(CONNECT_TIMEOUT).application_name("tycoon-bank");
        let database = Self { config, idle: Mutex::default() };
        database.migrate()?;
        Ok(database)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `work` use a connection. One that failed is not used again.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T, postgres::Error> {
        let waiting = self.idle().pop().filter(|client| !client.is_closed());
        let mut client = match waiting {
            Some(client) => client,
            None => {
                let mut client = self.config.connect(NoTls)?;
                client.batch_execute(STATEMENT_TIMEOUT)?;
                client
            }
        };
        let worked = work(&mut client);
        let usable = worked.as_ref().err().is_none_or(|error| error.as_db_error().is_some());
        let mut idle = self.idle();
        if usable && idle.len() < IDLE_MAX {
            idle.push(client);
        }
        worked
    }

    /// Does the steps that were not done yet. Two processes that start at once do them one after the other.
    fn migrate(&self) -> Result<(), StoreError> {
        for attempt in 1.. {
            match self.with(migrate) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(newer)) => {
                    return Err(StoreError::Failed(format!(
                        "it has the form {newer}, which is newer than this program; update the program"
                    )));
                }
                Err(error) if attempt < 5 && (is_conflict(&error) || is_duplicate(&error)) => {}
                Err(error) => return Err(failed(&error)),
            }
        }
        Ok(())
    }
}

/// Another process made the same table at the same moment.
fn is_duplicate(error: &postgres::Error) -> bool {
    matches!(error.code(), Some(&SqlState::DUPLICATE_TABLE | &SqlState::UNIQUE_VIOLATION | &SqlState::DUPLICATE_OBJECT))
}

fn migrate(client: &mut Client) -> Result<Result<(), i64>, postgres::Error> {
    client.batch_execute("CREATE TABLE IF NOT EXISTS migrations (step bigint PRIMARY KEY)")?;
    let mut transaction = client.build_transaction().isolation_level(IsolationLevel::Serializable).start()?;
    let done: i64 = transaction.query_one("SELECT coalesce(max(step), 0) FROM migrations", &[])?.get(0);
    let known = MIGRATIONS.len() as i64;
    if done > known {
        return Ok(Err(done));
    }
    for (number, step) in (1_i64..).zip(MIGRATIONS).skip(usize::try_from(done).unwrap_or(0)) {
        transaction.batch_execute(step)?;
        transaction.execute("INSERT INTO migrations (step) VALUES ($1)", &[&number])?;
    }
    transaction.commit().map(Ok)
}

const GET: &str = "SELECT row::text FROM ledger_rows WHERE key = $1";
const RANGE: &str = "SELECT key, row::text FROM ledger_rows WHERE key >= $1 AND key < $2 ORDER BY key LIMIT $3";
const RANGE_BACK: &str =
    "SELECT key, row::text FROM ledger_rows WHERE key >= $1 AND key < $2 ORDER BY key DESC LIMIT $3";
const PUT: &str = "INSERT INTO ledger_rows (key, row) SELECT k, r::jsonb FROM unnest($1::bytea[], $2::text[]) AS new (k, r) \
     ON CONFLICT (key) DO UPDATE SET row = excluded.row";
const REMOVE: &str = "DELETE FROM ledger_rows WHERE key = ANY ($1::bytea[])";

fn bound(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn rows_of(found: Vec<postgres::Row>) -> Vec<Row> {
    found.into_iter().map(|row| (row.get(0), row.get::<_, String>(1).into_bytes())).collect()
}

/// Rows that are read each by itself, over the connections of a database.
pub struct PooledRows(pub(crate) std::sync::Arc<Database>);

impl Rows for PooledRows {
    /// People look at them with SQL.
    const IS_PACKED: bool = false;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.0.with(|client| client.query_opt(GET, &[&key])).map_err(|error| failed(&error))?;
        Ok(found.map(|row| row.get::<_, String>(0).into_bytes()))
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let found = self.0.with(|client| client.query(RANGE, &[&start, &end, &bound(limit)]));
        found.map(rows_of).map_err(|error| failed(&error))
    }

    fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let found = self.0.with(|client| client.query(RANGE_BACK, &[&start, &end, &bound(limit)]));
        found.map(rows_of).map_err(|error| failed(&error))
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let written = self.0.with(|client| {
            let mut transaction = client.transaction()?;
            write(&mut transaction, batch)?;
            transaction.commit()
        });
        written.map_err(|error| failed(&error))
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.0.with(|client| client.batch_execute("DELETE FROM ledger_rows")).map_err(|error| failed(&error))
    }
}

fn write(transaction: &mut Transaction<'_>, batch: Batch) -> Result<(), postgres::Error> {
    // The last of several rows of one key counts.
    let rows: BTreeMap<Vec<u8>, Vec<u8>> = batch.put.into_iter().collect();
    let (keys, texts): (Vec<Vec<u8>>, Vec<String>) =
        rows.into_iter().map(|(key, row)| (key, String::from_utf8_lossy(&row).into_owned())).unzip();
    transaction.execute(PUT, &[&keys, &texts])?;
    if !batch.removed.is_empty() {
        transaction.execute(REMOVE, &[&batch.removed])?;
    }
    Ok(())
}

/// Rows as one transaction sees them. What the database refuses meanwhile is kept, so that it can be told from damage.
pub(crate) struct TransactionRows<'t, 'c> {
    state: Mutex<TransactionState<'t, 'c>>,
}

struct TransactionState<'t, 'c> {
    transaction: &'t mut Transaction<'c>,
    /// What was read, so that a row is asked for once in a batch.
    read: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    refused: Option<postgres::Error>,
}

impl<'t, 'c> TransactionRows<'t, 'c> {
    pub(crate) fn new(transaction: &'t mut Transaction<'c>) -> Self {
        Self { state: Mutex::new(TransactionState { transaction, read: BTreeMap::new(), refused: None }) }
    }

    fn state(&self) -> MutexGuard<'_, TransactionState<'t, 'c>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the database refused, once.
    pub(crate) fn refused(&self) -> Option<postgres::Error> {
        self.state().refused.take()
    }

    fn noted<T>(state: &mut TransactionState<'_, '_>, done: Result<T, postgres::Error>) -> Result<T, StoreError> {
        done.map_err(|error| {
            let told = failed(&error);
            state.refused = Some(error);
            told
        })
    }
}

impl Rows for TransactionRows<'_, '_> {
    /// People look at them with SQL.
    const IS_PACKED: bool = false;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let mut state = self.state();
        if let Some(row) = state.read.get(key) {
            return Ok(row.clone());
        }
        let found = state.transaction.query_opt(GET, &[&key]);
        let row = Self::noted(&mut state, found)?.map(|row| row.get::<_, String>(0).into_bytes());
        state.read.insert(key.to_vec(), row.clone());
        Ok(row)
    }

    fn range(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut state = self.state();
        let found = state.transaction.query(RANGE, &[&start, &end, &bound(limit)]);
        Self::noted(&mut state, found).map(rows_of)
    }

    fn range_back(&self, start: &[u8], end: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        let mut state = self.state();
        let found = state.transaction.query(RANGE_BACK, &[&start, &end, &bound(limit)]);
        Self::noted(&mut state, found).map(rows_of)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut state = self.state();
        state.read.clear();
        let written = write(state.transaction, batch);
        Self::noted(&mut state, written)
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn clear(&self) -> Result<(), StoreError> {
        Err(StoreError::Failed("a transaction does not empty the books".to_owned()))
    }
}
