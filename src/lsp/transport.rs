//! Messages over a stream: a header with a length, and JSON.

use std::io::{self, BufRead, Read as _};

use lsp_server::Message;

/// The longest message that is read: a text of the largest size, with every character escaped.
const MESSAGE_BYTES_MAX: usize = 128 << 20;
/// The longest line of a header, and the most lines.
const HEADER_BYTES_MAX: u64 = 1 << 10;
const HEADER_LINES_MAX: usize = 16;

/// Reads the next message; none at the end of the stream.
///
/// # Errors
/// Where the stream breaks off inside a message, or holds what is none or too long.
pub fn read(input: &mut dyn BufRead) -> io::Result<Option<Message>> {
    let Some(length) = length(input)? else { return Ok(None) };
    let mut content = Vec::new();
    input.take(length as u64).read_to_end(&mut content)?;
    if content.len() < length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended inside a message"));
    }
    serde_json::from_slice(&content).map(Some).map_err(|error| wrong(&format!("this is no message: {error}")))
}

/// The length that the header before a message says.
fn length(input: &mut dyn BufRead) -> io::Result<Option<usize>> {
    let mut length = None;
    for number in 0..HEADER_LINES_MAX {
        let mut line = String::new();
        let read = input.take(HEADER_BYTES_MAX).read_line(&mut line)?;
        if read == 0 && number == 0 {
            return Ok(None);
        }
        let Some(line) = line.strip_suffix("\r\n") else { return Err(wrong("a line of a header has no end")) };
        if line.is_empty() {
            return match length {
                Some(length) if length <= MESSAGE_BYTES_MAX => Ok(Some(length)),
                Some(_) => Err(wrong("a message is longer than 128 MiB")),
                None => Err(wrong("a header has no Content-Length")),
            };
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("Content-Length")
        {
            length = Some(value.trim().parse().map_err(|_| wrong("a Content-Length is no number"))?);
        }
    }
    Err(wrong("a header has more than 16 lines"))
}

fn wrong(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_and_what_is_none_is_refused() {
        let content = r#"{"jsonrpc":"2.0","method":"exit"}"#;
        let text = format!("Content-Type: x\r\nContent-Length: {}\r\n\r\n{content}", content.len());
        let mut input = text.as_bytes();
        assert!(matches!(read(&mut input), Ok(Some(Message::Notification(exit))) if exit.method == "exit"));
        assert!(matches!(read(&mut input), Ok(None)));
        for wrong in [
            "Content-Length: 99999999999\r\n\r\n",
            "Content-Length: ten\r\n\r\n",
            "Content-Length: 10\r\n\r\n{}",
            "Content-Length: 2\r\n\r\n[]",
            "\r\n",
            "GET / HTTP/1.1\n",
            &"a: b\r\n".repeat(99),
            &"x".repeat(100_000),
        ] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong:.40}");
        }
    }
}
