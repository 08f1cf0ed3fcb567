//! The parts of a message that a signature covers (RFC 9421, section 2).

use http::{HeaderMap, Method, StatusCode, Uri};
use thiserror::Error;

use crate::structured::{Bare, Item, Parameters, byte_sequence, parse_byte_sequences};

/// Why a covered part has no value.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ComponentError {
    /// The message lacks the part.
    #[error("the signature covers `{0}`, which the message does not have")]
    Missing(String),
    /// A part of this name is not understood.
    #[error("the signature covers `{0}`, which is not understood")]
    Unknown(String),
    /// The part is not text.
    #[error("the signature covers `{0}`, which is not text")]
    NotText(String),
}

/// The request half of what is signed.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target.
    pub uri: &'a Uri,
    /// The header fields.
    pub headers: &'a HeaderMap,
}

impl<'a> RequestHead<'a> {
    /// The head of `request`.
    pub fn of<B>(request: &'a http::Request<B>) -> Self {
        Self { method: request.method(), uri: request.uri(), headers: request.headers() }
    }
}

/// What is signed: a request, or a response with the request it answers.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A request.
    Request(RequestHead<'a>),
    /// A response.
    Response {
        /// Its status.
        status: StatusCode,
        /// Its header fields.
        headers: &'a HeaderMap,
        /// The request that it answers, where the signature covers parts of it.
        request: Option<RequestHead<'a>>,
    },
}

/// A part without parameters.
pub fn plain(name: &str) -> Item {
    Item { text: name.to_owned(), parameters: Parameters::default() }
}

/// The member `label` of the request's `Signature` field, covered by the signature of its response.
pub fn signature_of_request(label: &str) -> Item {
    let parameters = vec![("req".to_owned(), Bare::True), ("key".to_owned(), Bare::Text(label.to_owned()))];
    Item { text: "signature".to_owned(), parameters: Parameters(parameters) }
}

/// The value of the part `item` in `subject`.
pub fn value(item: &Item, subject: &Subject<'_>) -> Result<String, ComponentError> {
    let missing = || ComponentError::Missing(item.to_string());
    let unknown = || ComponentError::Unknown(item.to_string());
    let of_request = item.parameters.get("req") == Some(&Bare::True);
    let understood = item.parameters.0.iter().all(|(name, value)| match name.as_str() {
        "req" => *value == Bare::True,
        "key" => matches!(value, Bare::Text(_)) && item.text == "signature",
        _ => false,
    });
    if !understood {
        return Err(unknown());
    }
    let (request, headers) = match subject {
        Subject::Request(request) if !of_request => (Some(request), request.headers),
        Subject::Response { request: Some(request), .. } if of_request => (Some(request), request.headers),
        Subject::Response { headers, .. } if !of_request => (None, *headers),
        _ => return Err(missing()),
    };
    match (item.text.as_str(), request, subject) {
        ("@method", Some(request), _) => Ok(request.method.as_str().to_owned()),
        ("@path", Some(request), _) => Ok(match request.uri.path() {
            "" => "/".to_owned(),
            path => path.to_owned(),
        }),
        ("@query", Some(request), _) => Ok(format!("?{}", request.uri.query().unwrap_or_default())),
        ("@authority", Some(request), _) => {
            let host = request.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
            let authority = request.uri.authority().map(|authority| authority.as_str()).or(host);
            authority.map(str::to_ascii_lowercase).ok_or_else(missing)
        }
        ("@status", None, Subject::Response { status, .. }) => Ok(status.as_str().to_owned()),
        (name, _, _) if name.starts_with('@') => Err(unknown()),
        (name, _, _) => field(name, item, headers),
    }
}

/// The value of a header field: of all its lines, trimmed and joined, or of one member of a dictionary.
fn field(name: &str, item: &Item, headers: &HeaderMap) -> Result<String, ComponentError> {
    let mut lines = Vec::new();
    for line in headers.get_all(name) {
        lines.push(line.to_str().map_err(|_| ComponentError::NotText(item.to_string()))?.trim());
    }
    if lines.is_empty() {
        return Err(ComponentError::Missing(item.to_string()));
    }
    let joined = lines.join(", ");
    let Some(label) = item.parameters.text("key") else {
        return Ok(joined);
    };
    let members = parse_byte_sequences(&joined).map_err(|_| ComponentError::Missing(item.to_string()))?;
    let member = members.into_iter().find(|(name, _)| name == label);
    member.map(|(_, bytes)| byte_sequence(&bytes)).ok_or_else(|| ComponentError::Missing(item.to_string()))
}
