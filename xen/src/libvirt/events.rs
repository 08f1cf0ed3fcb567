//! What libvirt tells by itself: domains that start, stop or crash.
//!
//! The crate `virt` has no events, so this file alone calls the library directly. Events come on a thread of this
//! process that runs libvirt's event loop; that loop also notices a daemon that is gone or silent.

use std::ffi::{CStr, c_int, c_void};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use virt::connect::Connect;
use virt::error::Error;
use virt::{event, sys};

/// Events that wait for their reader at most; who does not read loses the newest and looks at the host instead.
const WAITING_MAX: usize = 1024;

/// Something that happened to a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainEvent {
    /// The hypervisor's name of the domain, ours or foreign.
    pub name: String,
    /// What happened.
    pub kind: DomainEventKind,
}

/// What can happen to a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DomainEventKind {
    /// It is defined, newly or again.
    Defined,
    /// Its definition is gone.
    Undefined,
    /// It runs.
    Started,
    /// It is paused.
    Paused,
    /// It runs again.
    Resumed,
    /// It is about to end.
    ShuttingDown,
    /// It ended, by itself or by request.
    Stopped,
    /// It ended by a fault of its own.
    Crashed,
}

impl DomainEventKind {
    fn of(event: c_int, detail: c_int) -> Option<Self> {
        let (event, detail) = (u32::try_from(event).ok()?, u32::try_from(detail).ok()?);
        Some(match event {
            sys::VIR_DOMAIN_EVENT_DEFINED => Self::Defined,
            sys::VIR_DOMAIN_EVENT_UNDEFINED => Self::Undefined,
            sys::VIR_DOMAIN_EVENT_STARTED => Self::Started,
            sys::VIR_DOMAIN_EVENT_SUSPENDED => Self::Paused,
            sys::VIR_DOMAIN_EVENT_RESUMED => Self::Resumed,
            sys::VIR_DOMAIN_EVENT_SHUTDOWN => Self::ShuttingDown,
            sys::VIR_DOMAIN_EVENT_STOPPED if detail == sys::VIR_DOMAIN_EVENT_STOPPED_CRASHED => Self::Crashed,
            sys::VIR_DOMAIN_EVENT_STOPPED => Self::Stopped,
            sys::VIR_DOMAIN_EVENT_CRASHED => Self::Crashed,
            // A newer libvirt may tell what we have no word for.
            _ => return None,
        })
    }
}

/// What a wait for an event brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waited {
    /// An event.
    Event(DomainEvent),
    /// Nothing happened in that time.
    Nothing,
    /// The connection broke. Look at the host, and subscribe again.
    Ended,
}

/// Events of all domains of a host, from the moment it is made until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    connect: Connect,
    callback: c_int,
    events: Receiver<DomainEvent>,
}

impl Subscription {
    /// Waits for the next event, at most for this time.
    pub fn wait(&self, longest: Duration) -> Waited {
        match self.events.recv_timeout(longest) {
            Ok(event) => Waited::Event(event),
            Err(RecvTimeoutError::Timeout) if super::connection::is_alive(&self.connect) => Waited::Nothing,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Waited::Ended,
        }
    }

    /// Subscribes.
    #[expect(unsafe_code, reason = "the crate `virt` has no wrapper for domain events")]
    pub(super) fn open(connect: &Connect) -> Result<Self, Error> {
        let (sender, events) = sync_channel(WAITING_MAX);
        let opaque = Box::into_raw(Box::new(sender));
        type Lifecycle =
            unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, c_int, c_int, *mut c_void) -> c_int;
        type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
        // SAFETY: libvirt takes every kind of callback as the generic one, and calls it with the arguments of its event
        // id: those of `Lifecycle` for VIR_DOMAIN_EVENT_ID_LIFECYCLE (libvirt-domain.h).
        let callback = unsafe { std::mem::transmute::<Lifecycle, Generic>(on_event) };
        // SAFETY: the connection is open, as `connect` holds a reference to it. `opaque` is a boxed sender, which
        // libvirt gives to `on_event`, and to `on_unsubscribed` once and last.
        let id = unsafe {
            sys::virConnectDomainEventRegisterAny(
                connect.as_ptr(),
                std::ptr::null_mut(),
                sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE as c_int,
                Some(callback),
                opaque.cast(),
                Some(on_unsubscribed),
            )
        };
        if id < 0 {
            let error = Error::last_error();
            // SAFETY: libvirt has not taken the sender, since it refused.
            drop(unsafe { Box::from_raw(opaque) });
            return Err(error);
        }
        Ok(Self { connect: connect.clone(), callback: id, events })
    }
}

impl Drop for Subscription {
    #[expect(unsafe_code, reason = "the crate `virt` has no wrapper for domain events")]
    fn drop(&mut self) {
        // SAFETY: the connection is open, as we hold a reference to it, and the id came from it. An error (a broken
        // connection) leaves nothing to do.
        let _ = unsafe { sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), self.callback) };
    }
}

/// Called by libvirt's event loop.
#[expect(unsafe_code, reason = "libvirt calls it with raw pointers")]
unsafe extern "C" fn on_event(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    detail: c_int,
    opaque: *mut c_void,
) -> c_int {
    // SAFETY: libvirt lends the domain for the time of this call, and its name with it.
    let name = unsafe { sys::virDomainGetName(domain) };
    if name.is_null() || opaque.is_null() {
        return 0;
    }
    // SAFETY: a name is a C string that lives as long as the domain.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    // SAFETY: `opaque` is the sender from `Subscription::open`, which lives until `on_unsubscribed`.
    let sender = unsafe { &*opaque.cast::<SyncSender<DomainEvent>>() };
    if let Some(kind) = DomainEventKind::of(event, detail) {
        // The loop must not wait for a reader.
        let (Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) =
            sender.try_send(DomainEvent { name, kind });
    }
    0
}

/// Called by libvirt when no event can come any more.
#[expect(unsafe_code, reason = "libvirt gives back the raw pointer it was given")]
unsafe extern "C" fn on_unsubscribed(opaque: *mut c_void) {
    if !opaque.is_null() {
        // SAFETY: `opaque` is the boxed sender from `Subscription::open`, and this is the last call with it.
        drop(unsafe { Box::from_raw(opaque.cast::<SyncSender<DomainEvent>>()) });
    }
}

/// Starts libvirt's event loop where it does not run yet; it runs as long as the process does.
pub(super) fn run_loop() -> Result<(), String> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // Errors are returned; libvirt need not print them as well.
            virt::error::clear_error_callback();
            event::event_register_default_impl().map_err(|error| error.message().to_owned())?;
            let turn = || {
                if event::event_run_default_impl().is_err() {
                    // Whatever is wrong, it must not take a whole CPU.
                    std::thread::sleep(Duration::from_millis(100));
                }
            };
            let run = move || {
                loop {
                    turn();
                }
            };
            let thread = std::thread::Builder::new().name("libvirt-events".to_owned());
            thread.spawn(run).map(drop).map_err(|error| format!("no thread for its events: {error}"))
        })
        .clone()
}
