//! The signature of a reply: over its status, its body digest and the signature of the request it answers.

use http::{Request, Response};
use tycoon_market::{PublicKey, Timestamp};

use crate::component::{RequestHead, Subject, plain, signature_of_request};
use crate::digest::{CONTENT_DIGEST, content_digest, matches};
use crate::keys::Signer;
use crate::request::{LABEL, set};
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, base, fields, find, once};
use crate::structured::{Bare, InnerList, Item, Parameters};

/// What a reply's signature covers; the request's signature only where the request had one.
fn covered(answers_signed: bool) -> Vec<Item> {
    let mut items = vec![plain("@status"), plain(CONTENT_DIGEST)];
    if answers_signed {
        items.push(signature_of_request(LABEL));
    }
    items
}

/// Signs `response`, the answer to `request`.
pub fn sign<B>(
    response: &mut Response<Vec<u8>>,
    request: &Request<B>,
    signer: &dyn Signer,
    created: Timestamp,
) -> Result<(), SignatureError> {
    let digest = content_digest(response.body());
    set(response.headers_mut(), CONTENT_DIGEST, &digest)?;
    let parameters = Parameters(vec![
        ("created".to_owned(), Bare::Integer(created.seconds())),
        ("keyid".to_owned(), Bare::Text(signer.public_key().to_string())),
        ("alg".to_owned(), Bare::Text("ed25519".to_owned())),
    ]);
    let answers_signed = find(request.headers(), LABEL).is_ok();
    let input = InnerList { items: covered(answers_signed), parameters };
    let base = base(&input, &subject(response, request))?;
    let (input, signature) = fields(LABEL, &input, &signer.sign(base.as_bytes()));
    set(response.headers_mut(), SIGNATURE_INPUT, &input)?;
    set(response.headers_mut(), SIGNATURE, &signature)
}

/// Checks that `signer` signed `response` as the answer to `request`.
pub fn verify<B>(response: &Response<Vec<u8>>, request: &Request<B>, signer: &PublicKey) -> Result<(), SignatureError> {
    let found = find(response.headers(), LABEL)?;
    let expected = covered(find(request.headers(), LABEL).is_ok());
    if found.input.items.len() != expected.len() || !expected.iter().all(|item| found.input.items.contains(item)) {
        let names: Vec<_> = expected.iter().map(Item::to_string).collect();
        return Err(SignatureError::Coverage { expected: names.join(" ") });
    }
    let digest = once(response.headers(), CONTENT_DIGEST)?;
    if !digest.is_some_and(|digest| matches(digest, response.body())) {
        return Err(SignatureError::Digest);
    }
    let base = base(&found.input, &subject(response, request))?;
    if signer.verifies(base.as_bytes(), &found.signature) { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn subject<'a, B>(response: &'a Response<Vec<u8>>, request: &'a Request<B>) -> Subject<'a> {
    Subject::Response {
        status: response.status(),
        headers: response.headers(),
        request: Some(RequestHead::of(request)),
    }
}
