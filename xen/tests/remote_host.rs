//! A hypervisor at the other end of a stream keeps the rules of a hypervisor, whatever the stream does.

mod remote;
