//! The roll of a site: the hosts that its operator admits, signed with the site's key.
//!
//! Anybody can register a host. Which hosts are to be worked with, a site says: its roll names them by id and name. It is
//! published to the service location services, which keep the newest of the sites they serve; users have pinned the site's
//! key and check it. A roll is always whole: to revoke an admission is to publish a roll without it.

use std::collections::BTreeMap;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tycoon_market::{HostId, HostName, PublicKey, Signature, Timestamp};
use tycoon_rpc::{Problem, Signer};

/// The largest roll in bytes of JSON.
pub const ROLL_BYTES_MAX: usize = 512 << 10;

/// What the signed bytes start with: a signature for one purpose is none for another.
const ROLL_DOMAIN: &[u8] = b"tycoon site roll v1\0";

/// An admitted host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// The name under which it was admitted; under another one it is not.
    pub name: HostName,
    /// When it was admitted, by the operator's clock.
    pub admitted_at: Timestamp,
}

/// The hosts of a site.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// The key of the site.
    pub site: PublicKey,
    /// Counts the rolls of the site: the larger number is the newer roll.
    pub sequence: u64,
    /// When it was signed, by the operator's clock.
    pub issued_at: Timestamp,
    /// The hosts.
    pub hosts: BTreeMap<HostId, Admission>,
}

/// Why a roll is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RollError {
    /// Too many bytes.
    #[error("the roll has {bytes} bytes; at most {ROLL_BYTES_MAX} are accepted")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not the JSON of a roll.
    #[error("the roll cannot be read: {0}")]
    Unreadable(String),
    /// The key that should have signed is not the roll's.
    #[error("the roll of another site is to be signed")]
    NotTheSigner,
    /// Another key signed it, or it was changed.
    #[error("the roll is not signed with the site's key")]
    BadSignature,
    /// The roll of another site.
    #[error("it is the roll of another site, whose key is {found}")]
    AnotherSite {
        /// The fingerprint of its key.
        found: String,
    },
}

/// A roll with its signature, as it travels. Nothing about it is checked: see [`SignedRoll::verify`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedRoll {
    roll: Box<RawValue>,
    signature: Signature,
}

impl SignedRoll {
    /// Signs a roll with its site's key.
    pub fn sign(roll: &Roll, signer: &dyn Signer) -> Result<Self, RollError> {
        if signer.public_key() != roll.site {
            return Err(RollError::NotTheSigner);
        }
        let unreadable = |error: serde_json::Error| RollError::Unreadable(error.to_string());
        let roll = serde_json::value::to_raw_value(roll).map_err(unreadable)?;
        check_size(roll.get())?;
        let signature = Signature::from_bytes(signer.sign(&signed_bytes(roll.get())));
        Ok(Self { roll, signature })
    }

    /// Checks size and signature, and returns the roll. Whose it is, and whether it is new enough, is not said.
    pub fn verify(&self) -> Result<Roll, RollError> {
        check_size(self.roll.get())?;
        let roll: Roll =
            serde_json::from_str(self.roll.get()).map_err(|error| RollError::Unreadable(error.to_string()))?;
        if !roll.site.verifies(&signed_bytes(self.roll.get()), self.signature.as_bytes()) {
            return Err(RollError::BadSignature);
        }
        Ok(roll)
    }

    /// The same, where it must be the roll of this site.
    pub fn verify_of(&self, site: &PublicKey) -> Result<Roll, RollError> {
        let roll = self.verify()?;
        if roll.site == *site { Ok(roll) } else { Err(RollError::AnotherSite { found: roll.site.fingerprint() }) }
    }
}

fn check_size(json: &str) -> Result<(), RollError> {
    if json.len() > ROLL_BYTES_MAX { Err(RollError::TooLarge { bytes: json.len() }) } else { Ok(()) }
}

fn signed_bytes(json: &str) -> Vec<u8> {
    [ROLL_DOMAIN, json.as_bytes()].concat()
}

/// A roll whose signature was checked.
pub struct CheckedRoll {
    roll: Roll,
    signed: SignedRoll,
}

impl CheckedRoll {
    /// Checks a roll. That takes its time, and needs nothing that others wait for.
    pub fn of(signed: SignedRoll) -> Result<Self, Problem> {
        let roll = signed.verify().map_err(|error| refuse(StatusCode::BAD_REQUEST, "sls.roll", &error))?;
        Ok(Self { roll, signed })
    }
}

