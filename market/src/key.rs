//! Public keys, and the ids made from them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signature, Verifier as _, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::hex_id::hex_id;
use crate::{in_text_form, text_form};

/// The key type word of OpenSSH.
const SSH_KEY_TYPE: &str = "ssh-ed25519";
/// Bytes before the key itself in an OpenSSH public key blob: two length-prefixed strings.
const SSH_BLOB_PREFIX: [u8; 19] = *b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// An ed25519 public key, written as OpenSSH writes it: `ssh-ed25519 AAAA…`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        text_form::deserialize(deserializer).map(|Unchecked(bytes)| Self(bytes))
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

    fn blob(&self) -> [u8; SSH_BLOB_PREFIX.len() + 32] {
        let mut blob = [0; SSH_BLOB_PREFIX.len() + 32];
        blob[..SSH_BLOB_PREFIX.len()].copy_from_slice(&SSH_BLOB_PREFIX);
        blob[SSH_BLOB_PREFIX.len()..].copy_from_slice(&self.0);
        blob
    }
}

in_text_form!(PublicKey);

/// The bytes of a key's text, whatever they are.
struct Unchecked([u8; 32]);

impl FromStr for Unchecked {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        bytes_of(text).map(Self)
    }
}

/// The points whose order is at most eight, as they are written, each in the one way that is allowed. A signature that
/// begins with one of them could be one of many texts, so that strict verification refuses it.
const SMALL_ORDER_POINTS: [[u8; 32]; 8] = {
    const EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    const OTHER_EIGHTH: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let (mut one, mut minus_one) = ([0; 32], [0xff; 32]);
    one[0] = 1;
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    [one, minus_one, [0; 32], other_side([0; 32]), EIGHTH, other_side(EIGHTH), OTHER_EIGHTH, other_side(OTHER_EIGHTH)]
};

/// The point with the other sign of x.
const fn other_side(mut point: [u8; 32]) -> [u8; 32] {
    point[31] |= 0x80;
    point
}

/// A public key that is ready to check many signatures: its point of the curve was found already, which takes about a
/// sixth of a check, and so was that it is a sound one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verifier {
    key: VerifyingKey,
    /// True where the point has a small order: then signatures say nothing.
    is_weak: bool,
}

impl Verifier {
    /// The same key, made ready.
    ///
    /// # Errors
    /// Bytes that are no point of the curve.
    pub fn of(key: &PublicKey) -> Result<Self, PublicKeyError> {
        let key = VerifyingKey::from_bytes(&key.0).map_err(|_| PublicKeyError::NotAKey)?;
        Ok(Self { key, is_weak: key.is_weak() })
    }

    /// The key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(*self.key.as_bytes())
    }

    /// True where `signature` is this key's signature of `message` (strict verification: no malleability).
    ///
    /// It accepts what `VerifyingKey::verify_strict` does and nothing else, in less time: that one finds the point of the
    /// curve which the signature begins with, only to see whether its order is small. What is accepted below begins with
    /// the very bytes in which the sum is written, which are those of a point, in the one way allowed; so its order is
    /// small exactly where it is one of eight texts.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let is_small = SMALL_ORDER_POINTS.iter().any(|point| signature.starts_with(point));
        !self.is_weak && !is_small && self.key.verify(message, &Signature::from_bytes(signature)).is_ok()
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
        write!(f, "{SSH_KEY_TYPE} {}", Base64Display::new(&self.blob(), &BASE64))
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
    // Room for some bytes too many, with which it is none.
    let mut blob = [0; 60];
    let length = words.next().and_then(|word| BASE64.decode_slice(word, &mut blob).ok());
    let blob = &blob[..length.ok_or(PublicKeyError::NotOpenSsh)?];
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

    /// A signature that holds without being strict: by a weak key, or beginning with a point of small order.
    fn loose_signatures() -> Vec<(VerifyingKey, [u8; 64])> {
        let (_, public) = key();
        let keys = SMALL_ORDER_POINTS.iter().chain([public.as_bytes()]);
        let keys: Vec<VerifyingKey> = keys.map(|bytes| VerifyingKey::from_bytes(bytes).unwrap()).collect();
        let signatures = SMALL_ORDER_POINTS.map(|point| {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&point);
            signature
        });
        keys.iter().flat_map(|key| signatures.map(|signature| (*key, signature))).collect()
    }

    #[test]
    fn the_points_of_small_order_are_all_there_are() {
        let texts: std::collections::BTreeSet<_> = SMALL_ORDER_POINTS.into_iter().collect();
        assert_eq!(texts.len(), 8, "there are eight, and each stands once");
        for text in texts {
            let point = VerifyingKey::from_bytes(&text).unwrap();
            assert!(point.is_weak(), "{text:?}");
        }
    }

    #[test]
    fn what_is_accepted_is_what_strict_verification_accepts() {
        let (secret, public) = key();
        let strict = |key: &VerifyingKey, message: &[u8], signature: &[u8; 64]| {
            key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
        };
        let mut is_loose_somewhere = false;
        for (key, signature) in loose_signatures() {
            let own = Verifier::of(&PublicKey(key.to_bytes())).unwrap();
            for message in 0..32_u8 {
                is_loose_somewhere |= key.verify(&[message], &Signature::from_bytes(&signature)).is_ok();
                assert!(!strict(&key, &[message], &signature));
                assert!(!own.verifies(&[message], &signature), "{signature:?}");
            }
        }
        assert!(is_loose_somewhere, "the test tries what only strict verification refuses");
        let (own, good) = (Verifier::of(&public).unwrap(), secret.sign(b"ten credits").to_bytes());
        for bit in 0..512 {
            let mut changed = good;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!own.verifies(b"ten credits", &changed), "bit {bit}");
            assert!(!strict(&own.key, b"ten credits", &changed), "bit {bit}");
        }
        assert!(own.verifies(b"ten credits", &good) && strict(&own.key, b"ten credits", &good));
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
