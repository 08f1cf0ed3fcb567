//! The signature of a request: what it covers, how it is made and how it is checked.

use http::{HeaderMap, HeaderValue, Request};
use tycoon_market::{PublicKey, Timestamp};

use crate::component::{RequestHead, Subject, plain};
use crate::digest::{CONTENT_DIGEST, content_digest, matches};
use crate::keys::Signer;
use crate::nonce::NONCE_LENGTH;
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, base, fields, find, once};
use crate::structured::{Bare, InnerList, Item, Parameters};
use crate::verifiers::Verifiers;
use crate::{PROTOCOL_HEADER, PROTOCOL_VERSION, RECIPIENT_HEADER};

/// The label of the signatures of this protocol.
pub const LABEL: &str = "tycoon";

/// A request whose signature holds. Whether it is fresh, and what its sender may do, is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Who signed.
    pub sender: PublicKey,
    /// When, in whole seconds.
    pub created: Timestamp,
    /// The nonce.
    pub nonce: [u8; 16],
    /// The text that was signed, kept as evidence.
    pub base: String,
    /// The signature.
    pub signature: [u8; 64],
}

/// What a request's signature covers; the digest only where there is a body.
fn covered(has_body: bool) -> Vec<Item> {
    let mut items: Vec<Item> = ["@method", "@path", "@query"].into_iter().map(plain).collect();
    if has_body {
        items.push(plain(CONTENT_DIGEST));
    }
    items.extend([plain(PROTOCOL_HEADER), plain(RECIPIENT_HEADER)]);
    items
}

/// Signs `request` for `recipient`: sets the protocol, recipient, digest and signature headers.
pub fn sign(
    request: &mut Request<Vec<u8>>,
    signer: &dyn Signer,
    recipient: &PublicKey,
    created: Timestamp,
    nonce: [u8; 16],
) -> Result<(), SignatureError> {
    let has_body = !request.body().is_empty();
    if has_body {
        let digest = content_digest(request.body());
        set(request.headers_mut(), CONTENT_DIGEST, &digest)?;
    }
    set(request.headers_mut(), PROTOCOL_HEADER, &PROTOCOL_VERSION.to_string())?;
    set(request.headers_mut(), RECIPIENT_HEADER, &recipient.fingerprint())?;
    let parameters = Parameters(vec![
        ("created".to_owned(), Bare::Integer(created.seconds())),
        ("nonce".to_owned(), Bare::Text(format!("{:032x}", u128::from_be_bytes(nonce)))),
        ("keyid".to_owned(), Bare::Text(signer.public_key().to_string())),
        ("alg".to_owned(), Bare::Text("ed25519".to_owned())),
    ]);
    let input = InnerList { items: covered(has_body), parameters };
    let base = base(&input, &Subject::Request(RequestHead::of(request)))?;
    let signature = signer.try_sign(base.as_bytes()).map_err(SignatureError::NotSigned)?;
    let (input, signature) = fields(LABEL, &input, &signature);
    set(request.headers_mut(), SIGNATURE_INPUT, &input)?;
    set(request.headers_mut(), SIGNATURE, &signature)
}

/// Checks the signature of `request`, and that it is meant for `recipient`. `verifiers` has the keys of earlier ones.
pub fn verify(
    request: &Request<Vec<u8>>,
    recipient: &PublicKey,
    verifiers: &Verifiers,
) -> Result<Signed, SignatureError> {
    let headers = request.headers();
    let found = find(headers, LABEL)?;
    let expected = covered(!request.body().is_empty());
    if found.input.items.len() != expected.len() || !expected.iter().all(|item| found.input.items.contains(item)) {
        let names: Vec<_> = expected.iter().map(Item::to_string).collect();
        return Err(SignatureError::Coverage { expected: names.join(" ") });
    }
    // Covered fields must stand once: of two lines, signer and reader could mean different ones.
    once(headers, PROTOCOL_HEADER)?;
    let named = once(headers, RECIPIENT_HEADER)?.unwrap_or_default();
    if named != recipient.fingerprint() {
        let found = named.chars().take(60).collect();
        return Err(SignatureError::Recipient { found, expected: recipient.fingerprint() });
    }
    let digest = once(headers, CONTENT_DIGEST)?;
    if !request.body().is_empty() && !digest.is_some_and(|digest| matches(digest, request.body())) {
        return Err(SignatureError::Digest);
    }
    let parameters = &found.input.parameters;
    if parameters.text("alg").is_some_and(|algorithm| algorithm != "ed25519") {
        return Err(SignatureError::Parameter("alg"));
    }
    let created = parameters.integer("created").ok_or(SignatureError::Parameter("created"))?;
    let nonce = parameters.text("nonce").and_then(parse_nonce).ok_or(SignatureError::Parameter("nonce"))?;
    let keyid = parameters.text("keyid").ok_or(SignatureError::Parameter("keyid"))?;
    let verifier = verifiers.find(keyid).map_err(|_| SignatureError::Parameter("keyid"))?;
    let base = base(&found.input, &Subject::Request(RequestHead::of(request)))?;
    if !verifier.verifies(base.as_bytes(), &found.signature) {
        return Err(SignatureError::Mismatch);
    }
    verifiers.keep(keyid, verifier);
    let sender = verifier.public_key();
    Ok(Signed { sender, created: Timestamp::from_seconds(created), nonce, base, signature: found.signature })
}

fn parse_nonce(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == NONCE_LENGTH && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// Sets a header field of our own making.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), SignatureError> {
    let value = HeaderValue::from_str(value).map_err(|_| SignatureError::NotOnce(name))?;
    headers.insert(name, value);
    Ok(())
}
