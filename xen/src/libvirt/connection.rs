//! The connection to libvirt: one for all calls, opened again where it broke.

use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use virt::connect::Connect;
use virt::error::{Error, ErrorNumber};

use super::document::Kind;
use super::events;
use crate::hypervisor::HypervisorError;

/// How often a daemon that is silent is asked for a sign of life, in seconds, and after how many without an answer the
/// connection counts as broken.
const KEEP_ALIVE: (i32, u32) = (5, 6);

/// Why something that was done over a connection failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// libvirt says so.
    Libvirt(Error),
    /// Anything else.
    Other(HypervisorError),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Libvirt(error)
    }
}

impl From<HypervisorError> for Fault {
    fn from(error: HypervisorError) -> Self {
        Self::Other(error)
    }
}

impl Fault {
    fn into_error(self, operation: &'static str) -> HypervisorError {
        match self {
            Self::Libvirt(error) => failed(operation, error.message().trim()),
            Self::Other(error) => error,
        }
    }
}

/// A failure that trying again may mend.
pub(super) fn failed(operation: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> HypervisorError {
    HypervisorError::Failed { operation: operation.into(), reason: reason.into() }
}

/// Something that cannot be done here.
pub(super) fn refused(operation: impl Into<Cow<'static, str>>, reason: impl Into<String>) -> HypervisorError {
    HypervisorError::Refused { operation: operation.into(), reason: reason.into() }
}

/// True where libvirt says this.
pub(super) fn is(error: &Error, number: ErrorNumber) -> bool {
    error.code().is(number)
}

/// The connection to one libvirt daemon, or to libvirt's `test` driver.
pub(super) struct Connection {
    uri: String,
    kind: Kind,
    current: Mutex<Option<Connect>>,
}

impl Connection {
    /// Connects. The `uri` is `xen:///system`, or `test:///default` for a host in this process.
    pub(super) fn open(uri: &str) -> Result<Self, HypervisorError> {
        let connect = connect(uri)?;
        let driver = connect.driver_type().map_err(|error| Fault::from(error).into_error("asking libvirt"))?;
        let kind = match driver.to_ascii_lowercase().as_str() {
            "xen" => Kind::Xen,
            "test" => Kind::Test,
            other => {
                let reason = format!("behind `{uri}` is `{other}`, and only Xen is driven; write `xen:///system`");
                return Err(refused("opening libvirt", reason));
            }
        };
        Ok(Self { uri: uri.to_owned(), kind, current: Mutex::new(Some(connect)) })
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Does `act` over the connection. Where that breaks on the way it is opened again, once, and `act` is done from
    /// its beginning: it looks at what is before it changes anything.
    pub(super) fn with<T>(
        &self,
        operation: &'static str,
        act: impl Fn(&Connect) -> Result<T, Fault>,
    ) -> Result<T, HypervisorError> {
        let connect = self.connect()?;
        match act(&connect) {
            Err(Fault::Libvirt(_)) if !is_alive(&connect) => {
                let connect = self.connect()?;
                act(&connect).map_err(|fault| fault.into_error(operation))
            }
            outcome => outcome.map_err(|fault| fault.into_error(operation)),
        }
    }

    /// The connection, opened again where it is broken. Calls share it and run side by side.
    pub(super) fn connect(&self) -> Result<Connect, HypervisorError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connect) = current.as_ref().filter(|connect| is_alive(connect)) {
            return Ok(connect.clone());
        }
        *current = None;
        let connect = connect(&self.uri)?;
        *current = Some(connect.clone());
        Ok(connect)
    }
}

/// True where the connection has not broken. Nothing is sent for this.
pub(super) fn is_alive(connect: &Connect) -> bool {
    connect.is_alive().unwrap_or(false)
}

fn connect(uri: &str) -> Result<Connect, HypervisorError> {
    const OPERATION: &str = "connecting to libvirt";
    if uri.contains('\0') {
        return Err(refused(OPERATION, "its address has a zero byte in it"));
    }
    // The loop must be there before the first connection is.
    events::run_loop().map_err(|reason| failed(OPERATION, reason))?;
    let connect = Connect::open(Some(uri)).map_err(|error| {
        let is_xen = is_control_domain(Path::new("/"));
        failed(OPERATION, not_connected(uri, error.code().is(ErrorNumber::NoConnect), error.message().trim(), is_xen))
    })?;
    // The test driver has nobody who could be silent, and refuses.
    let _ = connect.set_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1);
    Ok(connect)
}

/// True on a machine that runs Xen, in its control domain.
fn is_control_domain(root: &Path) -> bool {
    std::fs::read_to_string(root.join("proc/xen/capabilities")).is_ok_and(|text| text.contains("control_d"))
        || std::fs::read_to_string(root.join("sys/hypervisor/properties/features")).is_ok()
            && root.join("dev/xen/privcmd").exists()
}

/// What keeps us from libvirt, and what to do about it.
fn not_connected(uri: &str, has_no_driver: bool, message: &str, is_xen: bool) -> String {
    if !is_xen && uri.starts_with("xen:") {
        return format!(
            "this machine does not run Xen, or this is not its control domain ({message}); \
             install `xen-system-amd64` and boot the entry with Xen"
        );
    }
    if message.contains("Permission denied") || message.contains("authentication") {
        return format!("{message}; run this as root, or as a member of the group `libvirt`");
    }
    if has_no_driver {
        return format!(
            "{message}; install `libvirt-daemon-driver-xen` and restart libvirt: `systemctl restart libvirtd`. \
             If it is installed, `journalctl -u libvirtd` tells why it did not load"
        );
    }
    format!("{message}; `systemctl status libvirtd` tells whether it runs, `systemctl start libvirtd` starts it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_keeps_us_from_libvirt_is_said_with_its_remedy() {
        let uri = "xen:///system";
        for (has_no_driver, message, is_xen, remedy) in [
            (true, "no connection driver available for xen:///system", false, "install `xen-system-amd64`"),
            (true, "no connection driver available for xen:///system", true, "install `libvirt-daemon-driver-xen`"),
            (false, "Failed to connect socket: Connection refused", true, "`systemctl status libvirtd`"),
            (false, "Failed to connect socket: Permission denied", true, "member of the group `libvirt`"),
        ] {
            let said = not_connected(uri, has_no_driver, message, is_xen);
            assert!(said.contains(remedy) && said.contains(message), "{said}");
        }
    }

    #[test]
    fn only_xen_is_driven() {
        let error = Connection::open("nonsense:///").map(|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("connecting to libvirt failed: "), "{error}");
        assert!(Connection::open("test:///default\0").is_err());
        assert_eq!(Connection::open("test:///default").unwrap().kind(), Kind::Test);
    }
}
