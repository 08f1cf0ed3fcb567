//! The user's key, which is her account. It is made at first use.

use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tycoon_market::AccountId;
use tycoon_rpc::{SecretKey, Signer, key_file};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::folders::{self, Folders};
use crate::output::Output;
use crate::site::world::Surroundings;

/// Who runs the program.
pub struct Identity {
    /// The key.
    pub key: Arc<SecretKey>,
    /// Where it is kept.
    pub path: PathBuf,
}

impl Identity {
    /// The user's key; a new one where there is none yet.
    pub fn find_or_make(folders: &Folders, surroundings: &Surroundings, output: &Output) -> Result<Self, Failure> {
        folders::make(&folders.config)?;
        let path = folders.config.join("id_ed25519");
        if path.exists() {
            return Self::load(path);
        }
        let key = match surroundings.seed {
            Some(seed) => SecretKey::from_seed(&Sha256::digest(format!("tycoon user {seed}")).into()),
            None => SecretKey::generate().map_err(|error| Failure::from_error(Exit::Failed, &error))?,
        };
        match key_file::create(&path, &key, "tycoon") {
            Ok(()) => {}
            // Another process was faster: its key is the user's key.
            Err(_) if path.exists() => return Self::load(path),
            Err(error) => return Err(Failure::from_error(Exit::Failed, &error)),
        }
        let identity = Self { key: Arc::new(key), path };
        output.message(&format!(
            "made your key {} (account {}); keep it safe, for it is your account",
            identity.path.display(),
            identity.account().short()
        ));
        Ok(identity)
    }

    fn load(path: PathBuf) -> Result<Self, Failure> {
        let key = key_file::load(&path).map_err(|error| {
            Failure::from_error(Exit::Failed, &error).help(format!(
                "your key is your account: restore {} from a backup; without one, move it away and a new account is made",
                path.display()
            ))
        })?;
        Ok(Self { key: Arc::new(key), path })
    }

    /// The account of the key.
    pub fn account(&self) -> AccountId {
        AccountId::of(&self.key.public_key())
    }
}
