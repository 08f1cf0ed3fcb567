//! The program on real Xen hosts, those of the lab (docs/lab.md). `make test` runs this; `cargo test` alone passes it
//! over, because it needs minutes, and a machine that can run the lab.

mod cluster;
mod faults;
mod images;
mod keep;
mod lab;
mod life;
mod market;
mod outages;
mod power;
mod site;
mod terms;
mod town;
mod trial;
