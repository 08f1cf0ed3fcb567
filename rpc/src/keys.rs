//! Secret keys, and whatever else can sign.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer as _, SigningKey};
use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey, KeypairData};
use ssh_key::public::Ed25519PublicKey;
use ssh_key::{Cipher, Kdf, LineEnding, PrivateKey};
use thiserror::Error;
use tycoon_market::PublicKey;
use zeroize::Zeroizing;

/// How often a passphrase is hashed; what `ssh-keygen` takes today.
const PASSPHRASE_ROUNDS: u32 = 24;

/// Something that signs with one ed25519 key.
pub trait Signer: Send + Sync {
    /// The key that verifies the signatures.
    fn public_key(&self) -> PublicKey;

    /// The signature of `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];

    /// The signature of `message`, or why there is none: for keys that somebody else holds.
    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SigningError> {
        Ok(self.sign(message))
    }
}

/// Why a key did not sign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct SigningError(pub String);

impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn public_key(&self) -> PublicKey {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        (**self).sign(message)
    }

    fn try_sign(&self, message: &[u8]) -> Result<[u8; 64], SigningError> {
        (**self).try_sign(message)
    }
}

/// An ed25519 secret key. It is wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct SecretKey {
    signing: SigningKey,
    public: PublicKey,
}

/// Why bytes are not a usable secret key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SecretKeyError {
    /// Not an OpenSSH private key.
    #[error("not an OpenSSH private key: {0}; make one with `ssh-keygen -t ed25519`")]
    NotOpenSsh(String),
    /// Another algorithm than ed25519.
    #[error("the key's algorithm is {0}; only ed25519 keys are used (make one with `ssh-keygen -t ed25519`)")]
    NotEd25519(String),
    /// Protected with a passphrase.
    #[error(
        "the key is protected with a passphrase; type it on a terminal, or add the key to an ssh-agent with `ssh-add`"
    )]
    Encrypted,
    /// The passphrase is not the key's.
    #[error("the passphrase is not that of the key")]
    WrongPassphrase,
    /// The public half in the file is not that of the secret half.
    #[error("the public and the secret half of the key do not belong together; the file is damaged")]
    Mismatch,
    /// The key could not be written in the OpenSSH format.
    #[error("the key could not be written in the OpenSSH format: {0}")]
    NotWritable(String),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] crate::nonce::NoRandomness),
}

impl SecretKey {
    /// The key of 32 secret bytes (RFC 8032's private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let public = PublicKey::from_bytes(signing.verifying_key().to_bytes())
            .unwrap_or_else(|_| unreachable!("the public half of a secret key is a point of the curve"));
        Self { signing, public }
    }

    /// A new key from the operating system's random generator.
    pub fn generate() -> Result<Self, SecretKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|error| crate::nonce::NoRandomness(error.to_string()))?;
        Ok(Self::from_seed(&seed))
    }

    /// Reads the text of an OpenSSH private key (`-----BEGIN OPENSSH PRIVATE KEY-----`) without passphrase.
    pub fn from_openssh(text: &str) -> Result<Self, SecretKeyError> {
        Self::of_private_key(&private_key(text)?)
    }

    /// Reads the text of an OpenSSH private key that is protected with `passphrase`.
    pub fn from_encrypted_openssh(text: &str, passphrase: &str) -> Result<Self, SecretKeyError> {
        let key = private_key(text)?;
        if !key.is_encrypted() {
            return Self::of_private_key(&key);
        }
        Self::of_private_key(&key.decrypt(passphrase).map_err(|_| SecretKeyError::WrongPassphrase)?)
    }

    fn of_private_key(key: &PrivateKey) -> Result<Self, SecretKeyError> {
        let pair = match key.key_data() {
            KeypairData::Ed25519(pair) => pair,
            KeypairData::Encrypted(_) => return Err(SecretKeyError::Encrypted),
            _ => return Err(SecretKeyError::NotEd25519(key.algorithm().to_string())),
        };
        let seed = Zeroizing::new(pair.private.to_bytes());
        let secret = Self::from_seed(&seed);
        if secret.public.as_bytes() == pair.public.as_ref() { Ok(secret) } else { Err(SecretKeyError::Mismatch) }
    }

    /// The text of the key as `ssh-keygen` writes it, protected with `passphrase`.
    pub fn to_encrypted_openssh(&self, comment: &str, passphrase: &str) -> Result<Zeroizing<String>, SecretKeyError> {
        let not_writable = |error: ssh_key::Error| SecretKeyError::NotWritable(error.to_string());
        let key = private_key(&self.to_openssh(comment)?)?;
        let (mut salt, mut check) = (vec![0; 16], [0; 4]);
        for bytes in [&mut salt[..], &mut check[..]] {
            getrandom::fill(bytes).map_err(|error| crate::nonce::NoRandomness(error.to_string()))?;
        }
        let kdf = Kdf::Bcrypt { salt, rounds: PASSPHRASE_ROUNDS };
        key.encrypt_with(Cipher::Aes256Ctr, kdf, u32::from_be_bytes(check), passphrase)
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .map_err(not_writable)
    }

    /// The text of the key as `ssh-keygen` writes it, without passphrase.
    pub fn to_openssh(&self, comment: &str) -> Result<Zeroizing<String>, SecretKeyError> {
        let not_writable = |error: ssh_key::Error| SecretKeyError::NotWritable(error.to_string());
        let seed = Zeroizing::new(self.signing.to_bytes());
        let pair = Ed25519Keypair {
            public: Ed25519PublicKey(*self.public.as_bytes()),
            private: Ed25519PrivateKey::from_bytes(&seed),
        };
        PrivateKey::new(KeypairData::Ed25519(pair), comment)
            .and_then(|key| key.to_openssh(LineEnding::LF))
            .map_err(not_writable)
    }
}

fn private_key(text: &str) -> Result<PrivateKey, SecretKeyError> {
    PrivateKey::from_openssh(text).map_err(|error| SecretKeyError::NotOpenSsh(error.to_string()))
}

impl Signer for SecretKey {
    fn public_key(&self) -> PublicKey {
        self.public
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_from_its_openssh_text() {
        let key = SecretKey::from_seed(&[9; 32]);
        let text = key.to_openssh("jane@lab").unwrap();
        assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        let again = SecretKey::from_openssh(&text).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(again.sign(b"x"), key.sign(b"x"));
    }

    #[test]
    fn a_protected_key_reads_back_with_its_passphrase_only() {
        let key = SecretKey::from_seed(&[9; 32]);
        let text = key.to_encrypted_openssh("jane@lab", "correct horse").unwrap();
        assert_eq!(SecretKey::from_openssh(&text).unwrap_err(), SecretKeyError::Encrypted);
        let wrong = SecretKey::from_encrypted_openssh(&text, "battery staple").unwrap_err();
        assert_eq!(wrong, SecretKeyError::WrongPassphrase);
        let again = SecretKey::from_encrypted_openssh(&text, "correct horse").unwrap();
        assert_eq!(again.public_key(), key.public_key());
    }

    #[test]
    fn a_key_signs_for_its_public_half_and_does_not_print_its_secret() {
        let key = SecretKey::from_seed(&[9; 32]);
        assert!(key.public_key().verifies(b"ten credits", &key.sign(b"ten credits")));
        assert_eq!(format!("{key:?}"), format!("SecretKey(of {})", key.public_key().fingerprint()));
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        for text in
            ["", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
        {
            assert!(matches!(SecretKey::from_openssh(text), Err(SecretKeyError::NotOpenSsh(_))), "{text:?}");
        }
    }
}
