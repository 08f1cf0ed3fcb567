//! From a name that a user writes to a target, as her own `ssh` would understand it.
//!
//! libssh2 knows nothing of `~/.ssh/config`. OpenSSH's own resolver is asked: `ssh -G NAME` prints what would hold for
//! a connection, without making one. Where there is no `ssh`, what it does without any configuration holds.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::command::quoted;
use super::error::SshError;
use super::target::{SshTarget, SshTimes};

/// How long `ssh -G` may take. A configuration can run commands (`Match exec`).
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer of `ssh -G` that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// What holds where a user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSurroundings {
    /// Her name here.
    pub user: String,
    /// Her home folder.
    pub home: PathBuf,
    /// The socket of her agent: `SSH_AUTH_SOCK`.
    pub agent: Option<PathBuf>,
    /// OpenSSH's client; a name is looked for in `PATH`.
    pub program: PathBuf,
    /// The configuration to use instead of `~/.ssh/config` and the machine's.
    pub config: Option<PathBuf>,
}

impl SshTarget {
    /// What `name` means to this user's ssh. `user` and `port` overrule what is configured. Runs `ssh -G`, which opens
    /// no connection.
    pub fn resolve(
        name: &str,
        user: Option<&str>,
        port: Option<u16>,
        surroundings: &SshSurroundings,
    ) -> Result<Self, SshError> {
        let is_plain = |text: &str| {
            !text.is_empty()
                && text.len() <= 255
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_alphanumeric() || "-_.:%@+".contains(c))
        };
        for (what, text) in [("name of a host", Some(name)), ("user", user)] {
            if let Some(text) = text
                && !is_plain(text)
            {
                let reason = "write letters, digits, `-`, `_` and `.`, and no `-` at the beginning".to_owned();
                let shown: String = text.chars().take(80).collect();
                return Err(SshError::Settings { what: format!("`{shown}` is no {what}"), reason });
            }
        }
        let answer = ask(name, user, port, surroundings)?;
        let lines = answer.as_deref().unwrap_or_default();
        let values = |key: &str| -> Vec<&str> { lines.lines().filter_map(|line| value_of(key, line)).collect() };
        let one = |key: &str| values(key).first().copied().filter(|value| !value.is_empty() && *value != "none");
        let host = one("hostname").unwrap_or(name).to_owned();
        let user = user.or_else(|| one("user")).unwrap_or(&surroundings.user).to_owned();
        let port = port.or_else(|| one("port").and_then(|port| port.parse().ok())).unwrap_or(22);
        let expand = |path: &str| expanded(path, &host, &user, port, surroundings);
        let mut target = Self::new(&user, &host, port);
        target.host_key_alias = one("hostkeyalias").map(str::to_owned);
        target.identities_only = one("identitiesonly") == Some("yes");
        target.identities = values("identityfile").into_iter().filter(|path| *path != "none").map(expand).collect();
        target.known_hosts = ["userknownhostsfile", "globalknownhostsfile"]
            .iter()
            .flat_map(|key| one(key).unwrap_or_default().split_ascii_whitespace())
            .map(expand)
            .collect();
        target.agent = match values("identityagent").first().copied() {
            None | Some("SSH_AUTH_SOCK") => surroundings.agent.clone(),
            Some("none") => None,
            Some(path) => Some(expand(path.trim_matches('"'))),
        };
        if let Some(seconds) = one("connecttimeout").and_then(|seconds| seconds.parse().ok()).filter(|s| *s > 0) {
            target.times = SshTimes { connect: Duration::from_secs(seconds), ..target.times };
        }
        target.proxy = match (one("proxycommand"), one("proxyjump")) {
            (Some(command), _) => Some(with_tokens(command, &host, &user, port, surroundings)),
            (None, Some(jump)) => Some(jump_command(jump, &host, port, surroundings)),
            (None, None) => None,
        };
        if answer.is_none() {
            let of_home = |name: &str| surroundings.home.join(".ssh").join(name);
            target.identities = ["id_ed25519", "id_ecdsa", "id_rsa"].map(of_home).into();
            target.known_hosts =
                vec![of_home("known_hosts"), of_home("known_hosts2"), PathBuf::from("/etc/ssh/ssh_known_hosts")];
        }
        Ok(target)
    }
}

