//! Whether a host can be reached where it says, and how an SLS judges that.
//!
//! A host says where it is (its **self-known** addresses), and the SLS sees where its registration comes from (the
//! **external** address). The SLS calls back at both with a [challenge](crate::challenge), and judges by this table,
//! which handles hosts in the open, hosts behind NAT, hosts behind a web proxy, and squatters:
//!
//! | external | self-known | |
//! |---|---|---|
//! | verified | verified | accepted where they are one; where not, at both |
//! | verified | failed or no connection | accepted at the external one: it is behind NAT |
//! | failed or no connection | verified | accepted at the self-known one: perhaps it came through a proxy |
//! | failed or no connection | failed | rejected: somebody else answers there |
//! | failed | no connection | accepted at the self-known one, unverified: NAT |
//! | no connection | no connection | accepted at the self-known one, unverified: a proxy |
//!
//! What was accepted unverified has to give way to whoever verifies the same address or name.

use serde::{Deserialize, Serialize};
use tycoon_market::Timestamp;

/// What calling back at an address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The host answered the challenge.
    Verified,
    /// Something answers there, and it is not the host.
    Failed,
    /// Nobody answers.
    NoConnection,
}

/// What is known of where a host is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It answered a challenge at its address.
    Verified,
    /// It could not be asked, and nobody else answers there.
    #[default]
    Unverified,
    /// It has not been asked yet.
    Pending,
}

impl Standing {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Pending => "pending",
        }
    }
}

/// How a host seems to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Connection {
    /// It is where it says, and calls from there.
    Direct,
    /// It answers where it says and at another address from which it calls.
    Multiple,
    /// Behind network address translation: it is reached at the address from which its calls come.
    Nat,
    /// Its calls come from elsewhere than where it is: perhaps through a proxy.
    Proxy,
}

impl Connection {
    /// The word for people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Multiple => "multiple",
            Self::Nat => "nat",
            Self::Proxy => "proxy",
        }
    }
}

/// At which addresses a host is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// At the one from which its calls come.
    External,
    /// At those that it says itself.
    SelfKnown,
    /// At both.
    Both,
}

/// The judgement of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is accepted.
    Accept {
        /// Whether it could be verified.
        standing: Standing,
        /// Where.
        at: Accepted,
        /// How it seems to be connected.
        connection: Connection,
    },
    /// Somebody else answers at the address.
    Reject,
}

/// Judges by the findings at the external and at the self-known address; `is_same` where they are one address.
///
/// The table is that of the registration notes of Tycoon (9/12/2007).
pub const fn judge(external: Finding, self_known: Finding, is_same: bool) -> Verdict {
    use Finding as F;
    let (standing, at, connection) = match (external, self_known) {
        (F::Verified, F::Verified) if is_same => (Standing::Verified, Accepted::SelfKnown, Connection::Direct),
        (F::Verified, F::Verified) => (Standing::Verified, Accepted::Both, Connection::Multiple),
        (F::Verified, F::Failed | F::NoConnection) => (Standing::Verified, Accepted::External, Connection::Nat),
        (F::Failed | F::NoConnection, F::Verified) => (Standing::Verified, Accepted::SelfKnown, Connection::Proxy),
        (F::Failed | F::NoConnection, F::Failed) => return Verdict::Reject,
        (F::Failed, F::NoConnection) => (Standing::Unverified, Accepted::SelfKnown, Connection::Nat),
        (F::NoConnection, F::NoConnection) => (Standing::Unverified, Accepted::SelfKnown, Connection::Proxy),
    };
    Verdict::Accept { standing, at, connection }
}

/// Where a host is reached, as an SLS found out. Nobody but the SLS vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Whether it was verified.
    pub standing: Standing,
    /// The URLs at which it is accepted, best first; those of its record where nothing was found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// How it seems to be connected, where that was found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<Connection>,
    /// When it was found out, by the clock of the SLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_2007_holds() {
        use Finding::{Failed, NoConnection, Verified};
        let accept = |standing, at, connection| Verdict::Accept { standing, at, connection };
        let nat = accept(Standing::Verified, Accepted::External, Connection::Nat);
        let proxy = accept(Standing::Verified, Accepted::SelfKnown, Connection::Proxy);
        for (external, self_known, verdict) in [
            (Verified, Failed, nat),
            (Verified, NoConnection, nat),
            (Failed, Verified, proxy),
            (Failed, Failed, Verdict::Reject),
            (Failed, NoConnection, accept(Standing::Unverified, Accepted::SelfKnown, Connection::Nat)),
            (NoConnection, Verified, proxy),
            (NoConnection, Failed, Verdict::Reject),
            (NoConnection, NoConnection, accept(Standing::Unverified, Accepted::SelfKnown, Connection::Proxy)),
        ] {
            assert_eq!(judge(external, self_known, false), verdict, "{external:?}, {self_known:?}");
        }
        let direct = accept(Standing::Verified, Accepted::SelfKnown, Connection::Direct);
        assert_eq!(judge(Verified, Verified, true), direct);
        let multiple = accept(Standing::Verified, Accepted::Both, Connection::Multiple);
        assert_eq!(judge(Verified, Verified, false), multiple);
    }
}
