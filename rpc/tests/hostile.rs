//! Foreign bytes: whatever is sent, the gate answers and nothing panics; whatever comes back, the caller believes only
//! what is signed.

use std::sync::Arc;

use http::{HeaderValue, Request, Response};
use proptest::prelude::*;
use tycoon_market::Timestamp;
use tycoon_rpc::receiver::json;
use tycoon_rpc::{
    CallError, Caller, FixedClock, Limits, Problem, Query, Receiver, ReplayPolicy, SecretKey, Signer as _, Transport,
    TransportError, structured,
};

fn receiver() -> Receiver {
    let clock = Arc::new(FixedClock::new(Timestamp::from_seconds(1_800_000_000)));
    Receiver::new(Arc::new(SecretKey::from_seed(&[2; 32])), clock, ReplayPolicy::IN_PROCESS, Limits::DEFAULT)
}

/// Text that looks like a field of a signature, and mostly is none.
fn field() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "tycoon",
        "=",
        "(",
        ")",
        "\"",
        "@method",
        "@path",
        ";",
        "created",
        "=1800000000",
        "nonce",
        "keyid",
        ":",
        "AAAA",
        ",",
        " ",
        "\\",
        "req",
        "key",
        "-",
        "?1",
        "ssh-ed25519 AAAAC3",
        "\t",
        "*",
        "9999999999999999",
    ]);
    prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
}

/// Answers every request with the same response.
struct Parrot(Vec<(String, Vec<u8>)>, Vec<u8>);

impl Transport for Parrot {
    fn send(&self, _: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, TransportError> {
        let mut response = Response::new(self.1.clone());
        for (name, value) in &self.0 {
            if let (Ok(name), Ok(value)) =
                (http::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value))
            {
                response.headers_mut().append(name, value);
            }
        }
        Ok(response)
    }
}

proptest! {
    #[test]
    fn fields_are_read_or_refused(text in field(), other in ".{0,200}") {
        for text in [&text, &other] {
            if let Ok(members) = structured::parse_lists(text) {
                for (_, list) in members {
                    let again = structured::parse_lists(&format!("a={list}"));
                    prop_assert_eq!(again, Ok(vec![("a".to_owned(), list)]), "what is read prints as what is read");
                }
            }
            let _ = structured::parse_byte_sequences(text);
            let _ = Query::parse(text);
        }
    }

    #[test]
    fn a_request_with_any_headers_is_answered(input in field(), signature in field(), body in prop::collection::vec(any::<u8>(), 0..50)) {
        let request = Request::post("/v1/x?a=b")
            .header("signature-input", HeaderValue::from_bytes(input.as_bytes()).unwrap_or(HeaderValue::from_static("")))
            .header("signature", HeaderValue::from_bytes(signature.as_bytes()).unwrap_or(HeaderValue::from_static("")))
            .body(body)
            .unwrap();
        let response = receiver().serve(request, |_| true, |_| json(&"let in"));
        prop_assert_eq!(response.status(), 401);
        let problem = Problem::of_response(&response);
        prop_assert_eq!(&problem.code, "call.signature");
    }

    #[test]
    fn nothing_unsigned_is_believed(input in field(), signature in field(), body in prop::collection::vec(any::<u8>(), 0..50)) {
        let headers = vec![
            ("signature-input".to_owned(), input.into_bytes()),
            ("signature".to_owned(), signature.into_bytes()),
            ("content-type".to_owned(), b"application/problem+json".to_vec()),
        ];
        let bank = SecretKey::from_seed(&[2; 32]).public_key();
        let caller = Caller::new(Arc::new(SecretKey::from_seed(&[1; 32])), bank, Arc::new(Parrot(headers, body)));
        let result: Result<serde_json::Value, _> = caller.get("/v1/x", &[]);
        prop_assert!(matches!(result, Err(CallError::Untrusted { .. })), "{:?}", result);
    }
}
