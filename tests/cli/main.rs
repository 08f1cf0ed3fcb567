//! The program from end to end, as a person runs it: in a home of its own, with a clock and a seed that stand still.

#[path = "../../bank/tests/cluster/mod.rs"]
mod cluster;
mod elastic;
mod environment;
#[path = "../../sls/tests/network/mod.rs"]
mod network;

mod bad_files;
mod bad_input;
mod bank;
mod bank_crashes;
mod bank_disks;
mod bank_kills;
mod bank_service;
mod check;
mod crashes;
mod door;
mod examples;
mod explain;
mod forwards;
mod help;
mod host_account;
mod host_accounts;
mod host_service;
mod kept_alive;
mod locking;
mod lsp;
mod outputs;
mod params;
mod partitions;
mod pools;
mod prediction;
mod readme;
mod saved;
mod served;
mod simulation;
mod site_changes;
mod sls;
mod sls_load;
mod ssh_session;
mod time;
mod tutorial;
mod up_and_down;
mod volumes;
