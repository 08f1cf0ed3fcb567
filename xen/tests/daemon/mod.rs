//! Tests of the host daemon, by subject.

mod account_gate;
mod bank_line;
mod description;
mod elastic;
mod enforcement;
mod enforcer;
mod entry;
mod keep;
mod kept;
mod keys;
mod market_data;
mod owner;
mod random_operations;
mod receipts;
mod restarts;
mod rights;
mod scene;
mod side_by_side;
mod whole_life;
