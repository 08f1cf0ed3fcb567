//! Refusals as data: problem details for HTTP APIs (RFC 9457) with a stable code.

use std::fmt;
use std::ops::Deref;

use http::{HeaderValue, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What the type of a problem starts with; its code follows.
const TYPE_PREFIX: &str = "urn:tycoon:problem:";
/// The longest text of a problem of somebody else that is kept, in characters.
const TEXT_CHARS_MAX: usize = 2000;

/// Why a call was refused. Its parts are those of [`Details`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Details>);

/// The parts of a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// A URI that names the kind of problem: `urn:tycoon:problem:` and the code.
    #[serde(rename = "type", default = "about_blank")]
    pub kind: String,
    /// The kind of problem in words, the same for every problem of the code.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened this time.
    #[serde(default)]
    pub detail: String,
    /// A stable code such as `bank.insufficient-funds`, for programs.
    #[serde(default)]
    pub code: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Further data, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

fn about_blank() -> String {
    "about:blank".to_owned()
}

impl Problem {
    /// A problem with a status, a stable code and a title.
    pub fn new(status: StatusCode, code: &str, title: &str) -> Self {
        Self(Box::new(Details {
            kind: format!("{TYPE_PREFIX}{code}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: String::new(),
            code: code.to_owned(),
            help: None,
            extra: Map::new(),
        }))
    }

    /// Adds what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.0.detail = detail.to_string();
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl fmt::Display) -> Self {
        self.0.help = Some(help.to_string());
        self
    }

    /// Adds a named value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The problem as a response.
    pub fn response(&self) -> Response<Vec<u8>> {
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }

    /// The problem in a response that reports one. What is not a problem becomes one with the code
    /// `call.unexplained`. Control characters are replaced, so that the texts can be printed.
    pub fn of_response(response: &Response<Vec<u8>>) -> Self {
        let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
        let read = if is_problem { serde_json::from_slice::<Self>(response.body()).ok() } else { None };
        let mut problem = read.unwrap_or_else(|| {
            Self::new(response.status(), "call.unexplained", "The call failed without an explanation")
                .detail(String::from_utf8_lossy(response.body()))
        });
        let details = &mut *problem.0;
        details.status = response.status().as_u16();
        for text in [&mut details.kind, &mut details.title, &mut details.detail, &mut details.code] {
            *text = printable(text);
        }
        details.help = details.help.as_deref().map(printable);
        problem
    }

    /// True where the same call may succeed later: the service is busy, starting, or not there.
    pub fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 502 | 503 | 504)
    }
}

/// Text of somebody else, made safe to print and cut to a bearable length.
fn printable(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.title.is_empty(), self.detail.is_empty()) {
            (_, true) => f.write_str(&self.title),
            (true, false) => f.write_str(&self.detail),
            (false, false) => write!(f, "{}: {}", self.title, self.detail),
        }
    }
}

impl std::error::Error for Problem {}

impl Deref for Problem {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_back_from_its_response() {
        let problem = Problem::new(StatusCode::CONFLICT, "bank.id-taken", "The id is taken")
            .detail("another transfer has it")
            .help("choose another id")
            .with("id", "00");
        let response = problem.response();
        assert_eq!(response.status(), StatusCode::CONFLICT);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(Problem::of_response(&response), problem);
        assert_eq!(problem.to_string(), "The id is taken: another transfer has it");
    }

    #[test]
    fn what_is_not_a_problem_becomes_one_that_can_be_printed() {
        let mut response = Response::new(b"\x1b[31mBad Gateway".to_vec());
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        let problem = Problem::of_response(&response);
        assert_eq!((problem.status, problem.code.as_str()), (502, "call.unexplained"));
        assert_eq!(problem.detail, "\u{fffd}[31mBad Gateway");
        assert!(problem.is_transient());
    }
}
