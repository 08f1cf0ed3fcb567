//! The program that is brought to machines.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tycoon_executor::ssh::SshConnection;

use super::there::{LONG, QUICK};
use crate::exit::Exit;
use crate::failure::Failure;

/// Where the program is put.
pub const PROGRAM: &str = "/usr/local/bin/tycoon";

/// The SHA-256 digest of a content, as `sha256sum` prints it.
pub fn digest(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The program that is installed.
pub struct Program {
    content: Vec<u8>,
    digest: String,
    /// The content as it travels, made for the first host that needs it.
    packed: OnceLock<io::Result<Vec<u8>>>,
}

impl Program {
    /// The program in the file `path`, or this one.
    pub fn read(path: Option<&Path>) -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let path = path.unwrap_or(&own);
        let content = std::fs::read(path).map_err(|error| {
            Failure::from_error(Exit::Failed, &error).context(&format!("{} cannot be read", path.display()))
        })?;
        Ok(Self { digest: digest(&content), content, packed: OnceLock::new() })
    }

    fn packed(&self) -> Result<&[u8], Failure> {
        let pack = || {
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            packed.write_all(&self.content)?;
            packed.finish()
        };
        let packed = self.packed.get_or_init(pack).as_ref();
        packed.map(Vec::as_slice).map_err(|error| Failure::from_error(Exit::Failed, error))
    }

    /// Whether the machine has just this program.
    pub fn is_there(&self, connection: &SshConnection) -> Result<bool, Failure> {
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        let told = connection.run(&format!("sha256sum {PROGRAM}"), b"", QUICK).map_err(failed)?;
        Ok(String::from_utf8_lossy(&told.stdout).split_whitespace().next() == Some(self.digest.as_str()))
    }

    /// Puts the program in its place, unless it is there.
    pub fn bring(&self, connection: &SshConnection, say: &dyn Fn(&str)) -> Result<(), Failure> {
        let failed = |error| Failure::from_error(Exit::Failed, &error);
        if self.is_there(connection)? {
            say("the program is there already");
            return Ok(());
        }
        let packed = self.packed()?;
        say(&format!("bringing the program ({} MiB)", packed.len() >> 20));
        let part = format!("{PROGRAM}.gz");
        connection
            .upload(&mut &*packed, packed.len() as u64, &part, 0o600, &mut |_| ControlFlow::Continue(()))
            .map_err(failed)?;
        // Unpacked beside its place: a session that runs keeps the old file.
        let unpack = format!(
            "gzip -dc {part} > {PROGRAM}.new && chmod 755 {PROGRAM}.new && sync {PROGRAM}.new && \
             mv -f {PROGRAM}.new {PROGRAM} && rm -f {part} && sync \"$(dirname {PROGRAM})\""
        );
        connection.run_well(&unpack, b"", LONG).map_err(failed)?;
        if !self.is_there(connection)? {
            return Err(Failure::new(Exit::Failed, format!("what arrived at {PROGRAM} is not what was sent"))
                .help("run the command again"));
        }
        Ok(())
    }
}
