//! What is written on the machine, or would be.

use std::path::Path;

use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// Changes the machine, or only says how; and remembers whether there was anything to change.
pub struct Changes<'a> {
    /// Where it is said.
    output: &'a Output,
    /// True where nothing is done.
    pub is_dry_run: bool,
    /// Whether there was anything to do.
    pub any: bool,
}

impl<'a> Changes<'a> {
    /// None yet.
    pub const fn none(is_dry_run: bool, output: &'a Output) -> Self {
        Self { output, is_dry_run, any: false }
    }

    /// Does something, or says that it would be done: `wrote FILE`, `would write FILE`.
    pub fn make(
        &mut self,
        would: &str,
        done: &str,
        change: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.any = true;
        if self.is_dry_run {
            self.output.message(&format!("would {would}"));
            return Ok(());
        }
        change()?;
        self.output.message(done);
        Ok(())
    }

    /// The file has this text. True where it had not.
    pub fn file(&mut self, path: &str, text: &str) -> Result<bool, Failure> {
        if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
            return Ok(false);
        }
        self.make(&format!("write {path}"), &format!("wrote {path}"), || {
            files::write(Path::new(path), text.as_bytes(), 0o644)
        })?;
        Ok(true)
    }
}
