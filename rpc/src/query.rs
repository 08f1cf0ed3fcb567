//! The query of a call: names and values, percent-encoded.

use thiserror::Error;

/// The largest number of names in a query.
const PAIRS_MAX: usize = 32;

/// Why a query could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum QueryError {
    /// Too many names.
    #[error("the query has more than {PAIRS_MAX} names")]
    TooMany,
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the query's `{0}` is not percent-encoded UTF-8")]
    Encoding(String),
    /// The same name stands twice.
    #[error("the query's `{0}` stands twice")]
    Twice(String),
    /// The value of a name is not what it should be.
    #[error("the query's `{name}` is not understood: {reason}")]
    Value {
        /// The name.
        name: String,
        /// What is wrong with its value.
        reason: String,
    },
}

/// The names and values of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the text after the `?`.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(QueryError::Twice(name));
            }
            if pairs.len() == PAIRS_MAX {
                return Err(QueryError::TooMany);
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, read as a `T`.
    pub fn read<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, QueryError> {
        let read = |text: &str| {
            text.parse().map_err(|error: T::Err| QueryError::Value { name: name.to_owned(), reason: error.to_string() })
        };
        self.get(name).map(read).transpose()
    }
}

/// Writes names and values as the text after the `?`.
pub fn encode<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parts: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    parts.join("&")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        // The unreserved characters of RFC 3986.
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

fn decode(text: &str) -> Result<String, QueryError> {
    let wrong = || QueryError::Encoding(text.chars().take(64).collect());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reads_back() {
        let text = encode([("pool", "a&b=c%"), ("host", "é")]);
        assert_eq!(text, "pool=a%26b%3Dc%25&host=%C3%A9");
        let query = Query::parse(&text).unwrap();
        assert_eq!(query.get("pool"), Some("a&b=c%"));
        assert_eq!(query.get("host"), Some("é"));
        assert_eq!(query.get("other"), None);
    }

    #[test]
    fn what_is_malformed_is_refused() {
        assert_eq!(Query::parse("a=%zz"), Err(QueryError::Encoding("%zz".into())));
        assert_eq!(Query::parse("a=%ff"), Err(QueryError::Encoding("%ff".into())));
        assert_eq!(Query::parse("a=1&a=2"), Err(QueryError::Twice("a".into())));
        let many: Vec<_> = (0..33).map(|i| format!("n{i}=")).collect();
        assert_eq!(Query::parse(&many.join("&")), Err(QueryError::TooMany));
        assert!(Query::parse("n=x").unwrap().read::<u32>("n").is_err());
    }
}
