//! Operations that wait to be written, the thread that writes them, and the one that tells what became of them.
//!
//! ```text
//! commit ─▶ queue ─▶ [the writer takes all that wait, and waits a moment for as many as came last time]
//!                      the books ([`Backend`]): decide each over what was decided before it,
//!                      write all, one sync                          ◀── the truth
//!                    ─▶ [the teller, while the next are written]
//!                      receipts, signed together
//!                    ─▶ answers, to whoever waits: a thread, or a task of a runtime
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::pin::{Pin, pin};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tycoon_rpc::{Clock, Signer};

use crate::bank::{Backend, BankError, lock};
use crate::evidence::Written;
use crate::journal::JournalError;
use crate::ledger::{Answer, Transfer};
use crate::transfer_receipt::{TransferReceipt, TransferTerms};

/// Operations that are written with one sync at most.
const BATCH_MAX: usize = 256;
/// How long the writer waits for as many operations as it wrote together last. Who pays alone never waits; where many do, each
/// sync and each signature serves more of them.
const GATHERING_MAX: Duration = Duration::from_micros(500);

/// Batches that are on disk and wait for the teller.
const WRITTEN_MAX: usize = 4;

type Outcome = Result<Done, BankError>;

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// What the ledger says of it.
    pub answer: Answer,
    /// The receipt, where it is a transfer. All that were written together have one signature.
    pub receipt: Option<TransferReceipt>,
}

/// An operation that waits to be written.
struct Waiting {
    written: Written,
    state: Mutex<State>,
}

/// What became of it.
enum State {
    /// It is not written yet; whom to tell.
    Queued(Option<Waker>),
    /// It is on disk, or was refused; nobody has been told.
    Done(Outcome),
    /// The outcome was told.
    Told,
}

impl Waiting {
    fn done(&self, outcome: Outcome) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Done(outcome));
        if let State::Queued(Some(waker)) = before {
            waker.wake();
        }
    }
}

/// An operation on its way to the disk: the outcome comes when it is there. It gets there also where nobody waits.
pub struct Commit(Arc<Waiting>);

impl Future for Commit {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let mut state = lock(&self.0.state);
        match std::mem::replace(&mut *state, State::Told) {
            State::Done(outcome) => Poll::Ready(outcome),
            State::Queued(_) => {
                *state = State::Queued(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Told => Poll::Ready(Err(interrupted())),
        }
    }
}

/// Wakes a thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Commit {
    /// Waits for the outcome on this thread.
    pub fn wait(self) -> Outcome {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut context, mut commit) = (Context::from_waker(&waker), pin!(self));
        loop {
            match commit.as_mut().poll(&mut context) {
                Poll::Ready(outcome) => return outcome,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// What became of an operation whose write did not end is not known.
fn interrupted() -> BankError {
    JournalError::Broken("a write was interrupted".to_owned()).into()
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Open>,
    changed: Condvar,
}

#[derive(Default)]
struct Open {
    operations: VecDeque<Arc<Waiting>>,
    /// The writer is woken when so many wait; not where that is none.
    wanted: usize,
    is_closed: bool,
}

impl Queue {
    /// All that wait, up to a bound, once something does; `None` where nothing will any more. Fewer than `last` are waited
    /// with for a moment.
    fn next(&self, last: usize) -> Option<Vec<Arc<Waiting>>> {
        let mut open = lock(&self.waiting);
        while open.operations.is_empty() {
            if open.is_closed {
                return None;
            }
            open.wanted = 1;
            open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        let deadline = Instant::now() + GATHERING_MAX;
        while open.operations.len() < last && !open.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            open.wanted = last;
            open = self.changed.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        open.wanted = 0;
        let count = open.operations.len().min(BATCH_MAX);
        Some(open.operations.drain(..count).collect())
    }
}

/// The receipts of transfers, in their order, signed together.
pub(crate) fn receipts<'a>(transfers: impl Iterator<Item = &'a Transfer>, signer: &dyn Signer) -> Vec<TransferReceipt> {
    let bank = signer.public_key();
    let terms = transfers.map(|transfer| TransferTerms::of(bank, transfer)).collect();
    TransferReceipt::sign_all(terms, |bytes| signer.sign(bytes))
}

/// What is being written. Whoever has heard nothing when it is dropped, which only a panic brings about, is told that.
struct Batch(Vec<Arc<Waiting>>);

/// What became of each operation of a batch.
type Outcomes = Vec<Result<Answer, BankError>>;

impl Batch {
    fn write(&self, backend: &dyn Backend, clock: &dyn Clock) -> Outcomes {
        let written: Vec<&Written> = self.0.iter().map(|waiting| &waiting.written).collect();
        match backend.write(clock.now(), &written) {
            Ok(outcomes) => outcomes,
            Err(error) => vec![Err(error); written.len()],
        }
    }

    fn tell(mut self, outcomes: Outcomes, signer: &dyn Signer) {
        let transfers = outcomes.iter().flatten().filter_map(Answer::transfer);
        let mut receipts = receipts(transfers, signer).into_iter();
        for (waiting, outcome) in self.0.drain(..).zip(outcomes) {
            waiting.done(outcome.map(|answer| {
                let receipt = answer.transfer().and_then(|_| receipts.next());
                Done { answer, receipt }
            }));
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        for waiting in &self.0 {
            waiting.done(Err(interrupted()));
        }
    }
}

/// The threads that write, and that tell of it. When this is dropped, what waits is written and told first.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// Starts to write into `backend`.
    pub(crate) fn start(backend: Arc<dyn Backend>, clock: Arc<dyn Clock>, signer: Arc<dyn Signer>) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let queued = queue.clone();
        let (tell, told) = sync_channel::<(Batch, Outcomes)>(WRITTEN_MAX);
        let write = move || {
            let mut last = 1;
            while let Some(batch) = queued.next(last) {
                last = batch.len();
                let batch = Batch(batch);
                // The panic has told of itself; whether the books can still be written, they know.
                if let Ok(outcomes) = panic::catch_unwind(AssertUnwindSafe(|| batch.write(&*backend, &*clock))) {
                    // Without the teller, the batch tells that it was interrupted.
                    let _ = tell.send((batch, outcomes));
                }
            }
        };
        let tell = move || {
            for (batch, outcomes) in told {
                let _ = panic::catch_unwind(AssertUnwindSafe(|| batch.tell(outcomes, &*signer)));
            }
        };
        let named = |name: &str| thread::Builder::new().name(name.into());
        let teller = named("bank-teller").spawn(tell)?;
        Ok(Self { queue, threads: vec![named("bank-writer").spawn(write)?, teller] })
    }

    /// Has an operation written.
    pub(crate) fn write(&self, written: Written) -> Commit {
        let waiting = Arc::new(Waiting { written, state: Mutex::new(State::Queued(None)) });
        let mut open = lock(&self.queue.waiting);
        open.operations.push_back(waiting.clone());
        let is_wanted = open.operations.len() == open.wanted;
        drop(open);
        if is_wanted {
            self.queue.changed.notify_one();
        }
        Commit(waiting)
    }

    /// How many operations wait.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.queue.waiting).operations.len()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.queue.waiting).is_closed = true;
        self.queue.changed.notify_one();
        for thread in self.threads.drain(..) {
            // They catch what fails in them.
            let _ = thread.join();
        }
    }
}
