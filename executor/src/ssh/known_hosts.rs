//! The keys by which hosts are known.
//!
//! Lists are read line by line, as OpenSSH does: names may be plain, patterns, or hashed. libssh2 knows hashed names;
//! what it does not know, such as negated patterns and revoked keys, is judged here.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, MethodType, Session};

use super::error::{ChangedHostKey, SshError};
use super::target::SshTarget;

/// The longest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// The algorithms in the order in which they are wanted where nothing is known of a host.
const ALGORITHMS: [&str; 6] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
];

/// All lists of a target, read.
pub(super) struct KnownHosts {
    lists: Vec<(PathBuf, String)>,
}

/// A key by which a host is known.
struct KnownKey<'a> {
    file: &'a Path,
    line: usize,
    key_type: &'a str,
    blob: Vec<u8>,
    is_revoked: bool,
}

impl KnownHosts {
    /// Reads the lists.
    pub(super) fn read(target: &SshTarget) -> Result<Self, SshError> {
        let mut lists = Vec::new();
        for path in target.known_hosts.iter().chain(&target.accept_new_into) {
            let failed = |reason: String| SshError::File { path: path.clone(), reason };
            let mut text = Vec::new();
            match fs::File::open(path) {
                Ok(file) => file.take(LIST_BYTES_MAX + 1).read_to_end(&mut text),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => Err(error),
            }
            .map_err(|error| failed(error.to_string()))?;
            if text.len() as u64 > LIST_BYTES_MAX {
                return Err(failed(format!("a list of known hosts may have {LIST_BYTES_MAX} bytes")));
            }
            lists.push((path.clone(), String::from_utf8_lossy(&text).into_owned()));
        }
        Ok(Self { lists })
    }

    /// The algorithms of host keys to ask for, separated by commas: first those of keys that are known, so that a host
    /// with several keys shows one that can be compared.
    pub(super) fn preferred_algorithms(&self, session: &Session, target: &SshTarget) -> Result<String, SshError> {
        let supported = session.supported_algs(MethodType::HostKey).unwrap_or_default();
        let keys = self.keys(session, target)?;
        let is_known = |algorithm: &str| {
            let key_type = if algorithm.starts_with("rsa-") { "ssh-rsa" } else { algorithm };
            keys.iter().any(|key| key.key_type == key_type && !key.is_revoked)
        };
        let mut wanted: Vec<&str> =
            ALGORITHMS.into_iter().filter(|algorithm| supported.is_empty() || supported.contains(algorithm)).collect();
        wanted.sort_by_key(|algorithm| !is_known(algorithm));
        Ok(wanted.join(","))
    }

    /// The host is who it is known to be.
    pub(super) fn check(&self, session: &Session, target: &SshTarget) -> Result<(), SshError> {
        let host = name_in_lists(target);
        let Some((blob, _)) = session.host_key() else {
            let reason = "it shows no key".to_owned();
            return Err(SshError::Handshake { host: target.host.clone(), port: target.port, reason });
        };
        let key_type = type_in_blob(blob);
        let found = fingerprint(blob);
        let changed = |expected: String, place: String, remedy: String| {
            let (host, key_type, found) = (host.clone(), key_type.clone(), found.clone());
            SshError::HostKeyChanged(Box::new(ChangedHostKey { host, key_type, expected, found, place, remedy }))
        };
        if let Some(pinned) = &target.host_key {
            if pinned.trim_end_matches('=') == found {
                return Ok(());
            }
            let remedy = "write it where the old one stands.".to_owned();
            return Err(changed(pinned.clone(), "as given for this host".to_owned(), remedy));
        }
        let keys = self.keys(session, target)?;
        let place = |key: &KnownKey<'_>| format!("{}, line {}", key.file.display(), key.line);
        if let Some(key) = keys.iter().find(|key| key.is_revoked && key.blob == blob) {
            let remedy = "nothing helps: the line says that this very key must not be trusted any more.".to_owned();
            return Err(changed("any other, for this one is revoked".to_owned(), place(key), remedy));
        }
        if keys.iter().any(|key| !key.is_revoked && key.blob == blob) {
            return Ok(());
        }
        if let Some(key) = keys.iter().find(|key| !key.is_revoked && key.key_type == key_type) {
            let file = key.file.display();
            let remedy = format!("remove the old one: ssh-keygen -f '{file}' -R '{host}'");
            return Err(changed(fingerprint(&key.blob), place(key), remedy));
        }
        if let Some(path) = &target.accept_new_into {
            return note(path, &host, &key_type, blob);
        }
        Err(SshError::HostKeyUnknown { remedy: self.remedy(target, &keys), host, key_type, fingerprint: found })
    }

