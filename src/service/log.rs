//! The log of a service, on standard error, where systemd's journal takes it.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::LogForm;
use crate::exit::Exit;
use crate::failure::Failure;

/// Starts the log.
pub fn start(form: LogForm, level: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        Failure::new(Exit::Usage, format!("the log level `{level}` is not understood: {error}"))
            .help("write `error`, `warn`, `info` or `debug`")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match form {
        LogForm::Json => log.json().flatten_event(true).try_init(),
        LogForm::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("the log cannot be started: {error}")))
}
