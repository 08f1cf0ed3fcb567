//! The rules of the service location service, through its records, its registry, and calls.

mod sls;
