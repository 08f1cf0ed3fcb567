//! The images on the user's own machine that a site brings to its hosts.

use tycoon_lang::site::Site;

use crate::failure::Failure;
use crate::output::Output;

/// Images by their names.
#[derive(Clone, Debug, Default)]
pub struct Sources;

/// The images of a site.
pub fn sources(_: &Site, _: &Output) -> Result<Sources, Failure> {
    Ok(Sources)
}
