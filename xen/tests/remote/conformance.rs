//! All rules of a hypervisor, through a stream.

use std::cell::Cell;
use std::sync::Arc;

use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{Surroundings, check_all};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::memory::ForeignDomain;

use super::pipe::{Pipes, at, memory_host};

struct Remote {
    pipes: Arc<Pipes>,
    now: Cell<Timestamp>,
}

impl Surroundings for Remote {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        Ok(Box::new(self.pipes.hypervisor()))
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    fn pass(&self, span: TimeSpan) {
        self.now.set(self.now.get().plus(span));
    }
}

#[test]
fn a_remote_host_keeps_all_rules() {
    let host = memory_host();
    let foreign =
        ForeignDomain { name: "db.old".into(), vcpus: 1, memory_bytes: 1 << 30, disk_bytes: 1 << 30, address: None };
    host.add_foreign(&foreign, at(0)).unwrap();
    let remote = Remote { pipes: Pipes::to_host(host), now: Cell::new(at(0)) };
    let broken = check_all(&remote);
    assert!(broken.is_empty(), "{broken:#?}");
    remote.pipes.wait();
}
