//! Frames: what a stream is divided into.
//!
//! A stream begins with [`PREAMBLE`], in both directions. Then come frames: one byte of kind (`m` for a message in
//! JSON, `d` for data), four bytes of length (big-endian), and as many bytes of content.

use std::io::{self, ErrorKind, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// What each side writes first, so that a greeting, an error message of a shell, or another program is noticed as such.
pub const PREAMBLE: &[u8] = b"tycoon session\n";
/// The longest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The longest content of a data frame, in bytes.
pub const DATA_BYTES_MAX: usize = 256 << 10;
/// How much memory is taken before anything of a frame's content has come, in bytes.
const READ_AT_ONCE: usize = 64 << 10;
/// How much of something that is no session is shown, in bytes.
const STRANGE_BYTES_SHOWN: usize = 300;

const MESSAGE: u8 = b'm';
const DATA: u8 = b'd';

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A message, in JSON.
    Message(Vec<u8>),
    /// A piece of a console or a file.
    Data(Vec<u8>),
}

/// Why there is no frame.
#[derive(Debug, Error)]
pub enum FrameError {
    /// The stream cannot be read or written.
    #[error("the stream is broken: {0}")]
    Broken(#[from] io::Error),
    /// The stream ended inside a frame.
    #[error("the stream ended in the middle of a frame")]
    Cut,
    /// It does not begin as a session does.
    #[error("{}", strange(.0))]
    Strange(String),
    /// A frame of no known kind.
    #[error("a frame of the unknown kind {0:#04x} came; the other side is out of step or no Tycoon")]
    UnknownKind(u8),
    /// A frame that is longer than any may be.
    #[error("a frame of {bytes} bytes; {most} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// What is allowed.
        most: usize,
    },
    /// A message that says nothing known.
    #[error("a message that makes no sense: {0}")]
    Nonsense(String),
}

fn strange(text: &str) -> String {
    match text.trim() {
        "" => "no session began; nothing was said".to_owned(),
        text => format!("no session began; instead it says: {text}"),
    }
}

/// Reads [`PREAMBLE`].
pub fn read_preamble(reader: &mut dyn Read) -> Result<(), FrameError> {
    let mut read = Vec::new();
    let mut byte = [0];
    while read.len() < PREAMBLE.len() {
        match reader.read(&mut byte) {
            Ok(0) => return Err(strange_bytes(&read)),
            Ok(_) => read.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) if !read.is_empty() => return Err(strange_bytes(&read)),
            Err(error) => return Err(error.into()),
        }
        if !PREAMBLE.starts_with(&read) {
            // What follows on the same line explains what came instead.
            while read.len() < STRANGE_BYTES_SHOWN && read.last() != Some(&b'\n') {
                match reader.read(&mut byte) {
                    Ok(1) => read.push(byte[0]),
                    _ => break,
                }
            }
            return Err(strange_bytes(&read));
        }
    }
    Ok(())
}

fn strange_bytes(bytes: &[u8]) -> FrameError {
    let is_shown = |c: &char| !c.is_control() || *c == '\n';
    FrameError::Strange(String::from_utf8_lossy(bytes).chars().filter(is_shown).collect())
}

/// Reads a frame; `None` at an orderly end.
pub fn read(reader: &mut dyn Read) -> Result<Option<Frame>, FrameError> {
    read_within(reader, MESSAGE_BYTES_MAX)
}

