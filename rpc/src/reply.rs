//! The signature of a reply: over its status, its body digest and the signature of the request it answers.

use std::borrow::Cow;

use http::{Request, Response};
use tycoon_market::{PublicKey, Timestamp};

use crate::component::{RequestHead, Subject, plain, signature_of_request};
use crate::digest::{CONTENT_DIGEST, content_digest, matches};
use crate::keys::Signer;
use crate::own_form;
use crate::request::{LABEL, set};
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, base, find, once};
use crate::structured::{Item, byte_sequence};

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
    // The request's signature, where it has one, as its bytes are written.
    let answered = match own_form::find(request.headers()) {
        Some(own) => Some(Cow::Borrowed(own.member)),
        None => find(request.headers(), LABEL).ok().map(|found| Cow::Owned(byte_sequence(&found.signature))),
    };
    let key = signer.public_key();
    let created = created.seconds();
    let (base, input) = signed_text(response, &digest, answered.as_deref(), &key, created);
    let signature = format!("{LABEL}={}", byte_sequence(&signer.sign(base.as_bytes())));
    set(response.headers_mut(), CONTENT_DIGEST, &digest)?;
    set(response.headers_mut(), SIGNATURE_INPUT, &input)?;
    set(response.headers_mut(), SIGNATURE, &signature)
}

/// The text that is signed (RFC 9421, section 2.5), which is what [`base`] makes of [`covered`], and the field that says
/// so.
fn signed_text(
    response: &Response<Vec<u8>>,
    digest: &str,
    answered: Option<&str>,
    key: &PublicKey,
    created: i64,
) -> (String, String) {
    let req = r#" "signature";req;key="tycoon""#;
    let (covered, line) = match answered {
        Some(member) => (req, format!("\"signature\";req;key=\"tycoon\": {member}\n")),
        None => ("", String::new()),
    };
    let input =
        format!(r#"{LABEL}=("@status" "content-digest"{covered});created={created};keyid="{key}";alg="ed25519""#);
    let parameters = &input[LABEL.len() + 1..];
    let status = response.status();
    let base = format!(
        "\"@status\": {}\n\"content-digest\": {digest}\n{line}\"@signature-params\": {parameters}",
        status.as_str()
    );
    (base, input)
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
