//! The few forms of Structured Field Values (RFC 8941) that message signatures need, read strictly and within bounds:
//! dictionaries of inner lists of strings (`Signature-Input`) and of byte sequences (`Signature`).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

/// The longest field that is read, in bytes.
pub const FIELD_BYTES_MAX: usize = 4096;
/// The largest number of members of a dictionary, of items of a list, and of parameters of either.
pub const MEMBERS_MAX: usize = 16;

/// Why a field could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldError {
    /// Too long.
    #[error("the field has {0} bytes; at most {FIELD_BYTES_MAX} are read")]
    TooLong(usize),
    /// Too many members, items or parameters.
    #[error("the field has more than {MEMBERS_MAX} members, items or parameters in one place")]
    TooMany,
    /// Something else stands where `expected` should.
    #[error("byte {at} of the field: {expected} is expected")]
    Malformed {
        /// Bytes from the start of the field.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The same name stands twice.
    #[error("the name `{0}` stands twice in the field")]
    Twice(String),
}

/// A value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bare {
    /// A whole number.
    Integer(i64),
    /// A string of printable ASCII characters.
    Text(String),
    /// True, written by naming the parameter only.
    True,
}

/// Named values behind an item or a list, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(String, Bare)>);

impl Parameters {
    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&Bare> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The text of `name`, where it has one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Bare::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The number of `name`, where it has one.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.get(name) {
            Some(Bare::Integer(number)) => Some(*number),
            _ => None,
        }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| match value {
            Bare::Integer(number) => write!(f, ";{name}={number}"),
            Bare::Text(text) => write!(f, ";{name}={}", Quoted(text)),
            Bare::True => write!(f, ";{name}"),
        })
    }
}

/// A string item with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The string.
    pub text: String,
    /// Its parameters.
    pub parameters: Parameters,
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", Quoted(&self.text), self.parameters)
    }
}

/// A list of string items with parameters: `("a" "b";req);created=1`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InnerList {
    /// The items in their order.
    pub items: Vec<Item>,
    /// The parameters of the list.
    pub parameters: Parameters,
}

impl fmt::Display for InnerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, item) in self.items.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{item}")?;
        }
        write!(f, "){}", self.parameters)
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// Reads a dictionary of inner lists.
pub fn parse_lists(field: &str) -> Result<Vec<(String, InnerList)>, FieldError> {
    Reader::new(field)?.dictionary(Reader::inner_list)
}

/// Reads a dictionary of byte sequences; parameters of the members are not read but refused.
pub fn parse_byte_sequences(field: &str) -> Result<Vec<(String, Vec<u8>)>, FieldError> {
    Reader::new(field)?.dictionary(Reader::byte_sequence)
}

