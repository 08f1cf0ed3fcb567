//! The libvirt driver on libvirt's own `test` driver, a host in this process that needs neither Xen nor a daemon. On
//! real Xen hosts the example `conformance` runs the same rules.

mod changes;
mod conformance;
mod events;
mod folder_storage;
mod scene;
