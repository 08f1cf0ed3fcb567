//! What is written into a record: the operation, and the signed request that asked for it.

use serde::{Deserialize, Serialize};
use tycoon_market::{PublicKey, Signature};
use tycoon_rpc::Call;

use crate::ledger::Operation;

/// The signed request behind an operation. With it anybody can check that the bank did not invent the operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The key that signed.
    pub key: PublicKey,
    /// The text that was signed, which contains the digest of the body (RFC 9421, section 2.5).
    pub signed: String,
    /// The signature.
    pub signature: Signature,
    /// The body.
    pub body: String,
}

impl Evidence {
    /// The evidence of a signed call; `None` for one that is not signed or not text.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let signed = call.signed.as_ref()?;
        Some(Self {
            key: signed.sender,
            signed: signed.base.clone(),
            signature: Signature::from_bytes(signed.signature),
            body: String::from_utf8(call.request.body().clone()).ok()?,
        })
    }

    /// True where the key signed the text, and the text contains the digest of the body.
    pub fn holds(&self) -> bool {
        let digest = tycoon_rpc::digest::content_digest(self.body.as_bytes());
        let line = format!("\"content-digest\": {digest}");
        self.signed.lines().any(|other| other == line)
            && self.key.verifies(self.signed.as_bytes(), self.signature.as_bytes())
    }
}

/// The payload of a journal record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// What was done.
    pub operation: Operation,
    /// Who asked for it; `None` for what the bank does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}
