//! Public keys, and the ids made from them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::hex_id::hex_id;

/// The key type word of OpenSSH.
const SSH_KEY_TYPE: &str = "ssh-ed25519";
/// Bytes before the key itself in an OpenSSH public key blob: two length-prefixed strings.
const SSH_BLOB_PREFIX: [u8; 19] = *b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// An ed25519 public key, written as OpenSSH writes it: `ssh-ed25519 AAAA…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// Why a text is not a public key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// Not `ssh-ed25519 <base64>`.
    #[error(
        "not an OpenSSH ed25519 public key; it looks like `ssh-ed25519 AAAA…` (make one with `ssh-keygen -t ed25519`)"
    )]
    NotOpenSsh,
    /// 32 bytes that are no point of the curve.
    #[error("the key's 32 bytes are not a valid ed25519 public key")]
    NotAKey,
}

impl PublicKey {
    /// Checks 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, PublicKeyError> {
        VerifyingKey::from_bytes(&bytes).map_err(|_| PublicKeyError::NotAKey)?;
        Ok(Self(bytes))
    }

    /// A key that was checked before it was stored; for `#[serde(deserialize_with)]`. To find the point of the curve
    /// again for every row that is read would cost more than all the rest of reading it. A row that was changed by
    /// somebody is no danger: such a key verifies nothing.
    ///
    /// # Errors
    /// What is not in the form of a key.
    pub fn deserialize_stored<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        bytes_of(&text).map(Self).map_err(serde::de::Error::custom)
    }

    /// The key's 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// True where `signature` is this key's signature of `message` (strict verification: no malleability).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Verifier::of(self).is_ok_and(|verifier| verifier.verifies(message, signature))
    }

    /// The fingerprint as OpenSSH prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(self.blob())))
    }

    fn blob(&self) -> Vec<u8> {
        [&SSH_BLOB_PREFIX[..], &self.0[..]].concat()
    }
}

/// A public key that is ready to check many signatures: its point of the curve was found already, which takes about a
/// sixth of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// The same key, made ready.
    ///
    /// # Errors
    /// Bytes that are no point of the curve.
    pub fn of(key: &PublicKey) -> Result<Self, PublicKeyError> {
        VerifyingKey::from_bytes(&key.0).map(Self).map_err(|_| PublicKeyError::NotAKey)
    }

    /// The key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*self.0.as_bytes())
    }

    /// True where `signature` is this key's signature of `message` (strict verification: no malleability).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for Verifier {
    type Err = PublicKeyError;

    /// Reads an OpenSSH public key line; a comment after the key is ignored.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        Self::of(&PublicKey(bytes_of(text)?))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SSH_KEY_TYPE} {}", BASE64.encode(self.blob()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.fingerprint())
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    /// Reads an OpenSSH public key line; a comment after the key is ignored.
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        Self::from_bytes(bytes_of(text)?)
    }
}

/// The 32 bytes in an OpenSSH public key line.
fn bytes_of(text: &str) -> Result<[u8; 32], PublicKeyError> {
    let mut words = text.split_ascii_whitespace();
    if words.next() != Some(SSH_KEY_TYPE) {
        return Err(PublicKeyError::NotOpenSsh);
    }
    let blob = words.next().and_then(|word| BASE64.decode(word).ok()).ok_or(PublicKeyError::NotOpenSsh)?;
    let bytes = blob.strip_prefix(&SSH_BLOB_PREFIX).ok_or(PublicKeyError::NotOpenSsh)?;
    bytes.try_into().map_err(|_| PublicKeyError::NotOpenSsh)
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;

    fn try_from(text: String) -> Result<Self, PublicKeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

hex_id!(
    /// An account at the bank: the hash of its first key. It never changes, even when keys are replaced.
    AccountId
);

impl AccountId {
    /// The account of which `key` is the first key.
    pub fn of(key: &PublicKey) -> Self {
        Self(digest(b"tycoon account v1\0", key))
    }
}

hex_id!(
    /// A host: the hash of its daemon's key.
    HostId
);

impl HostId {
    /// The host whose daemon has `key`.
    pub fn of(key: &PublicKey) -> Self {
        Self(digest(b"tycoon host v1\0", key))
    }
}

/// The first half of the hash of a key, for one purpose.
fn digest(purpose: &[u8], key: &PublicKey) -> [u8; 16] {
    let hash = Sha256::new().chain_update(purpose).chain_update(key.as_bytes()).finalize();
    let mut half = [0; 16];
    half.copy_from_slice(&hash[..16]);
    half
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn key() -> (SigningKey, PublicKey) {
        let secret = SigningKey::from_bytes(&[7; 32]);
        let public = PublicKey::from_bytes(secret.verifying_key().to_bytes()).unwrap();
        (secret, public)
    }

    #[test]
    fn a_key_prints_as_openssh_does_and_reads_back() {
        let (_, public) = key();
        let text = public.to_string();
        assert!(text.starts_with("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"), "{text}");
        assert_eq!(text.parse(), Ok(public));
        assert_eq!(format!("{text} jane@lab").parse(), Ok(public));
        for bad in ["", "ssh-rsa AAAA", "ssh-ed25519", "ssh-ed25519 !!!!", "ssh-ed25519 AAAA"] {
            assert_eq!(bad.parse::<PublicKey>(), Err(PublicKeyError::NotOpenSsh), "{bad:?}");
        }
    }

    #[test]
    fn only_the_key_s_own_signature_verifies() {
        let (secret, public) = key();
        let signature = secret.sign(b"ten credits").to_bytes();
        assert!(public.verifies(b"ten credits", &signature));
        assert!(!public.verifies(b"ten Credits", &signature));
    }

    #[test]
    fn ids_of_one_key_differ_by_what_they_name() {
        let (_, public) = key();
        let account = AccountId::of(&public);
        assert_ne!(account.as_bytes(), HostId::of(&public).as_bytes());
        assert_eq!(account.to_string().parse(), Ok(account));
        assert!("XYZ".parse::<AccountId>().is_err());
    }
}