    fn remedy(&self, target: &SshTarget, keys: &[KnownKey<'_>]) -> String {
        let others: Vec<&str> = keys.iter().map(|key| key.key_type).collect();
        let others = if others.is_empty() {
            String::new()
        } else {
            format!("known of it is only {}, which it does not show; ", others.join(", "))
        };
        let list = target.known_hosts.first().map_or("~/.ssh/known_hosts".into(), |path| path.display().to_string());
        let port = if target.port == 22 { String::new() } else { format!("-p {} ", target.port) };
        // The scan names the host by its address, and the lists have its alias.
        let renamed = target.host_key_alias.as_ref().map(|_| format!(" | sed 's/^[^ #]*/{}/'", name_in_lists(target)));
        format!(
            "{others}compare the fingerprint with what the host's owner says, then accept it: \
             ssh-keyscan {port}{}{} >> {list} (`tycoon host install --accept-new-host-keys` does that for new hosts)",
            target.host,
            renamed.unwrap_or_default()
        )
    }

    fn keys<'a>(&'a self, session: &Session, target: &SshTarget) -> Result<Vec<KnownKey<'a>>, SshError> {
        let mut keys = Vec::new();
        for (path, text) in &self.lists {
            for (number, line) in text.lines().enumerate() {
                if let Some((names, key)) = parse(path, number + 1, line)
                    && is_named(session, names, line, target)
                {
                    keys.push(key);
                }
            }
        }
        Ok(keys)
    }
}

/// The names and the key of a line; lines that are no such thing say nothing.
fn parse<'a>(file: &'a Path, line: usize, text: &'a str) -> Option<(&'a str, KnownKey<'a>)> {
    let mut words = text.split_ascii_whitespace();
    let mut names = words.next()?;
    let is_revoked = names == "@revoked";
    if is_revoked {
        names = words.next()?;
    }
    // Authorities that sign host keys are not supported, and comments are none.
    if names.starts_with('@') || names.starts_with('#') {
        return None;
    }
    let key_type = words.next()?;
    let blob = STANDARD.decode(words.next()?).ok()?;
    Some((names, KnownKey { file, line, key_type, blob, is_revoked }))
}

fn is_named(session: &Session, names: &str, line: &str, target: &SshTarget) -> bool {
    let host = target.known_as();
    if names.starts_with("|1|") {
        return is_hashed_name(session, line, host, target.port).unwrap_or(false);
    }
    let with_port = format!("[{}]:{}", host.to_lowercase(), target.port);
    let plain = host.to_lowercase();
    let is_one = |pattern: &str| {
        let pattern = pattern.to_lowercase();
        // As in OpenSSH, a key that is known without a port counts for all ports.
        matches(&pattern, &with_port) || matches(&pattern, &plain)
    };
    let mut is_named = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if is_one(negated) => return false,
            Some(_) => {}
            None => is_named |= is_one(pattern),
        }
    }
    is_named
}

/// libssh2 compares the hash. With a key that is none, its answer tells about the name alone.
fn is_hashed_name(session: &Session, line: &str, host: &str, port: u16) -> Option<bool> {
    let mut list = session.known_hosts().ok()?;
    let line = line.trim_start().strip_prefix("@revoked").unwrap_or(line).trim();
    list.read_str(line, KnownHostFileKind::OpenSSH).ok()?;
    Some(matches!(list.check_port(host, port, b"none"), CheckResult::Match | CheckResult::Mismatch))
}

/// Whether a name fits a pattern in which `*` is any text and `?` any character.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// The name under which the host is, or would be, in a list.
fn name_in_lists(target: &SshTarget) -> String {
    let host = target.known_as();
    if target.port == 22 { host.to_owned() } else { format!("[{host}]:{}", target.port) }
}

/// Notes a new host.
fn note(path: &Path, host: &str, key_type: &str, blob: &[u8]) -> Result<(), SshError> {
    let line = format!("{host} {key_type} {}\n", STANDARD.encode(blob));
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error| {
        let reason = format!("the key of the new host {host} cannot be noted in it: {error}");
        SshError::File { path: path.to_owned(), reason }
    })
}

/// The fingerprint of a key as OpenSSH shows it.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

/// The type that a key says it has: a text with its length before it.
pub(super) fn type_in_blob(blob: &[u8]) -> String {
    let name =
        blob.split_first_chunk::<4>().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
    let is_plain = |name: &&[u8]| name.len() <= 64 && name.iter().all(u8::is_ascii_graphic);
    name.filter(is_plain).map_or_else(|| "unknown".to_owned(), |name| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_openssh() {
        for (pattern, name) in
            [("xen1", "xen1"), ("xen?", "xen1"), ("*.example.org", "a.example.org"), ("*", "x"), ("a*b*c", "axxbyyc")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("xen1", "xen12"), ("xen?", "xen"), ("*.example.org", "example.org"), ("", "x"), ("a*b*c", "axxc")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn names_may_be_several_negated_with_port_and_hashed() {
        let session = Session::new().unwrap();
        let mut target = SshTarget::new("root", "xen1", 2222);
        let is_named = |names: &str, target: &SshTarget| {
            let line =
                format!("{names} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIVgyCgX6F4oHnCGgu5D3i3gZ2Ljv2jkqyl1cvDHLtuA");
            let (names, _) = parse(Path::new("list"), 1, &line).unwrap();
            super::is_named(&session, names, &line, target)
        };
        assert!(is_named("other,[xen1]:2222", &target));
        assert!(is_named("XEN1", &target));
        assert!(!is_named("[xen1]:22", &target));
        assert!(!is_named("xen*,!xen1", &target));
        // Written by `ssh-keygen -H` for `xen1`.
        target.port = 22;
        let hashed = "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg=";
        target.host = "192.168.1.61".into();
        assert!(is_named(hashed, &target));
        target.host = "192.168.1.62".into();
        assert!(!is_named(hashed, &target));
    }
}
