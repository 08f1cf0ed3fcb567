//! HTTP Message Signatures (RFC 9421) with ed25519: the signature base, and the two header fields.

use http::HeaderMap;
use thiserror::Error;

use crate::component::{self, ComponentError, Subject};
use crate::structured::{FieldError, InnerList, byte_sequence, parse_byte_sequences, parse_lists};

/// The header field that says what a signature covers.
pub const SIGNATURE_INPUT: &str = "signature-input";
/// The header field with the signature itself.
pub const SIGNATURE: &str = "signature";

/// Why a message's signature cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// There is no signature of the expected label.
    #[error("the message is not signed: it has no signature labelled `{0}`")]
    Unsigned(&'static str),
    /// A header field stands more than once or is not text.
    #[error("the header field `{0}` must stand exactly once, as text")]
    NotOnce(&'static str),
    /// A header field is malformed.
    #[error("the header field `{name}` cannot be read: {source}")]
    Malformed {
        /// The field.
        name: &'static str,
        /// What is wrong with it.
        source: FieldError,
    },
    /// A covered part has no value.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A parameter is absent or of the wrong kind.
    #[error("the signature's parameter `{0}` is absent or not understood")]
    Parameter(&'static str),
    /// Not all that must be signed is signed.
    #[error("the signature does not cover exactly what it must: {expected}")]
    Coverage {
        /// What the signature must cover.
        expected: String,
    },
    /// The body is not the signed one.
    #[error("the body does not have the signed digest")]
    Digest,
    /// The signature is for another recipient.
    #[error("the request is addressed to the holder of {found}; this is {expected}")]
    Recipient {
        /// The recipient that was named.
        found: String,
        /// The recipient that should have been named.
        expected: String,
    },
    /// The key that should sign did not.
    #[error(transparent)]
    NotSigned(crate::keys::SigningError),
    /// The key did not make the signature.
    #[error("the signature does not verify: the message was changed, or another key signed it")]
    Mismatch,
}

/// The signature base: the text that is signed (RFC 9421, section 2.5).
pub fn base(input: &InnerList, subject: &Subject<'_>) -> Result<String, ComponentError> {
    let mut base = String::new();
    for item in &input.items {
        let value = component::value(item, subject)?;
        base.push_str(&format!("{item}: {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {input}"));
    Ok(base)
}

/// A signature as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it covers, and its parameters.
    pub input: InnerList,
    /// The 64 bytes.
    pub signature: [u8; 64],
}

/// The signature labelled `label` in `headers`.
pub fn find(headers: &HeaderMap, label: &'static str) -> Result<Found, SignatureError> {
    let malformed = |name| move |source| SignatureError::Malformed { name, source };
    let (Some(input), Some(signature)) = (once(headers, SIGNATURE_INPUT)?, once(headers, SIGNATURE)?) else {
        return Err(SignatureError::Unsigned(label));
    };
    let inputs = parse_lists(input).map_err(malformed(SIGNATURE_INPUT))?;
    let signatures = parse_byte_sequences(signature).map_err(malformed(SIGNATURE))?;
    let input = inputs.into_iter().find(|(name, _)| name == label);
    let signature = signatures.into_iter().find(|(name, _)| name == label);
    let (Some((_, input)), Some((_, signature))) = (input, signature) else {
        return Err(SignatureError::Unsigned(label));
    };
    let signature = signature.try_into().map_err(|_| SignatureError::Mismatch)?;
    Ok(Found { input, signature })
}

/// The two header field values of a signature labelled `label`: its input and its bytes.
pub fn fields(label: &str, input: &InnerList, signature: &[u8; 64]) -> (String, String) {
    (format!("{label}={input}"), format!("{label}={}", byte_sequence(signature)))
}

/// The text of a header field that stands at most once.
pub fn once<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, SignatureError> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (None, _) => Ok(None),
        (Some(line), None) => line.to_str().map(Some).map_err(|_| SignatureError::NotOnce(name)),
        _ => Err(SignatureError::NotOnce(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::RequestHead;
    use crate::keys::{SecretKey, Signer as _};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use tycoon_market::PublicKey;

    /// The key `test-key-ed25519` of RFC 9421, appendix B.1.4: the last 32 bytes of the two DER texts.
    fn test_key() -> (SecretKey, PublicKey) {
        let last = |der: &str| -> [u8; 32] {
            let bytes = BASE64.decode(der).unwrap();
            bytes[bytes.len() - 32..].try_into().unwrap()
        };
        let public = last("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=");
        let secret = last("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF");
        (SecretKey::from_seed(&secret), PublicKey::from_bytes(public).unwrap())
    }

    /// The request of RFC 9421, appendix B.2.
    fn test_request() -> http::Request<()> {
        http::Request::post("/foo?param=Value&Pet=dog")
            .header("Host", "example.com")
            .header("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
            .header("Content-Type", "application/json")
            .header("Content-Length", "18")
            .header(
                "Signature-Input",
                "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
                 ;created=1618884473;keyid=\"test-key-ed25519\"",
            )
            .header(
                "Signature",
                "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
            )
            .body(())
            .unwrap()
    }

    #[test]
    fn the_test_case_of_rfc_9421_b_2_6_verifies() {
        let request = test_request();
        let found = find(request.headers(), "sig-b26").unwrap();
        let base = base(&found.input, &Subject::Request(RequestHead::of(&request))).unwrap();
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@method\": POST\n\
             \"@path\": /foo\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"content-length\": 18\n\
             \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
             ;created=1618884473;keyid=\"test-key-ed25519\""
        );
        let (secret, public) = test_key();
        assert_eq!(secret.public_key(), public);
        assert!(public.verifies(base.as_bytes(), &found.signature));
        assert_eq!(secret.sign(base.as_bytes()), found.signature, "ed25519 signatures are deterministic");
    }

    #[test]
    fn the_query_is_always_there_and_a_header_may_have_several_lines() {
        let request = http::Request::get("/x").header("a", " 1 ").header("a", "2").body(()).unwrap();
        let input = InnerList {
            items: vec![component::plain("@query"), component::plain("a")],
            parameters: Default::default(),
        };
        let base = base(&input, &Subject::Request(RequestHead::of(&request))).unwrap();
        assert_eq!(base, "\"@query\": ?\n\"a\": 1, 2\n\"@signature-params\": (\"@query\" \"a\")");
    }

    #[test]
    fn a_part_that_is_absent_or_unknown_cannot_be_signed() {
        let request = http::Request::get("/x").body(()).unwrap();
        let subject = Subject::Request(RequestHead::of(&request));
        for (name, unknown) in [("date", false), ("@status", true), ("@target-uri", true)] {
            let input = InnerList { items: vec![component::plain(name)], parameters: Default::default() };
            let found = base(&input, &subject).unwrap_err();
            assert_eq!(matches!(found, ComponentError::Unknown(_)), unknown, "{found}");
        }
    }
}
