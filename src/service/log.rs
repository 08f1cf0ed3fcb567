//! The log of a service, on standard error, where systemd's journal takes it. `TYCOON_LOG` says how much:
//! `warn`, `info` (the usual), `debug`, or by part of the program: `info,tycoon_rpc=debug`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use super::LogForm;
use crate::exit::Exit;
use crate::failure::Failure;

/// Starts the log.
pub fn start(form: LogForm) -> Result<(), Failure> {
    let wish = std::env::var("TYCOON_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wish).map_err(|error| {
        Failure::new(Exit::Usage, format!("TYCOON_LOG is `{wish}`, which is not understood: {error}"))
            .help("write `warn`, `info` or `debug`")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match form {
        LogForm::Json => log.json().flatten_event(true).try_init(),
        LogForm::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("the log cannot be started: {error}")))
}
