//! The digest of a body in the `Content-Digest` field (RFC 9530, `sha-256`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// The name of the header field.
pub const CONTENT_DIGEST: &str = "content-digest";

/// The field's value for `body`: `sha-256=:…:`.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(Sha256::digest(body)))
}

/// True where `field` is the digest of `body`, written exactly as [`content_digest`] writes it.
///
/// Other algorithms beside it are not understood: one way of writing a digest is one way less to be fooled.
pub fn matches(field: &str, body: &[u8]) -> bool {
    field == content_digest(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_rfc_9530() {
        // RFC 9530, appendix B.1: a body with `{"hello": "world"}` and a line feed.
        let body = b"{\"hello\": \"world\"}\n";
        assert_eq!(content_digest(body), "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
        assert!(matches(&content_digest(body), body));
        assert!(!matches(&content_digest(body), b"{}"));
    }
}
