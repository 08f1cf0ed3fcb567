//! Calls that fail on purpose: before they get there, after they have been carried out, or from some moment on all of
//! them, as when the machine that makes them is switched off.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tycoon_executor::link::LinkError;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It never gets there.
    Before,
    /// It is carried out, and its answer is lost.
    After,
}

type Hook = Box<dyn Fn(&str) + Send>;

/// Which calls fail.
#[derive(Default)]
pub struct Faults {
    calls: AtomicU64,
    plan: Mutex<BTreeMap<u64, How>>,
    is_dead: AtomicBool,
    repeats: AtomicBool,
    hook: Mutex<Option<Hook>>,
}

impl Faults {
    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The call with this number, counted from now on, fails.
    pub fn fail(&self, number: u64, how: How) {
        self.plan.lock().unwrap().insert(self.calls() + number, how);
    }

    /// No planned call fails any more.
    pub fn clear(&self) {
        self.plan.lock().unwrap().clear();
    }

    /// Whoever calls is dead: no call gets anywhere until [`Faults::revive`].
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::SeqCst);
    }

    pub fn revive(&self) {
        self.is_dead.store(false, Ordering::SeqCst);
    }

    /// From now on every call is made twice.
    pub fn repeat(&self) {
        self.repeats.store(true, Ordering::SeqCst);
    }

    /// Runs `hook` with the name of every call before it is made.
    pub fn before_each(&self, hook: impl Fn(&str) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Makes a call.
    pub fn call<T>(&self, name: &str, act: impl Fn() -> Result<T, LinkError>) -> Result<T, LinkError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook(name);
            self.hook.lock().unwrap().get_or_insert(hook);
        }
        if self.is_dead.load(Ordering::SeqCst) {
            return Err(lost("the caller is dead"));
        }
        let planned = self.plan.lock().unwrap().remove(&number);
        match planned {
            Some(How::Before) => Err(lost("the call was lost")),
            Some(How::After) => {
                let _ = act();
                Err(lost("the answer was lost"))
            }
            None if self.repeats.load(Ordering::SeqCst) => {
                let _ = act();
                act()
            }
            None => act(),
        }
    }
}

fn lost(reason: &str) -> LinkError {
    LinkError::Unreachable { reason: reason.to_owned() }
}
