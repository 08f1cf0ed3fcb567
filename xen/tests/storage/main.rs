//! The storage of a machine keeps what it promises: on this machine with files, and with loop devices where it may.

mod account_images;
mod bench;
mod handed;
mod images;
mod lvm;
mod records;
mod seeds;
mod sharing;
mod volumes;
