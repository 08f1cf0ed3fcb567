//! Whether something in a domain listens, as seen from this machine.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tycoon_market::Timestamp;

use crate::hypervisor::{Hypervisor, HypervisorError};
use crate::status::DomainState;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(2);

/// [`Hypervisor::listens`] for a hypervisor whose domains are reached from this machine.
pub(crate) fn listens_here(
    host: &dyn Hypervisor,
    name: &str,
    port: u16,
    now: Timestamp,
) -> Result<bool, HypervisorError> {
    let Some(domain) = host.domain(name, now)? else { return Err(HypervisorError::NoDomain(name.to_owned())) };
    if domain.state != DomainState::Running {
        return Ok(false);
    }
    if host.facts()?.is_simulated {
        return Ok(true);
    }
    let Some(address) = domain.address else { return Ok(false) };
    Ok(TcpStream::connect_timeout(&SocketAddr::from((address, port)), PATIENCE).is_ok())
}
