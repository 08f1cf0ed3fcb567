//! The signature of a request: what it covers, how it is made and how it is checked.

use http::{HeaderMap, HeaderValue, Request};
use tycoon_market::{PublicKey, Timestamp};

use crate::component::{ComponentError, RequestHead, Subject, plain};
use crate::digest::{CONTENT_DIGEST, content_digest, matches};
use crate::keys::Signer;
use crate::own_form::{self, OwnForm, parse_nonce};
use crate::signature::{Found, SIGNATURE, SIGNATURE_INPUT, SignatureError, base, fields, find, once};
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
    let has_body = !request.body().is_empty();
    // Nearly every request is in the form in which this program writes them.
    let own = own_form::find(headers).filter(|own| own.covers_body == has_body);
    let found = if own.is_some() { None } else { Some(find(headers, LABEL)?) };
    if let Some(found) = &found {
        let expected = covered(has_body);
        if found.input.items.len() != expected.len() || !expected.iter().all(|item| found.input.items.contains(item)) {
            let names: Vec<_> = expected.iter().map(Item::to_string).collect();
            return Err(SignatureError::Coverage { expected: names.join(" ") });
        }
    }
    // Covered fields must stand once: of two lines, signer and reader could mean different ones.
    let protocol = once(headers, PROTOCOL_HEADER)?;
    let named = once(headers, RECIPIENT_HEADER)?.unwrap_or_default();
    let fingerprint = recipient.fingerprint();
    if named != fingerprint {
        let found = named.chars().take(60).collect();
        return Err(SignatureError::Recipient { found, expected: fingerprint });
    }
    let digest = once(headers, CONTENT_DIGEST)?;
    if has_body && !digest.is_some_and(|digest| matches(digest, request.body())) {
        return Err(SignatureError::Digest);
    }
    let (claim, base) = match (own, &found) {
        (Some(own), _) => (
            Claim { created: own.created, nonce: own.nonce, keyid: own.keyid, signature: own.signature },
            own_base(request, &own, digest, protocol, named)?,
        ),
        (None, Some(found)) => (Claim::of(found)?, base(&found.input, &Subject::Request(RequestHead::of(request)))?),
        (None, None) => return Err(SignatureError::Unsigned(LABEL)),
    };
    let Claim { created, nonce, keyid, signature } = claim;
    let verifier = verifiers.find(keyid).map_err(|_| SignatureError::Parameter("keyid"))?;
    if !verifier.verifies(base.as_bytes(), &signature) {
        return Err(SignatureError::Mismatch);
    }
    verifiers.keep(keyid, verifier);
    let sender = verifier.public_key();
    Ok(Signed { sender, created: Timestamp::from_seconds(created), nonce, base, signature })
}

/// What a signature says of itself.
struct Claim<'a> {
    created: i64,
    nonce: [u8; 16],
    keyid: &'a str,
    signature: [u8; 64],
}

impl<'a> Claim<'a> {
    fn of(found: &'a Found) -> Result<Self, SignatureError> {
        let parameters = &found.input.parameters;
        if parameters.text("alg").is_some_and(|algorithm| algorithm != "ed25519") {
            return Err(SignatureError::Parameter("alg"));
        }
        let created = parameters.integer("created").ok_or(SignatureError::Parameter("created"))?;
        let nonce = parameters.text("nonce").and_then(parse_nonce).ok_or(SignatureError::Parameter("nonce"))?;
        let keyid = parameters.text("keyid").ok_or(SignatureError::Parameter("keyid"))?;
        Ok(Self { created, nonce, keyid, signature: found.signature })
    }
}

/// The signature base of a request whose signature is in the usual form: what [`base`] makes of it.
fn own_base(
    request: &Request<Vec<u8>>,
    own: &OwnForm<'_>,
    digest: Option<&str>,
    protocol: Option<&str>,
    recipient: &str,
) -> Result<String, SignatureError> {
    let missing = |name| ComponentError::Missing(plain(name).to_string());
    let protocol = protocol.ok_or_else(|| missing(PROTOCOL_HEADER))?;
    let path = match request.uri().path() {
        "" => "/",
        path => path,
    };
    let mut base = String::with_capacity(640);
    let mut put = |parts: [&str; 3]| parts.into_iter().for_each(|part| base.push_str(part));
    put(["\"@method\": ", request.method().as_str(), "\n"]);
    put(["\"@path\": ", path, "\n"]);
    put(["\"@query\": ?", request.uri().query().unwrap_or_default(), "\n"]);
    if own.covers_body {
        put(["\"content-digest\": ", digest.ok_or_else(|| missing(CONTENT_DIGEST))?.trim(), "\n"]);
    }
    put(["\"tycoon-protocol\": ", protocol.trim(), "\n"]);
    put(["\"tycoon-recipient\": ", recipient.trim(), "\n"]);
    put(["\"@signature-params\": ", own.parameters, ""]);
    Ok(base)
}

/// Sets a header field of our own making.
pub(crate) fn set(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<(), SignatureError> {
    let value = HeaderValue::from_str(value).map_err(|_| SignatureError::NotOnce(name))?;
    headers.insert(name, value);
    Ok(())
}
