//! A host whose starts take as long as the test wants, and whose domains have a console.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex};

use tycoon_market::Timestamp;
use tycoon_xen::hypervisor::{ConsoleStream, HostFacts, Hypervisor, HypervisorError};
use tycoon_xen::save::VolumeStream;
use tycoon_xen::spec::{DomainSpec, Ownership};
use tycoon_xen::status::DomainStatus;

/// It answers starts after the gate was opened, and `facts` at once. The name `panic` is too much for it.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) is_open: Mutex<bool>,
    pub(crate) changed: Condvar,
    /// The domain's ends of the consoles that were opened.
    pub(crate) consoles: Mutex<Vec<UnixStream>>,
    /// Starts that wait.
    pub(crate) waiting: Mutex<usize>,
}

impl Gate {
    pub(crate) fn open(&self) {
        *self.is_open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    /// Waits until so many starts wait.
    pub(crate) fn wait_for(&self, starts: usize) {
        let waiting = self.waiting.lock().unwrap();
        drop(self.changed.wait_while(waiting, |waiting| *waiting < starts).unwrap());
    }
}

fn no_domain<T>(name: &str) -> Result<T, HypervisorError> {
    Err(HypervisorError::NoDomain(name.to_owned()))
}

impl Hypervisor for Gate {
    fn facts(&self) -> Result<HostFacts, HypervisorError> {
        Ok(HostFacts {
            architecture: "x86_64".into(),
            hypervisor: "gate".into(),
            is_simulated: true,
            capacity: Vec::new(),
            images: Vec::new(),
        })
    }

    fn domains(&self, _: Timestamp) -> Result<Vec<DomainStatus>, HypervisorError> {
        Ok(Vec::new())
    }

    fn domain(&self, name: &str, _: Timestamp) -> Result<Option<DomainStatus>, HypervisorError> {
        assert_ne!(name, "panic", "this is meant to happen");
        Ok(None)
    }

    fn ensure_image(&self, image: &str) -> Result<bool, HypervisorError> {
        Err(HypervisorError::NoImage(image.to_owned()))
    }

    fn ensure_volumes(&self, _: &DomainSpec, _: &Ownership) -> Result<bool, HypervisorError> {
        Ok(false)
    }

    fn define(&self, _: &DomainSpec, _: &Ownership, _: Timestamp) -> Result<bool, HypervisorError> {
        Ok(false)
    }

    fn start(&self, _: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        *self.waiting.lock().unwrap() += 1;
        self.changed.notify_all();
        let is_open = self.is_open.lock().unwrap();
        drop(self.changed.wait_while(is_open, |is_open| !*is_open).unwrap());
        Ok(true)
    }

    fn stop(&self, name: &str, _: u64, _: Timestamp) -> Result<bool, HypervisorError> {
        no_domain(name)
    }

    fn suspend(&self, name: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        no_domain(name)
    }

    fn remove(&self, _: &str, _: Timestamp) -> Result<bool, HypervisorError> {
        Ok(false)
    }

    fn keep(&self, _: &str, _: &tycoon_xen::status::Kept, _: Timestamp) -> Result<bool, HypervisorError> {
        Ok(false)
    }

    fn listens(&self, name: &str, _: u16, _: Timestamp) -> Result<bool, HypervisorError> {
        no_domain(name)
    }

    fn set_cpu(&self, name: &str, _: u16, _: u32, _: Timestamp) -> Result<(), HypervisorError> {
        no_domain(name)
    }

    fn set_memory(&self, name: &str, _: u64, _: Timestamp) -> Result<(), HypervisorError> {
        no_domain(name)
    }

    fn open_volume(&self, name: &str, _: &str) -> Result<VolumeStream, HypervisorError> {
        no_domain(name)
    }

    fn open_console(&self, name: &str) -> Result<ConsoleStream, HypervisorError> {
        if name != "web" {
            return no_domain(name);
        }
        let (near, far) = UnixStream::pair().unwrap();
        self.consoles.lock().unwrap().push(far);
        let output: Box<dyn Read + Send> = Box::new(near.try_clone().unwrap());
        let input: Box<dyn Write + Send> = Box::new(near);
        Ok(ConsoleStream { output, input })
    }
}

pub(crate) fn gate() -> Arc<Gate> {
    Arc::new(Gate::default())
}
