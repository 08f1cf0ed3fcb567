//! `tycoon host session`: what a client runs over SSH. It serves the hypervisor of the machine on standard input and
//! output, for whoever is root here.

use std::io;
use std::path::Path;

use tycoon_xen::remote::Session;

use super::driver;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine::{self, MACHINE_FILE};

/// Serves until the input ends.
pub fn run() -> Result<Exit, Failure> {
    let machine = machine::load(Path::new(MACHINE_FILE))?;
    let driver = driver::open(&machine)?;
    Session::new(driver.hypervisor)
        .with_images(driver.images)
        .serve(io::stdin(), io::stdout())
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(Exit::Ok)
}