/// The value of a line, where it is of this key.
fn value_of<'a>(key: &str, line: &'a str) -> Option<&'a str> {
    let (word, rest) = line.split_once(' ')?;
    word.eq_ignore_ascii_case(key).then_some(rest.trim())
}

/// What `ssh -G` says; none where there is no ssh.
fn ask(
    name: &str,
    user: Option<&str>,
    port: Option<u16>,
    surroundings: &SshSurroundings,
) -> Result<Option<String>, SshError> {
    let failed = |reason: String| SshError::Settings { what: format!("your ssh configuration, for {name}"), reason };
    let mut command = Command::new(&surroundings.program);
    command.arg("-G");
    if let Some(config) = &surroundings.config {
        command.arg("-F").arg(config);
    }
    if let Some(user) = user {
        command.args(["-l", user]);
    }
    if let Some(port) = port {
        command.args(["-p", &port.to_string()]);
    }
    command.args(["--", name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(format!("ssh cannot be started: {error}"))),
    };
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (tell, told) = sync_channel(1);
    let read = move || {
        let mut texts = [Vec::new(), Vec::new()];
        if let Some(stdout) = stdout {
            // What cannot be read is not there.
            let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut texts[0]);
        }
        if let Some(stderr) = stderr {
            let _ = stderr.take(4 << 10).read_to_end(&mut texts[1]);
        }
        let _ = tell.send(texts.map(|text| String::from_utf8_lossy(&text).into_owned()));
    };
    let reader = thread::Builder::new().name("ssh -G".into()).spawn(read);
    let texts = told.recv_timeout(PATIENCE);
    if texts.is_err() {
        // It may have ended just now.
        let _ = child.kill();
    }
    let status = child.wait();
    reader.map_err(|error| failed(format!("no thread can be started: {error}")))?;
    let [answer, complaint] =
        texts.map_err(|_| failed(format!("`ssh -G {name}` does not end within {} s", PATIENCE.as_secs())))?;
    match status {
        Ok(status) if status.success() => Ok(Some(answer)),
        _ => Err(failed(format!("`ssh -G {name}` says: {}", complaint.trim()))),
    }
}

/// A path with `~` and tokens replaced.
fn expanded(path: &str, host: &str, user: &str, port: u16, surroundings: &SshSurroundings) -> PathBuf {
    let path = with_tokens(path, host, user, port, surroundings);
    match path.strip_prefix("~/") {
        Some(rest) => surroundings.home.join(rest),
        None => PathBuf::from(path),
    }
}

/// A text with OpenSSH's tokens replaced. Those that are not known stay.
fn with_tokens(text: &str, host: &str, user: &str, port: u16, surroundings: &SshSurroundings) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        let token = rest[at + 1..].chars().next();
        let replacement = match token {
            Some('%') => "%".to_owned(),
            Some('h' | 'n') => host.to_owned(),
            Some('p') => port.to_string(),
            Some('r') => user.to_owned(),
            Some('u') => surroundings.user.clone(),
            Some('d') => surroundings.home.display().to_string(),
            Some(other) => format!("%{other}"),
            None => "%".to_owned(),
        };
        result.push_str(&replacement);
        rest = &rest[at + 1 + token.map_or(0, char::len_utf8)..];
    }
    result.push_str(rest);
    result
}

/// What leads over other hosts: OpenSSH's client itself, as it does for itself.
fn jump_command(jump: &str, host: &str, port: u16, surroundings: &SshSurroundings) -> String {
    let shell_word = |path: &Path| quoted(&path.display().to_string());
    let (before, last) = jump.rsplit_once(',').map_or((None, jump), |(before, last)| (Some(before), last));
    let last = if last.starts_with("ssh://") { last.to_owned() } else { format!("ssh://{last}") };
    let config = surroundings.config.as_deref().map(|path| format!("-F {} ", shell_word(path))).unwrap_or_default();
    let before = before.map(|before| format!("-J {} ", quoted(before))).unwrap_or_default();
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let program = shell_word(&surroundings.program);
    format!("{program} {config}-o BatchMode=yes {before}-W {} -- {}", quoted(&place), quoted(&last))
}
