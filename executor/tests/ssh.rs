//! SSH against a real server of OpenSSH, run by the test on a port of its own with keys of its own.

mod sshd;