fn refuse(status: StatusCode, code: &'static str, detail: &dyn std::fmt::Display) -> Problem {
    Problem::new(status, code, "The roll is not accepted").detail(detail)
}

/// The rolls that an SLS keeps: the newest of each site that it serves.
#[derive(Clone, Debug, Default)]
pub struct Rolls {
    kept: BTreeMap<PublicKey, (u64, Option<SignedRoll>)>,
}

impl Rolls {
    /// Serves these sites.
    pub fn of(sites: impl IntoIterator<Item = PublicKey>) -> Self {
        Self { kept: sites.into_iter().map(|site| (site, (0, None))).collect() }
    }

    /// The sites that are served.
    pub fn sites(&self) -> impl Iterator<Item = &PublicKey> {
        self.kept.keys()
    }

    /// The newest roll of a site, where it was published.
    pub fn newest(&self, site: &PublicKey) -> Option<&SignedRoll> {
        self.kept.get(site)?.1.as_ref()
    }

    /// Keeps a roll where it is newer. The same roll again is no error.
    pub fn publish(&mut self, checked: CheckedRoll) -> Result<Roll, Problem> {
        let CheckedRoll { roll, signed } = checked;
        let Some((sequence, kept)) = self.kept.get_mut(&roll.site) else {
            let detail = format!("the site with the key {} is not served here", roll.site.fingerprint());
            return Err(refuse(StatusCode::FORBIDDEN, "sls.not-a-site", &detail)
                .help("the service's operator adds it with `tycoon sls serve --site-key KEY`"));
        };
        let is_same = kept.as_ref().is_some_and(|kept| kept.roll.get() == signed.roll.get());
        if kept.is_some() && roll.sequence <= *sequence && !is_same {
            let detail = format!("roll {sequence} was published already, and this one is {}", roll.sequence);
            return Err(refuse(StatusCode::CONFLICT, "sls.stale-roll", &detail)
                .help("somebody else published meanwhile; do it again"));
        }
        (*sequence, *kept) = (roll.sequence, Some(signed));
        Ok(roll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tycoon_rpc::SecretKey;

    fn checked(signed: SignedRoll) -> CheckedRoll {
        CheckedRoll::of(signed).unwrap()
    }

    fn key(number: u8) -> SecretKey {
        SecretKey::from_seed(&[number; 32])
    }

    fn roll(sequence: u64) -> Roll {
        let host = HostId::of(&key(7).public_key());
        let admission = Admission { name: "host7".parse().unwrap(), admitted_at: Timestamp::from_seconds(1) };
        let hosts = [(host, admission)].into();
        Roll { site: key(1).public_key(), sequence, issued_at: Timestamp::from_seconds(2), hosts }
    }

    #[test]
    fn the_newest_roll_of_a_served_site_is_kept() {
        let mut rolls = Rolls::of([key(1).public_key()]);
        let signed = |sequence| SignedRoll::sign(&roll(sequence), &key(1)).unwrap();
        rolls.publish(checked(signed(3))).unwrap();
        assert!(rolls.publish(checked(signed(3))).is_ok(), "the same again");
        assert_eq!(rolls.publish(checked(signed(2))).unwrap_err().code, "sls.stale-roll");
        rolls.publish(checked(signed(4))).unwrap();
        let newest = rolls.newest(&key(1).public_key()).unwrap();
        assert_eq!(newest.verify_of(&key(1).public_key()), Ok(roll(4)));
        let found = key(1).public_key().fingerprint();
        assert_eq!(newest.verify_of(&key(2).public_key()), Err(RollError::AnotherSite { found }));
        assert_eq!(Rolls::default().publish(checked(signed(5))).unwrap_err().code, "sls.not-a-site");
    }

    #[test]
    fn a_roll_that_was_changed_or_that_another_signed_is_not_believed() {
        assert_eq!(SignedRoll::sign(&roll(1), &key(2)).unwrap_err(), RollError::NotTheSigner);
        let json = serde_json::to_string(&SignedRoll::sign(&roll(1), &key(1)).unwrap()).unwrap();
        let changed: SignedRoll = serde_json::from_str(&json.replace("host7", "host8")).unwrap();
        assert_eq!(changed.verify(), Err(RollError::BadSignature));
    }
}