/// The same where a message has at most so many bytes.
pub fn read_within(reader: &mut dyn Read, message_bytes_max: usize) -> Result<Option<Frame>, FrameError> {
    let mut header = [0; 5];
    let mut filled = 0;
    while filled < header.len() {
        match reader.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(FrameError::Cut),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let [kind, length @ ..] = header;
    let bytes = u32::from_be_bytes(length) as usize;
    let most = match kind {
        MESSAGE => message_bytes_max.min(MESSAGE_BYTES_MAX),
        DATA => DATA_BYTES_MAX,
        other => return Err(FrameError::UnknownKind(other)),
    };
    if bytes > most {
        return Err(FrameError::TooLong { bytes, most });
    }
    // Memory is taken as content comes in, not as the header promises.
    let mut content = Vec::with_capacity(bytes.min(READ_AT_ONCE));
    reader.take(bytes as u64).read_to_end(&mut content)?;
    if content.len() < bytes {
        return Err(FrameError::Cut);
    }
    Ok(Some(if kind == MESSAGE { Frame::Message(content) } else { Frame::Data(content) }))
}

/// The bytes of a message's frame.
pub fn of_message(message: &impl Serialize) -> Result<Vec<u8>, FrameError> {
    let content = serde_json::to_vec(message).map_err(|error| FrameError::Nonsense(error.to_string()))?;
    framed(MESSAGE, &content, MESSAGE_BYTES_MAX)
}

/// The bytes of a data frame.
pub fn of_data(content: &[u8]) -> Result<Vec<u8>, FrameError> {
    framed(DATA, content, DATA_BYTES_MAX)
}

/// Writes a frame and flushes it.
pub fn write(writer: &mut dyn Write, frame: &[u8]) -> Result<(), FrameError> {
    writer.write_all(frame)?;
    Ok(writer.flush()?)
}

/// What a message says.
pub fn parse<T: DeserializeOwned>(message: &[u8]) -> Result<T, FrameError> {
    serde_json::from_slice(message).map_err(|error| FrameError::Nonsense(error.to_string()))
}

fn framed(kind: u8, content: &[u8], most: usize) -> Result<Vec<u8>, FrameError> {
    let bytes = content.len();
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= most).ok_or(FrameError::TooLong { bytes, most })?;
    let mut frame = Vec::with_capacity(bytes + 5);
    frame.push(kind);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(content);
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut bytes = of_message(&"hello").unwrap();
        bytes.extend(of_data(&[0; DATA_BYTES_MAX]).unwrap());
        let mut reader = bytes.as_slice();
        assert_eq!(read(&mut reader).unwrap(), Some(Frame::Message(b"\"hello\"".to_vec())));
        assert_eq!(read(&mut reader).unwrap(), Some(Frame::Data(vec![0; DATA_BYTES_MAX])));
        assert_eq!(read(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_stream_that_is_cut_anywhere_is_said_to_be_cut() {
        let bytes = of_data(b"content").unwrap();
        for length in 1..bytes.len() {
            let result = read(&mut &bytes[..length]);
            assert!(matches!(result, Err(FrameError::Cut)), "{length} bytes: {result:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_unknown_is_refused_before_it_is_read() {
        let result = read(&mut &[MESSAGE, 0xff, 0xff, 0xff, 0xff][..]);
        assert!(matches!(result, Err(FrameError::TooLong { bytes: 0xffff_ffff, .. })), "{result:?}");
        let result = read(&mut &[DATA, 0, 4, 0, 1][..]);
        assert!(matches!(result, Err(FrameError::TooLong { bytes: 262_145, most: 262_144 })), "{result:?}");
        let result = read(&mut &[b'x', 0, 0, 0, 0][..]);
        assert!(matches!(result, Err(FrameError::UnknownKind(b'x'))), "{result:?}");
        assert!(of_data(&[0; DATA_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn what_is_no_session_is_shown() {
        let said = |text: &str| read_preamble(&mut text.as_bytes()).unwrap_err().to_string();
        assert_eq!(said("Welcome to xen1!\nmore"), "no session began; instead it says: Welcome to xen1!");
        assert_eq!(said("tycoon: not found"), "no session began; instead it says: tycoon: not found");
        assert_eq!(said(""), "no session began; nothing was said");
        let mut preamble = PREAMBLE;
        assert!(read_preamble(&mut preamble).is_ok());
    }
}
