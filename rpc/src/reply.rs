//! The signature of a reply: over its status, its body digest and the signature of the request it answers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use http::{HeaderValue, Request, Response, StatusCode};
use tycoon_market::{PublicKey, Timestamp};

use crate::component::{RequestHead, Subject, plain, signature_of_request};
use crate::digest::{CONTENT_DIGEST, content_digest, matches};
use crate::keys::Signer;
use crate::own_form;
use crate::request::{LABEL, set};
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, SignatureError, base, find, once};
use crate::structured::{Item, byte_sequence};

/// The largest reply, in bytes, whose signature is kept for others.
const SHARED_BYTES_MAX: usize = 512;
/// The replies whose signatures are kept.
const SHARED_MAX: usize = 8;

/// The signatures of the last replies that are bound to no request. Such a signature covers status, body and the second in
/// which it was made, so that equal replies within one second have equal signatures: a thousand hosts that register in a
/// second are answered with one or two.
#[derive(Default)]
pub struct SharedSignatures(Mutex<VecDeque<SignedReply>>);

/// A reply, and the header fields of its signature.
struct SignedReply {
    second: i64,
    status: StatusCode,
    body: Vec<u8>,
    fields: [(&'static str, HeaderValue); 3],
}

impl SharedSignatures {
    /// Signs `response` like [`sign`], or gives it the signature that an equal reply was given in the same second.
    pub fn sign<B>(
        &self,
        response: &mut Response<Vec<u8>>,
        request: &Request<B>,
        signer: &dyn Signer,
        created: Timestamp,
    ) -> Result<(), SignatureError> {
        if response.body().len() > SHARED_BYTES_MAX || find(request.headers(), LABEL).is_ok() {
            return sign(response, request, signer, created);
        }
        let (second, status) = (created.seconds(), response.status());
        let is_equal =
            |known: &&SignedReply| known.second == second && known.status == status && known.body == *response.body();
        let known = self.lock().iter().find(is_equal).map(|known| known.fields.clone());
        if let Some(fields) = known {
            for (name, value) in fields {
                response.headers_mut().insert(name, value);
            }
            return Ok(());
        }
        sign(response, request, signer, created)?;
        let field = |name: &'static str| response.headers().get(name).map(|value| (name, value.clone()));
        if let (Some(digest), Some(input), Some(signature)) =
            (field(CONTENT_DIGEST), field(SIGNATURE_INPUT), field(SIGNATURE))
        {
            let fields = [digest, input, signature];
            let mut known = self.lock();
            if known.len() >= SHARED_MAX {
                known.pop_back();
            }
            known.push_front(SignedReply { second, status, body: response.body().clone(), fields });
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<SignedReply>> {
        // What is kept is put there whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::keys::SecretKey;
    use crate::request as requests;

    /// Counts what it signs.
    struct Counting(SecretKey, AtomicUsize);

    impl Signer for Counting {
        fn public_key(&self) -> PublicKey {
            self.0.public_key()
        }

        fn sign(&self, message: &[u8]) -> [u8; 64] {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.sign(message)
        }
    }

    fn signer() -> Counting {
        Counting(SecretKey::from_seed(&[5; 32]), AtomicUsize::new(0))
    }

    #[test]
    fn equal_replies_to_nobody_in_particular_share_a_signature_for_a_second() {
        let (signer, shared) = (signer(), SharedSignatures::default());
        let request = Request::post("/x").body(()).unwrap();
        let reply = |body: &str, micros: i64| {
            let mut response = Response::new(body.as_bytes().to_vec());
            shared.sign(&mut response, &request, &signer, Timestamp::from_micros(micros)).unwrap();
            assert_eq!(verify(&response, &request, &signer.public_key()), Ok(()));
            signer.1.load(Ordering::Relaxed)
        };
        assert_eq!(reply("a", 1_000_000), 1);
        assert_eq!(reply("a", 1_999_999), 1, "it says the same");
        assert_eq!(reply("b", 1_999_999), 2, "another body");
        assert_eq!(reply("a", 1_500_000), 2, "both are kept");
        assert_eq!(reply("a", 2_000_000), 3, "another second");
    }

    #[test]
    fn the_reply_to_a_signed_request_has_a_signature_of_its_own() {
        let (signer, shared) = (signer(), SharedSignatures::default());
        let caller = SecretKey::from_seed(&[6; 32]);
        for nonce in 0..3 {
            let mut request = Request::post("/x").body(Vec::new()).unwrap();
            let now = Timestamp::from_micros(1_000_000);
            requests::sign(&mut request, &caller, &signer.public_key(), now, [nonce; 16]).unwrap();
            let mut response = Response::new(b"a".to_vec());
            shared.sign(&mut response, &request, &signer, now).unwrap();
            assert_eq!(verify(&response, &request, &signer.public_key()), Ok(()));
        }
        assert_eq!(signer.1.load(Ordering::Relaxed), 3);
    }
}
