//! The rules of every driver, as far as libvirt's `test` driver can keep them.

use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;
use tycoon_market::{TimeSpan, Timestamp};
use tycoon_xen::conformance::{RULES, Surroundings, check};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::libvirt::LibvirtHost;

use super::folder_storage::FolderStorage;
use super::scene::open;

/// Rules that say something of the `test` driver itself, and what it does instead.
const LEFT_OUT: &[(&str, &str)] = &[
    (
        "CPU time never falls and needs a running domain",
        "it gives the seconds since 1970 as the CPU time of every running domain",
    ),
    ("the volumes of a suspended domain are read", "the same of suspended ones: they seem to run meanwhile"),
];

const URI: &str = "test:///default";

struct TestDriver {
    folder: TempDir,
    storage: Arc<FolderStorage>,
    /// The domains of `test:///default` are those of all connections to it, and gone with the last one.
    _host: LibvirtHost,
}

impl Surroundings for TestDriver {
    fn open(&self) -> Result<Box<dyn Hypervisor>, HypervisorError> {
        Ok(Box::new(open(URI, self.folder.path(), &self.storage)?))
    }

    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_seconds(0).plus(TimeSpan::from_micros(since.as_micros() as u64))
    }

    fn pass(&self, span: TimeSpan) {
        // Nothing takes time there that a rule waits for.
        std::thread::sleep(std::time::Duration::from_micros(span.micros().min(50_000)));
    }
}

#[test]
fn the_driver_keeps_the_rules_on_libvirts_own_host() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Arc::new(FolderStorage::new(folder.path()));
    let host = open(URI, folder.path(), &storage).unwrap();
    let surroundings = TestDriver { folder, storage, _host: host };
    let is_left_out = |name: &str| LEFT_OUT.iter().any(|(rule, _)| *rule == name);
    assert_eq!(RULES.iter().filter(|rule| is_left_out(rule.name)).count(), LEFT_OUT.len(), "a rule has another name");
    let broken: Vec<_> = RULES
        .iter()
        .filter(|rule| !is_left_out(rule.name))
        .filter_map(|rule| check(rule, &surroundings).err().map(|violation| (rule.name, violation)))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
