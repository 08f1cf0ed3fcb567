//! How a process that serves others starts: its settings, its log, its server. A setting comes from the command line,
//! else from the environment, else from the settings file, else it has its usual value.

pub mod footprint;
pub mod log;
pub mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use tycoon_market::Timestamp;
use tycoon_rpc::replay_mark::MarkFile;
use tycoon_rpc::server::tls::TlsFiles;
use tycoon_rpc::{AfterRestart, ReplayPolicy, ServerSettings};

use crate::exit::Exit;
use crate::failure::Failure;
use settings::Settings;

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogForm {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What every service is told.
#[derive(Args, Debug, Clone, Default)]
pub struct ServiceArgs {
    /// Read settings from a file; what stands on the command line or in the environment comes first
    #[arg(long, value_name = "FILE", env = "TYCOON_SERVICE_SETTINGS")]
    pub settings: Option<PathBuf>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", env = "TYCOON_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// The TLS certificate and those that vouch for it (PEM)
    #[arg(long, value_name = "FILE", env = "TYCOON_TLS_CERTIFICATES")]
    pub tls_certificates: Option<PathBuf>,
    /// The key of the TLS certificate (PEM)
    #[arg(long, value_name = "FILE", env = "TYCOON_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// A proxy in front speaks TLS: listen beyond this machine without it
    #[arg(long, env = "TYCOON_BEHIND_PROXY")]
    pub behind_proxy: bool,
    /// How the log on standard error is written [default: text]
    #[arg(long, value_enum, value_name = "FORM", env = "TYCOON_LOG_FORM")]
    pub log: Option<LogForm>,
    /// What is logged: error, warn, info or debug, also by part of the program (info,tycoon_rpc=debug) [default: info]
    #[arg(long, value_name = "LEVEL", env = "TYCOON_LOG")]
    pub log_level: Option<String>,
}

/// The names of the settings that every service has.
pub const COMMON: &[&str] = &["listen", "tls-certificates", "tls-key", "behind-proxy", "log", "log-level"];

impl ServiceArgs {
    /// The settings file, where one is given; `own` are the names that the service itself has.
    pub fn settings(&self, own: &[&str]) -> Result<Settings, Failure> {
        let names: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        match &self.settings {
            Some(path) => Settings::read(path, &names),
            None => Ok(Settings::default()),
        }
    }

    /// How the server listens.
    pub fn server(&self, settings: &Settings, usual: SocketAddr) -> Result<ServerSettings, Failure> {
        let listen = self.listen.map_or_else(|| settings.parsed("listen"), |listen| Ok(Some(listen)))?;
        let mut server = ServerSettings::on(listen.unwrap_or(usual));
        let file = |given: &Option<PathBuf>, name| given.clone().or_else(|| settings.text(name).map(PathBuf::from));
        server.tls = match (file(&self.tls_certificates, "tls-certificates"), file(&self.tls_key, "tls-key")) {
            (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
            (None, None) => None,
            _ => {
                return Err(Failure::new(Exit::Usage, "TLS needs a certificate and its key")
                    .help("give both --tls-certificates and --tls-key"));
            }
        };
        server.behind_proxy = self.behind_proxy || settings.parsed("behind-proxy")?.unwrap_or(false);
        Ok(server)
    }

    /// Starts the log.
    pub fn start_log(&self, settings: &Settings) -> Result<(), Failure> {
        let form = match (self.log, settings.text("log")) {
            (Some(form), _) => form,
            (None, None) => LogForm::Text,
            (None, Some(word)) => LogForm::from_str(word, false).map_err(|_| {
                Failure::new(Exit::Usage, format!("the setting `log` is `{word}`")).help("write `text` or `json`")
            })?,
        };
        log::start(form, self.log_level.as_deref().or(settings.text("log-level")).unwrap_or("info"))
    }
}

/// How a service defends itself against replays, with the mark of what it took before.
pub struct ReplayDefence {
    /// What it takes.
    pub policy: ReplayPolicy,
    /// Where the mark is kept.
    pub marks: MarkFile,
    /// The mark; `None` where there is none.
    pub mark: Option<Timestamp>,
}

impl ReplayDefence {
    /// The defence of the service that keeps what it knows in `folder`. Only where it knows nothing yet, `is_empty`, and
    /// has no mark was nothing ever accepted, so that nothing can come a second time.
    pub fn of(folder: &Path, is_empty: bool) -> Result<Self, Failure> {
        let (marks, mark) =
            MarkFile::open(folder.join("replay-mark")).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
        let is_new = is_empty && mark.is_none();
        let after_restart = if is_new { AfterRestart::Accept } else { AfterRestart::Refuse };
        Ok(Self { policy: ReplayPolicy { after_restart, ..ReplayPolicy::NETWORK }, marks, mark })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::replay_mark::MarkStore as _;

    #[test]
    fn only_a_service_that_knows_nothing_takes_what_is_older_than_itself() {
        let folder = tempfile::tempdir().unwrap();
        let after_restart = |is_empty| ReplayDefence::of(folder.path(), is_empty).unwrap().policy.after_restart;
        assert_eq!(after_restart(true), AfterRestart::Accept);
        assert_eq!(after_restart(false), AfterRestart::Refuse, "its mark was lost");
        ReplayDefence::of(folder.path(), true).unwrap().marks.save(Timestamp::from_seconds(7)).unwrap();
        assert_eq!(after_restart(true), AfterRestart::Refuse, "what it knew was lost");
    }
}
