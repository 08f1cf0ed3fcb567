//! Answers that go on: server-sent events, as browsers and `curl -N` read them.
//!
//! A service answers with [`stream`], keeps the [`EventSender`], and sends whenever something happens. The server puts the
//! events on the connection, sends a comment where nothing happens for a while, and ends the stream where it stops. A
//! reader who is too slow for what is sent loses the connection, not the sender its time: she connects again, says
//! with `Last-Event-ID` what she saw last, and is told the rest or that there is too much of it.
//!
//! The stream itself is not signed; whoever needs to know that something is true signs what the events carry.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Response, header};
use thiserror::Error;
use tokio::sync::mpsc;

/// The media type of a stream of events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// The header with which a reader says which event she saw last.
pub const LAST_EVENT_ID: &str = "last-event-id";
/// The longest line of a stream that is read, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// The most data of one event that is read, in bytes.
const DATA_BYTES_MAX: usize = 4 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// What kind of event it is; a word.
    pub name: String,
    /// What a reader says she saw last, to be told what came after.
    pub id: Option<u64>,
    /// What it carries: JSON, usually.
    pub data: String,
}

impl Event {
    /// The event as it travels.
    fn bytes(&self) -> Vec<u8> {
        let mut text = String::with_capacity(self.data.len() + self.name.len() + 48);
        if let Some(id) = self.id {
            text.push_str(&format!("id: {id}\n"));
        }
        text.push_str(&format!("event: {}\n", self.name.replace(['\r', '\n'], " ")));
        for line in self.data.split('\n') {
            text.push_str("data: ");
            text.push_str(line.trim_end_matches('\r'));
            text.push('\n');
        }
        text.push('\n');
        text.into_bytes()
    }
}

/// Why an event was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotSent {
    /// The reader has gone.
    #[error("the reader has gone")]
    Gone,
    /// The reader is slower than the events. The stream ends with the sender.
    #[error("the reader is too slow")]
    TooSlow,
}

/// The end of a stream that sends. The stream ends where it is dropped.
#[derive(Debug)]
pub struct EventSender(mpsc::Sender<Vec<u8>>);

impl EventSender {
    /// Sends an event, without waiting.
    pub fn send(&self, event: &Event) -> Result<(), NotSent> {
        self.0.try_send(event.bytes()).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::TooSlow,
            mpsc::error::TrySendError::Closed(_) => NotSent::Gone,
        })
    }

    /// True where nobody reads any more.
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// The body of a response that goes on, which the service hands to the server as an extension of the response.
#[derive(Clone, Debug)]
pub struct EventStream(Arc<Mutex<Option<mpsc::Receiver<Vec<u8>>>>>);

impl EventStream {
    /// The events, once.
    pub(crate) fn take(&self) -> Option<mpsc::Receiver<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A response whose body is what the sender sends; at most `queue` events wait for the reader.
pub fn stream(queue: usize) -> (EventSender, Response<Vec<u8>>) {
    let (sender, receiver) = mpsc::channel(queue.max(1));
    let mut response = Response::new(Vec::new());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.extensions_mut().insert(EventStream(Arc::new(Mutex::new(Some(receiver)))));
    (EventSender(sender), response)
}

/// A stream that cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the stream of events has a line of more than {LINE_BYTES_MAX} bytes, or an event of more than {DATA_BYTES_MAX}"
)]
pub struct EventTooLarge;

/// Makes events of bytes that come in pieces of any size.
#[derive(Debug, Default)]
pub struct EventParser {
    line: Vec<u8>,
    event: Event,
    has_data: bool,
}

impl EventParser {
    /// Takes a piece, and returns the events that are whole with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, EventTooLarge> {
        let mut events = Vec::new();
        for &byte in piece {
            if byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                events.extend(self.take_line(line.trim_end_matches('\r'))?);
            } else if self.line.len() < LINE_BYTES_MAX {
                self.line.push(byte);
            } else {
                return Err(EventTooLarge);
            }
        }
        Ok(events)
    }

    fn take_line(&mut self, line: &str) -> Result<Option<Event>, EventTooLarge> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return Ok(std::mem::take(&mut self.has_data).then_some(event));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event.name = value.to_owned(),
            "id" => self.event.id = value.parse().ok(),
            "data" => {
                if self.event.data.len() + value.len() > DATA_BYTES_MAX {
                    return Err(EventTooLarge);
                }
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments keep the connection alive; other fields are for browsers.
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_back_from_pieces_of_any_size() {
        let events = [
            Event { name: "appeared".into(), id: Some(7), data: "{\"a\":1}".into() },
            Event { name: "left".into(), id: None, data: "two\nlines".into() },
            Event { name: "empty".into(), id: Some(8), data: String::new() },
        ];
        let mut bytes = b": hello\n\n".to_vec();
        events.iter().for_each(|event| bytes.extend(event.bytes()));
        for size in [1, 2, 3, 7, 1000] {
            let mut parser = EventParser::default();
            let found: Vec<Event> = bytes.chunks(size).flat_map(|piece| parser.push(piece).unwrap()).collect();
            assert_eq!(found, events, "{size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = EventParser::default();
        assert_eq!(parser.push(&vec![b'x'; LINE_BYTES_MAX + 1]), Err(EventTooLarge));
    }

    #[test]
    fn a_slow_reader_does_not_hold_up_the_sender() {
        let (sender, response) = stream(2);
        let event = Event::default();
        assert_eq!([(); 3].map(|()| sender.send(&event)), [Ok(()), Ok(()), Err(NotSent::TooSlow)]);
        drop(response);
        assert!(sender.is_gone());
        assert_eq!(sender.send(&event), Err(NotSent::Gone));
    }
}
