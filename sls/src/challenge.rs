//! The question with which an SLS makes sure that a host answers at an address: a challenge that only the holder of the
//! host's key can answer.
//!
//! The SLS posts a [`Challenge`] to [`PATH`] at the address; the host signs it with its key and answers a [`Proof`].
//! Neither call needs another signature. A host answers for itself only: so nobody can have his registration vouched for
//! by a host that happens to answer at the address that he claims.

use std::fmt;
use std::str::FromStr;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tycoon_market::{HostId, PublicKey, Signature};
use tycoon_rpc::{Call, Problem, Signer, receiver};

/// Where a host answers challenges, with POST.
pub const PATH: &str = "/v1/challenge";
/// The largest answer to a challenge that is read, in bytes.
pub const PROOF_BYTES_MAX: usize = 4096;

/// What the signed bytes start with: a signature for one purpose is none for another.
const CHALLENGE_DOMAIN: &[u8] = b"tycoon address challenge v1\0";

/// A number used once, written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChallengeNonce([u8; 32]);

/// A text that is no nonce.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a challenge's nonce is written as 64 lower-case hexadecimal digits")]
pub struct NonceError;

impl ChallengeNonce {
    /// The nonce of these bytes, which must be random.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ChallengeNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ChallengeNonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let is_hex = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if text.len() != 64 || !is_hex {
            return Err(NonceError);
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            // All digits are ASCII, so every place is the boundary of a character.
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NonceError)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ChallengeNonce {
    type Error = NonceError;

    fn try_from(text: String) -> Result<Self, NonceError> {
        text.parse()
    }
}

impl From<ChallengeNonce> for String {
    fn from(nonce: ChallengeNonce) -> Self {
        nonce.to_string()
    }
}

/// What an SLS asks at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The host that should answer there.
    pub host: HostId,
    /// The key of the SLS that asks.
    pub sls: PublicKey,
    /// What makes this question another than all before.
    pub nonce: ChallengeNonce,
}

/// What a host answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The host that answers.
    pub host: HostId,
    /// Its signature over the challenge.
    pub signature: Signature,
}

impl Challenge {
    /// The host's answer, signed with its key; a refusal where the challenge is meant for another host.
    pub fn answer(&self, signer: &dyn Signer) -> Result<Proof, Problem> {
        let host = HostId::of(&signer.public_key());
        if host != self.host {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "host.not-challenged",
                "The challenge is meant for another host",
            )
            .detail(format_args!("this is host {host}, and host {} is asked for", self.host)));
        }
        Ok(Proof { host, signature: Signature::from_bytes(signer.sign(&self.signed_bytes())) })
    }

    /// True where `proof` is an answer to this challenge by the holder of `key`.
    pub fn is_met(&self, proof: &Proof, key: &PublicKey) -> bool {
        proof.host == self.host
            && HostId::of(key) == self.host
            && key.verifies(&self.signed_bytes(), proof.signature.as_bytes())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        [CHALLENGE_DOMAIN, &self.nonce.0, self.host.as_bytes(), self.sls.as_bytes()].concat()
    }
}

/// Answers a call of [`PATH`]: what the service of a host does with it.
///
/// ```ignore
/// (&Method::POST, ["v1", "challenge"]) => challenge::serve(call, &*self.signer),
/// ```
pub fn serve(call: &Call<'_>, signer: &dyn Signer) -> Result<Response<Vec<u8>>, Problem> {
    receiver::json(&call.json::<Challenge>()?.answer(signer)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::SecretKey;

    fn challenge(host: &SecretKey, nonce: u8) -> Challenge {
        let sls = SecretKey::from_seed(&[9; 32]).public_key();
        Challenge { host: HostId::of(&host.public_key()), sls, nonce: ChallengeNonce::from_bytes([nonce; 32]) }
    }

    #[test]
    fn only_the_host_that_is_meant_answers() {
        let (host, other) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let asked = challenge(&host, 7);
        let proof = asked.answer(&host).unwrap();
        assert!(asked.is_met(&proof, &host.public_key()));
        assert_eq!(asked.answer(&other).unwrap_err().code, "host.not-challenged");
        assert!(!asked.is_met(&proof, &other.public_key()));
    }

    #[test]
    fn an_answer_is_good_for_one_question_of_one_service() {
        let host = SecretKey::from_seed(&[1; 32]);
        let proof = challenge(&host, 7).answer(&host).unwrap();
        assert!(!challenge(&host, 8).is_met(&proof, &host.public_key()));
        let of_another = Challenge { sls: SecretKey::from_seed(&[3; 32]).public_key(), ..challenge(&host, 7) };
        assert!(!of_another.is_met(&proof, &host.public_key()));
    }

    #[test]
    fn a_nonce_reads_back() {
        let nonce = ChallengeNonce::from_bytes(std::array::from_fn(|place| place as u8 * 8));
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for wrong in ["", "00", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<ChallengeNonce>(), Err(NonceError), "{wrong}");
        }
    }
}
