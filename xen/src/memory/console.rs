//! The console of a simulated domain: it says who it is, and then whatever is typed, as a terminal with nobody behind
//! it does. It ends when the client does.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;

use super::state::State;
use crate::hypervisor::{ConsoleStream, HypervisorError};

/// Opens the console of a domain that runs.
pub(super) fn open(name: &str, state: &State) -> Result<ConsoleStream, HypervisorError> {
    const OPERATION: &str = "opening the console";
    let domain = state.domains.get(name).ok_or_else(|| HypervisorError::NoDomain(name.to_owned()))?;
    let now = domain.status(name).state;
    if !now.is_active() {
        let reason = format!("the domain `{name}` is {}; only a running one has a console", now.word());
        return Err(HypervisorError::Refused { operation: OPERATION.into(), reason });
    }
    let opened = || -> io::Result<ConsoleStream> {
        let (near, mut far) = UnixStream::pair()?;
        write!(far, "{name} is simulated, and says what is typed\r\n")?;
        Ok(ConsoleStream { output: Box::new(near), input: Box::new(far) })
    };
    opened().map_err(|error| HypervisorError::Failed { operation: OPERATION.into(), reason: error.to_string() })
}
