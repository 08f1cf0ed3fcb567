//! The signature fields of a request in the one form in which this program writes them. Nearly all that come are in it, and
//! then they are read in one go, where they stand. For all others there is [`crate::structured`], which knows every form
//! there is, makes a value of each part, and takes as long as checking half a signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::HeaderMap;

use crate::nonce::NONCE_LENGTH;
use crate::signature::{SIGNATURE, SIGNATURE_INPUT, once};
use crate::structured::FIELD_BYTES_MAX;

/// What comes before each member of both fields: the label.
const MEMBER: &str = "tycoon=";
/// What the signature of a request with a body covers.
pub(crate) const WITH_BODY: &str =
    r#"("@method" "@path" "@query" "content-digest" "tycoon-protocol" "tycoon-recipient")"#;
/// The same of one without.
pub(crate) const WITHOUT_BODY: &str = r#"("@method" "@path" "@query" "tycoon-protocol" "tycoon-recipient")"#;
/// The digits of a number, as RFC 8941 has it, at most.
const DIGITS_MAX: usize = 15;

/// A request's signature and its parameters, in the usual form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnForm<'a> {
    /// What is covered, with all parameters: what the signed text ends with.
    pub(crate) parameters: &'a str,
    /// True where the digest of the body is covered.
    pub(crate) covers_body: bool,
    /// When it was made, in seconds.
    pub(crate) created: i64,
    /// The nonce.
    pub(crate) nonce: [u8; 16],
    /// The key.
    pub(crate) keyid: &'a str,
    /// The signature as it stands in its field: `:…:`.
    pub(crate) member: &'a str,
    /// The signature.
    pub(crate) signature: [u8; 64],
}

/// The signature in `headers`, where both fields are exactly in the usual form; `None` does not say that anything is wrong.
pub(crate) fn find(headers: &HeaderMap) -> Option<OwnForm<'_>> {
    let field = |name| once(headers, name).ok().flatten().filter(|field| field.len() <= FIELD_BYTES_MAX);
    let parameters = field(SIGNATURE_INPUT)?.strip_prefix(MEMBER)?;
    let (covers_body, rest) = match parameters.strip_prefix(WITH_BODY) {
        Some(rest) => (true, rest),
        None => (false, parameters.strip_prefix(WITHOUT_BODY)?),
    };
    let (created, rest) = rest.strip_prefix(";created=")?.split_once(";nonce=\"")?;
    let (nonce, rest) = rest.split_once("\";keyid=\"")?;
    let keyid = rest.strip_suffix("\";alg=\"ed25519\"")?;
    // Written back, a number must be the same text, and a text must be without escapes and end where it seems to.
    let is_number = created.len() <= DIGITS_MAX
        && created.bytes().all(|byte| byte.is_ascii_digit())
        && (!created.starts_with('0') || created == "0");
    let is_text = keyid.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
    if !is_number || !is_text {
        return None;
    }
    let member = field(SIGNATURE)?.strip_prefix(MEMBER)?;
    let encoded = member.strip_prefix(':')?.strip_suffix(':')?;
    let mut signature = [0; 66];
    // The decoder takes the one text of these bytes only.
    let length = BASE64.decode_slice(encoded, &mut signature).ok()?;
    let signature = signature[..length].try_into().ok()?;
    Some(OwnForm {
        parameters,
        covers_body,
        created: created.parse().ok()?,
        nonce: parse_nonce(nonce)?,
        keyid,
        member,
        signature,
    })
}

/// The bytes of a nonce.
pub(crate) fn parse_nonce(text: &str) -> Option<[u8; 16]> {
    let digits = text.len() == NONCE_LENGTH && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digits.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature;
    use crate::structured::byte_sequence;
    use http::HeaderValue;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOqZ9o/s0Q";
    const NONCE: &str = "00112233445566778899aabbccddeeff";

    fn headers(input: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE_INPUT, HeaderValue::from_str(input).unwrap());
        headers.insert(SIGNATURE, HeaderValue::from_str(signature).unwrap());
        headers
    }

    fn usual() -> (String, String) {
        let input = format!(r#"tycoon={WITH_BODY};created=1618884473;nonce="{NONCE}";keyid="{KEY}";alg="ed25519""#);
        (input, format!("tycoon={}", byte_sequence(&[7; 64])))
    }

    /// What is found in the usual form is what the general reader finds.
    fn agrees(headers: &HeaderMap) -> bool {
        let Some(own) = find(headers) else { return false };
        let found = signature::find(headers, "tycoon").unwrap();
        assert_eq!(found.input.to_string(), own.parameters);
        assert_eq!(found.signature, own.signature);
        assert_eq!(byte_sequence(&found.signature), own.member);
        let parameters = &found.input.parameters;
        assert_eq!(parameters.0.len(), 4);
        assert_eq!(parameters.integer("created"), Some(own.created));
        assert_eq!(parameters.text("nonce").and_then(parse_nonce), Some(own.nonce));
        assert_eq!(parameters.text("keyid"), Some(own.keyid));
        assert_eq!(parameters.text("alg"), Some("ed25519"));
        assert_eq!(found.input.items.iter().any(|item| item.text == "content-digest"), own.covers_body);
        true
    }

    #[test]
    fn the_usual_form_is_read_as_the_general_reader_reads_it() {
        let (input, signature) = usual();
        assert!(agrees(&headers(&input, &signature)));
        assert!(agrees(&headers(&input.replace(WITH_BODY, WITHOUT_BODY), &signature)));
        assert!(agrees(&headers(&input.replace("1618884473", "0"), &signature)));
    }

    #[test]
    fn whatever_else_is_left_to_the_general_reader() {
        let (input, signature) = usual();
        for (from, to) in [
            ("created=1", "created=01"),
            ("created=1", "created=-1"),
            ("created=1", "created=123456789"),
            ("\"@method\" \"@path\"", "\"@path\" \"@method\""),
            ("\"@method\" ", "\"@method\"  "),
            (";nonce", "; nonce"),
            ("ssh-ed25519 ", "ssh\\\"ed25519 "),
            ("ssh-ed25519 ", "ssh-ed25519\";x=\""),
            ("ff\"", "fF\""),
            ("\"ed25519\"", "\"ed25519\", other=()"),
            ("tycoon=(", "tycoon= ("),
        ] {
            let changed = input.replace(from, to);
            assert_ne!(changed, input, "{from}");
            assert_eq!(find(&headers(&changed, &signature)), None, "{changed}");
        }
        for changed in [
            signature.replace("Bw==:", "Bx==:"),
            signature.replace("==:", ":"),
            format!("{signature}, other=:AA==:"),
            format!("tycoon={}", byte_sequence(&[7; 63])),
            format!("tycoon={}", byte_sequence(&[7; 66])),
            format!("tycoon={}", byte_sequence(&[7; 100])),
        ] {
            assert_ne!(changed, signature);
            assert_eq!(find(&headers(&input, &changed)), None, "{changed}");
        }
        let mut twice = headers(&input, &signature);
        twice.append(SIGNATURE, HeaderValue::from_str(&signature).unwrap());
        assert_eq!(find(&twice), None);
    }

    proptest::proptest! {
        #[test]
        fn no_change_of_a_byte_is_read_differently(at in 0_usize..400, byte in b' '..=b'~', of_input: bool) {
            let (mut input, mut signature) = usual();
            let field = if of_input { &mut input } else { &mut signature };
            let at = at % field.len();
            field.replace_range(at..=at, &char::from(byte).to_string());
            let _ = agrees(&headers(&input, &signature));
        }
    }
}
