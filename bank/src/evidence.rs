//! What is written into a record: the operation, and the signed request that asked for it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tycoon_market::{PublicKey, Signature};
use tycoon_rpc::Call;

use crate::api::{AccountRequest, IssueRequest, TransferRequest};
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
        self.says("content-digest", &digest) && self.key.verifies(self.signed.as_bytes(), self.signature.as_bytes())
    }

    /// True where the signed request asks for exactly `operation`. What the bank does by itself nobody asks for.
    pub fn asks_for(&self, operation: &Operation) -> bool {
        let by = self.key;
        let (path, asked) =
            match operation {
                Operation::Found { .. } | Operation::NewEpoch { .. } | Operation::Lapse { .. } => return false,
                Operation::OpenAccount { .. } => {
                    let asked = self.read().map(|AccountRequest { key, kind, label }| Operation::OpenAccount {
                        key,
                        kind,
                        label,
                    });
                    ("/v1/accounts".to_owned(), asked)
                }
                Operation::ChangeKeys { account, .. } => {
                    let account = *account;
                    let asked = self.read().map(|change| Operation::ChangeKeys { account, change, by });
                    (format!("/v1/accounts/{account}/keys"), asked)
                }
                Operation::Issue { .. } => {
                    let asked = self.read().map(|IssueRequest { id, to, amount, memo }| Operation::Issue {
                        id,
                        to,
                        amount,
                        memo,
                        by,
                    });
                    ("/v1/issue".to_owned(), asked)
                }
                Operation::Transfer { .. } => {
                    let asked = self.read().map(|TransferRequest { id, payer, payee, amount, memo }| {
                        Operation::Transfer { id, payer, payee, amount, memo, by }
                    });
                    ("/v1/transfers".to_owned(), asked)
                }
                Operation::OpenEscrow { .. } => {
                    ("/v1/escrows".to_owned(), self.read().map(|order| Operation::OpenEscrow { order, by }))
                }
                Operation::Settle { .. } => {
                    ("/v1/statements".to_owned(), self.read().map(|statement| Operation::Settle { statement }))
                }
            };
        self.says("@method", "POST") && self.says("@path", &path) && asked.as_ref() == Some(operation)
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.body).ok()
    }

    /// True where the signed text has this value for this part.
    fn says(&self, part: &str, value: &str) -> bool {
        let line = format!("\"{part}\": {value}");
        self.signed.lines().any(|other| other == line)
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
