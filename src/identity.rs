//! The user's key, which is her account: in a file, protected with a passphrase or not, or in an ssh-agent. Where she
//! has chosen none, one is made at first use.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tycoon_market::{AccountId, PublicKey};
use tycoon_rpc::agent::{Agent, AgentKey};
use tycoon_rpc::key_file::{self, KeyFileError};
use tycoon_rpc::keys::SecretKeyError;
use tycoon_rpc::{SecretKey, Signer};
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::files;
use crate::folders::{self, Folders};
use crate::output::Output;
use crate::service::settings::Settings;
use crate::site::world::Surroundings;

/// The names in the file that says which key is used.
const NAMES: &[&str] = &["key-file", "agent-key"];
/// The name of the key's file, beside the file that says which key is used.
const USUAL_FILE: &str = "id_ed25519";

/// The variable that names a file with the passphrase.
pub const PASSPHRASE_FILE: &str = "TYCOON_PASSPHRASE_FILE";
/// The longest passphrase, with the end of its line, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;

/// Who runs the program.
pub struct Identity {
    /// The key.
    pub key: Arc<dyn Signer>,
    /// The key itself, where an agent does not keep it to itself.
    pub secret: Option<Arc<SecretKey>>,
    /// Where it is kept.
    pub place: KeyPlace,
}

/// Where a key is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In this file.
    File(PathBuf),
    /// In the ssh-agent at this socket.
    Agent(PathBuf),
}

/// Which key the user has chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChoice {
    /// The key in a file.
    File(PathBuf),
    /// A key that the ssh-agent holds.
    Agent(PublicKey),
}

impl KeyChoice {
    /// The file that says which key is used.
    fn place(config: &Path) -> PathBuf {
        config.join("identity.kdl")
    }

    /// What was chosen; `None` where nothing was.
    pub fn read(config: &Path) -> Result<Option<Self>, Failure> {
        let place = Self::place(config);
        if !place.exists() {
            return Ok(None);
        }
        let settings = Settings::read(&place, NAMES)?;
        match (settings.text("key-file"), settings.parsed::<PublicKey>("agent-key")?) {
            (Some(file), None) => Ok(Some(Self::File(config.join(file)))),
            (None, Some(key)) => Ok(Some(Self::Agent(key))),
            _ => Err(Failure::new(Exit::Failed, format!("{} must name one key", place.display()))
                .help("`tycoon user setup` writes it anew")),
        }
    }

    /// Writes down what is chosen.
    pub fn write(&self, config: &Path) -> Result<(), Failure> {
        let (name, value) = match self {
            Self::File(file) => ("key-file", file.to_string_lossy().into_owned()),
            Self::Agent(key) => ("agent-key", key.to_string()),
        };
        let text =
            format!("// Which key is yours; `tycoon user setup` writes it.\n{name} {}\n", kdl::KdlValue::String(value));
        files::write(&Self::place(config), text.as_bytes(), 0o600)
    }

    /// The key.
    pub fn open(&self, output: &Output) -> Result<Identity, Failure> {
        match self {
            Self::File(path) => Identity::load(path.clone(), output),
            Self::Agent(key) => {
                let agent = agent()?;
                let held = agent.keys().map_err(|error| Failure::from_error(Exit::Failed, &error))?;
                if !held.iter().any(|(other, _)| other == key) {
                    return Err(Failure::new(
                        Exit::Failed,
                        format!("the ssh-agent does not hold your key {}", key.fingerprint()),
                    )
                    .help("add it with `ssh-add FILE`; `ssh-add -l` lists what the agent holds"));
                }
                let place = KeyPlace::Agent(agent.socket().to_owned());
                Ok(Identity { key: Arc::new(AgentKey::new(agent, *key)), secret: None, place })
            }
        }
    }
}

/// The user's agent.
pub fn agent() -> Result<Agent, Failure> {
    match std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty()) {
        Some(socket) => Ok(Agent::at(socket.into())),
        None => Err(Failure::new(Exit::Failed, "no ssh-agent runs here: SSH_AUTH_SOCK is not set")
            .help("start one with `eval $(ssh-agent)`, and add your key with `ssh-add`")),
    }
}

impl Identity {
    /// The user's key; a new one where there is none yet.
    pub fn find_or_make(folders: &Folders, surroundings: &Surroundings, output: &Output) -> Result<Self, Failure> {
        folders::make(&folders.config)?;
        if let Some(choice) = KeyChoice::read(&folders.config)? {
            return match &choice {
                KeyChoice::File(path) if matches!(path.try_exists(), Ok(false)) => Err(lost(path, &folders.config)),
                _ => choice.open(output),
            };
        }
        let path = Self::usual_file(&folders.config);
        // Written down, so that a key that is lost later is missed, and no other is made in its place.
        let usual = KeyChoice::File(USUAL_FILE.into());
        if path.exists() {
            let identity = Self::load(path, output)?;
            // The key is good, also where nothing can be written beside it.
            let _ = usual.write(&folders.config);
            return Ok(identity);
        }
        let key = Self::new_key(surroundings)?;
        match key_file::create(&path, &key, "tycoon") {
            Ok(()) => {}
            // Another process was faster: its key is the user's key.
            Err(_) if path.exists() => return Self::load(path, output),
            Err(error) => return Err(Failure::from_error(Exit::Failed, &error)),
        }
        usual.write(&folders.config)?;
        let shown = path.display().to_string();
        let identity = Self::in_file(key, path);
        output.message(&format!(
            "made your key {shown} (account {}); keep it safe, for it is your account",
            identity.account().short()
        ));
        Ok(identity)
    }