/// A byte sequence as it is written: `:…:`.
pub fn byte_sequence(bytes: &[u8]) -> String {
    format!(":{}:", BASE64.encode(bytes))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self, FieldError> {
        if text.len() > FIELD_BYTES_MAX {
            return Err(FieldError::TooLong(text.len()));
        }
        Ok(Self { text, at: 0 })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&self, expected: &'static str) -> Result<T, FieldError> {
        Err(FieldError::Malformed { at: self.at, expected })
    }

    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), FieldError> {
        if self.take(byte) { Ok(()) } else { self.fail(expected) }
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') || self.peek() == Some(b'\t') {
            self.at += 1;
        }
    }

    /// Takes bytes while `accept` holds.
    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn dictionary<T>(
        mut self,
        value: impl Fn(&mut Self) -> Result<T, FieldError>,
    ) -> Result<Vec<(String, T)>, FieldError> {
        let mut members: Vec<(String, T)> = Vec::new();
        self.skip_spaces();
        loop {
            let name = self.key()?;
            self.expect(b'=', "`=`")?;
            let value = value(&mut self)?;
            if members.iter().any(|(other, _)| *other == name) {
                return Err(FieldError::Twice(name));
            }
            if members.len() == MEMBERS_MAX {
                return Err(FieldError::TooMany);
            }
            members.push((name, value));
            self.skip_spaces();
            if self.at == self.text.len() {
                return Ok(members);
            }
            self.expect(b',', "`,` or the end")?;
            self.skip_spaces();
        }
    }

    fn key(&mut self) -> Result<String, FieldError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return self.fail("a name");
        }
        let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte);
        Ok(self.take_while(is_key).to_owned())
    }

    fn inner_list(&mut self) -> Result<InnerList, FieldError> {
        self.expect(b'(', "`(`")?;
        let mut items = Vec::new();
        loop {
            while self.take(b' ') {}
            if self.take(b')') {
                return Ok(InnerList { items, parameters: self.parameters()? });
            }
            if items.len() == MEMBERS_MAX {
                return Err(FieldError::TooMany);
            }
            let item = Item { text: self.string()?, parameters: self.parameters()? };
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return self.fail("a space or `)`");
            }
            items.push(item);
        }
    }

    fn string(&mut self) -> Result<String, FieldError> {
        self.expect(b'"', "`\"`")?;
        let mut text = String::new();
        loop {
            text.push_str(self.take_while(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\'));
            if self.take(b'"') {
                return Ok(text);
            }
            self.expect(b'\\', "`\"`")?;
            match self.peek() {
                Some(byte @ (b'"' | b'\\')) => text.push(char::from(byte)),
                _ => return self.fail("`\\` or `\"` after a `\\`"),
            }
            self.at += 1;
        }
    }

    fn parameters(&mut self) -> Result<Parameters, FieldError> {
        let mut parameters = Parameters::default();
        while self.take(b';') {
            while self.take(b' ') {}
            let name = self.key()?;
            let value = if self.take(b'=') { self.bare()? } else { Bare::True };
            if parameters.get(&name).is_some() {
                return Err(FieldError::Twice(name));
            }
            if parameters.0.len() == MEMBERS_MAX {
                return Err(FieldError::TooMany);
            }
            parameters.0.push((name, value));
        }
        Ok(parameters)
    }

    fn bare(&mut self) -> Result<Bare, FieldError> {
        if self.peek() == Some(b'"') {
            return self.string().map(Bare::Text);
        }
        let start = self.at;
        self.take(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit()).len();
        // RFC 8941, 3.3.1: at most fifteen digits.
        match self.text[start..self.at].parse() {
            Ok(number) if (1..=15).contains(&digits) => Ok(Bare::Integer(number)),
            _ => self.fail("a string or a whole number"),
        }
    }

    fn byte_sequence(&mut self) -> Result<Vec<u8>, FieldError> {
        self.expect(b':', "`:`")?;
        let encoded = self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        let Ok(bytes) = BASE64.decode(encoded) else {
            return self.fail("base64 before this place");
        };
        self.expect(b':', "`:`")?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_prints_as_it_was_read() {
        let list = r#"("@method" "signature";req;key="tycoon" "a\"b\\c");created=1618884473;nonce="x";flag"#;
        let read = parse_lists(&format!("sig-b26={list}, other=()")).unwrap();
        assert_eq!(read[0].0, "sig-b26");
        assert_eq!(read[0].1.to_string(), list);
        assert_eq!(read[0].1.parameters.integer("created"), Some(1_618_884_473));
        assert_eq!(read[0].1.items[1].parameters.text("key"), Some("tycoon"));
        assert_eq!(read[1].1, InnerList::default());
    }

    #[test]
    fn bytes_print_as_they_were_read() {
        assert_eq!(parse_byte_sequences("a=:AQID:"), Ok(vec![("a".into(), vec![1, 2, 3])]));
        assert_eq!(byte_sequence(&[1, 2, 3]), ":AQID:");
    }

    #[test]
    fn what_is_malformed_is_refused_where_it_stands() {
        for (field, at) in [
            ("", 0),
            ("A=()", 0),
            ("a", 1),
            ("a=(", 3),
            ("a=(\"x\"\"y\")", 6),
            ("a=(\"x)", 6),
            ("a=();created=1234567890123456", 29),
            ("a=() b=()", 5),
            ("a=(),", 5),
            ("a=(\"\u{e9}\")", 4),
        ] {
            assert!(
                matches!(parse_lists(field), Err(FieldError::Malformed { at: found, .. }) if found == at),
                "{field:?}: {:?}",
                parse_lists(field)
            );
        }
        assert_eq!(parse_lists("a=(),a=()"), Err(FieldError::Twice("a".into())));
        assert_eq!(parse_lists("a=();b;b"), Err(FieldError::Twice("b".into())));
        assert!(parse_byte_sequences("a=:A:").is_err());
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert_eq!(parse_lists(&" ".repeat(5000)), Err(FieldError::TooLong(5000)));
        assert_eq!(parse_lists(&format!("a=({})", "\"x\" ".repeat(17))), Err(FieldError::TooMany));
    }
}