    /// Where the key is kept unless the user has chosen another.
    pub fn usual_file(config: &Path) -> PathBuf {
        config.join(USUAL_FILE)
    }

    /// A new key.
    pub fn new_key(surroundings: &Surroundings) -> Result<SecretKey, Failure> {
        match surroundings.seed {
            Some(seed) => Ok(SecretKey::from_seed(&Sha256::digest(format!("tycoon user {seed}")).into())),
            None => SecretKey::generate().map_err(|error| Failure::from_error(Exit::Failed, &error)),
        }
    }

    fn load(path: PathBuf, output: &Output) -> Result<Self, Failure> {
        let key = load_key(&path, output)?;
        Ok(Self::in_file(key, path))
    }

    /// Who has this key, which is in the file `path`.
    pub fn in_file(key: SecretKey, path: PathBuf) -> Self {
        let secret = Arc::new(key);
        Self { key: secret.clone(), secret: Some(secret), place: KeyPlace::File(path) }
    }

    /// The account of the key.
    pub fn account(&self) -> AccountId {
        AccountId::of(&self.key.public_key())
    }
}

/// A key that was the user's and is gone. No other is made in its place: that would be another account.
fn lost(path: &Path, config: &Path) -> Failure {
    let (key, choice) = (path.display(), KeyChoice::place(config));
    Failure::new(Exit::Failed, format!("your key {key} is not there any more, and it is your account")).help(format!(
        "restore it from a backup, and everything is as before. Without it nobody gets at what the account has, and its \
         pools run until they are paid no more; to begin anew with another key and another account, remove {}",
        choice.display()
    ))
}

/// The key in a file; its passphrase is asked for on a terminal, or read from the file that TYCOON_PASSPHRASE_FILE names.
pub fn load_key(path: &Path, output: &Output) -> Result<SecretKey, Failure> {
    let mut refused = None;
    let asked = || match passphrase(&format!("Passphrase of {}: ", path.display()), output) {
        Ok(passphrase) => passphrase,
        Err(failure) => {
            refused = Some(failure);
            None
        }
    };
    let loaded = key_file::load_protected(path, asked);
    match refused {
        Some(failure) => Err(failure),
        None => loaded.map_err(|error| Failure::from_error(Exit::Failed, &error).help(cure(&error))),
    }
}

/// What to do about a key that cannot be used. A key is an account with money, so nothing here gives one up.
fn cure(error: &KeyFileError) -> String {
    let restore = |path: &Path| {
        format!(
            "the key is the account: restore {} from a backup, and keep what is there now; another key is another \
             account, without this one's money",
            path.display()
        )
    };
    match error {
        KeyFileError::TooOpen { path, .. } => {
            format!("run `chmod 600 {}`; key and account stay as they are", path.display())
        }
        KeyFileError::Unreadable { path, source } if source.kind() == ErrorKind::PermissionDenied => {
            format!("run the command as the owner of {}; nothing is wrong with the key", path.display())
        }
        KeyFileError::NotAKey { path, source: SecretKeyError::Encrypted } => format!(
            "run the command on a terminal, or let TYCOON_PASSPHRASE_FILE name a file with the passphrase of {}",
            path.display()
        ),
        KeyFileError::NotAKey { path, source: SecretKeyError::WrongPassphrase } => {
            format!("try again with the passphrase of {}", path.display())
        }
        KeyFileError::Unreadable { path, .. }
        | KeyFileError::TooLarge { path }
        | KeyFileError::NotAKey { path, .. }
        | KeyFileError::Exists { path }
        | KeyFileError::Unwritable { path, .. } => restore(path),
    }
}

/// A passphrase that the user types, or that stands in the file that TYCOON_PASSPHRASE_FILE names; `None` where nobody
/// can be asked.
pub fn passphrase(question: &str, output: &Output) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = std::env::var_os(PASSPHRASE_FILE) {
        let text = files::read_text("the passphrase file", Path::new(&path), PASSPHRASE_BYTES_MAX)
            .map_err(|failure| failure.help(format!("{PASSPHRASE_FILE} names it")))?;
        let text = Zeroizing::new(text);
        return Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())));
    }
    if !output.can_ask {
        return Ok(None);
    }
    let typed = rpassword::prompt_password(question).map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    Ok(Some(Zeroizing::new(typed)))
}
