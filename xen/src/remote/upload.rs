//! An image over a stream: the client says what it is, the host says how much of it is there, the client sends the rest,
//! and the host compares the digests before it says that it has it.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::frame::{self, DATA_BYTES_MAX, Frame, FrameError};
use super::image::ImageReceiver;
use super::local::LocalImage;
use super::message::{FromClient, FromHost};
use super::serve::{Inbox, Outbox, SessionError};
use super::stream::{Stream, Watchdog};
use crate::hypervisor::HypervisorError;
use crate::image::{ImageDigest, ImageManifest, ImagePart, UploadState};

/// How often the host says that it is still comparing digests.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// How far an upload is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadProgress<'a> {
    /// The host.
    pub host: &'a str,
    /// The image.
    pub image: &'a str,
    /// What the host has, or is on its way, in bytes.
    pub sent_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// Watches uploads, and may break them off. What was sent is kept by the host.
pub trait UploadObserver: Send + Sync {
    /// Called after each piece.
    fn progress(&self, progress: &UploadProgress<'_>) -> ControlFlow<()>;
}

impl fmt::Debug for dyn UploadObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UploadObserver")
    }
}

/// Receives an image.
pub(super) fn serve(
    receiver: Option<&Arc<dyn ImageReceiver>>,
    manifest: &ImageManifest,
    inbox: &Inbox,
    outbox: &Outbox,
    silence_max: Duration,
) -> Result<(), SessionError> {
    let refused = |reason: String| HypervisorError::Refused { operation: "receiving an image".into(), reason };
    let begun = manifest.check().map_err(|error| refused(error.to_string())).and_then(|()| match receiver {
        Some(receiver) => receiver.begin(manifest).map(|state| (receiver, state)),
        None => Err(refused("this host has no place for images of its clients".to_owned())),
    });
    let (receiver, state) = match begun {
        Ok((_, state)) if state.is_complete => return Ok(outbox.say(&FromHost::Stored { is_new: false })?),
        Ok(begun) => begun,
        Err(error) => return Ok(outbox.say(&FromHost::Refused { error })?),
    };
    let image = manifest.digest();
    outbox.say(&FromHost::Have { state })?;
    let mut current: Option<(ImagePart, u64)> = None;
    loop {
        let frame = match inbox.recv_timeout(silence_max) {
            Ok(frame) => frame?,
            Err(RecvTimeoutError::Timeout) => return Err(SessionError::Silent(silence_max)),
            Err(RecvTimeoutError::Disconnected) => None,
        };
        match frame {
            // The client broke off, or was cut off: what has come stays for the next attempt.
            None => return Ok(()),
            Some(Frame::Data(content)) => {
                let place = current.as_mut();
                let (part, offset) = place.ok_or_else(|| SessionError::Misuse("data came before its file".into()))?;
                match receiver.append(image, *part, *offset, &content) {
                    Ok(end) => *offset = end,
                    Err(error) => return Ok(outbox.say(&FromHost::Refused { error })?),
                }
            }
            Some(Frame::Message(message)) => match frame::parse(&message)? {
                FromClient::Ping => outbox.say(&FromHost::Here)?,
                FromClient::File { part, offset } => current = Some((part, offset)),
                FromClient::Complete => return finish(receiver.clone(), image, outbox),
                _ => return Err(SessionError::Misuse("a call came with an image; open another stream".into())),
            },
        }
    }
}

/// Comparing digests takes time; the client hears that it is being done.
fn finish(receiver: Arc<dyn ImageReceiver>, image: ImageDigest, outbox: &Outbox) -> Result<(), SessionError> {
    let (tell, told) = sync_channel(1);
    let compare = move || drop(tell.send(receiver.finish(image)));
    thread::Builder::new().name("session digest".into()).spawn(compare).map_err(SessionError::Threads)?;
    loop {
        let result = match told.recv_timeout(SIGN_OF_LIFE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                outbox.say(&FromHost::Here)?;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => Err(HypervisorError::Failed {
                operation: "receiving an image".into(),
                reason: "a fault of the host's Tycoon; please report it".into(),
            }),
        };
        return Ok(outbox.say(&match result {
            Ok(()) => FromHost::Stored { is_new: true },
            Err(error) => FromHost::Refused { error },
        })?);
    }
}

/// Why an image did not get to the host.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The host does not take it.
    Refused(HypervisorError),
    /// The stream broke; what was sent before is there. True where anything got across.
    Broken(String, bool),
    /// The observer broke it off.
    Cancelled,
    /// A file here cannot be sent.
    File(String),
}

/// Sends an image on a fresh stream that was greeted already. True where the host did not have it.
pub(super) fn send(
    mut stream: Stream,
    image: &LocalImage,
    silence_max: Duration,
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<bool, UploadError> {
    let watchdog = Watchdog::start(stream.close.clone(), silence_max)
        .map_err(|error| UploadError::Broken(format!("no thread can be started: {error}"), false))?;
    let mut has_moved = false;
    let result = converse(&mut stream, image, &watchdog, &mut has_moved, watch);
    let was_late = watchdog.stop();
    // Both ends of the stream end with this attempt, whatever came of it.
    (stream.close)();
    match result {
        Err(UploadError::Broken(..)) if was_late => {
            Err(UploadError::Broken(format!("it took nothing for {} s", silence_max.as_secs_f64()), has_moved))
        }
        Err(UploadError::Broken(why, _)) => {
            let why = (stream.complaint)().map_or(why.clone(), |text| format!("{why}: {text}"));
            Err(UploadError::Broken(why, has_moved))
        }
        other => other,
    }
}

fn converse(
    stream: &mut Stream,
    image: &LocalImage,
    watchdog: &Watchdog,
    has_moved: &mut bool,
    watch: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<bool, UploadError> {
    say(stream, &FromClient::Upload { manifest: Box::new(image.manifest.clone()) })?;
    let state = match heard(stream, watchdog)? {
        FromHost::Have { state } => state,
        FromHost::Stored { is_new } => return Ok(is_new),
        other => return Err(unexpected(other)),
    };
    let mut sent = sum(&state);
    let mut piece = vec![0; DATA_BYTES_MAX];
    for (part, file) in image.manifest.files() {
        let Some(path) = image.path(part) else { continue };
        let unreadable = |error: std::io::Error| UploadError::File(format!("{}: {error}", path.display()));
        let changed = || UploadError::File(format!("{} has become shorter while it was sent", path.display()));
        let offset = state.offsets.iter().find(|(of, _)| *of == part).map_or(0, |(_, offset)| *offset);
        if offset > file.bytes {
            return Err(UploadError::Broken("it says it has more of the image than there is".into(), false));
        }
        let mut content = File::open(path).map_err(unreadable)?;
        content.seek(SeekFrom::Start(offset)).map_err(unreadable)?;
        say(stream, &FromClient::File { part, offset })?;
        let mut left = file.bytes - offset;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = content.read(&mut piece[..most]).map_err(unreadable)?;
            if count == 0 {
                return Err(changed());
            }
            let written = frame::of_data(&piece[..count]).and_then(|data| frame::write(&mut *stream.writer, &data));
            if let Err(error) = written {
                return Err(last_words(stream, watchdog, &error));
            }
            watchdog.touch();
            *has_moved = true;
            left -= count as u64;
            sent += count as u64;
            if watch(sent).is_break() {
                return Err(UploadError::Cancelled);
            }
        }
    }
    say(stream, &FromClient::Complete)?;
    match heard(stream, watchdog)? {
        FromHost::Stored { is_new } => Ok(is_new),
        other => Err(unexpected(other)),
    }
}

/// What is there, in bytes.
fn sum(state: &UploadState) -> u64 {
    state.offsets.iter().fold(0, |sum, (_, offset)| sum.saturating_add(*offset))
}

fn say(stream: &mut Stream, message: &FromClient) -> Result<(), UploadError> {
    let said = frame::of_message(message).and_then(|message| frame::write(&mut *stream.writer, &message));
    said.map_err(|error| UploadError::Broken(error.to_string(), false))
}

/// A host that takes nothing more may have said why.
fn last_words(stream: &mut Stream, watchdog: &Watchdog, error: &FrameError) -> UploadError {
    match heard(stream, watchdog) {
        Ok(FromHost::Refused { error }) => UploadError::Refused(error),
        Ok(FromHost::Fault(fault)) => UploadError::Broken(fault.message, false),
        _ => UploadError::Broken(error.to_string(), false),
    }
}

fn heard(stream: &mut Stream, watchdog: &Watchdog) -> Result<FromHost, UploadError> {
    let broken = |error: FrameError| UploadError::Broken(error.to_string(), false);
    loop {
        let message = match frame::read(&mut *stream.reader).map_err(broken)? {
            Some(Frame::Message(message)) => message,
            Some(Frame::Data(_)) => return Err(UploadError::Broken("it sent data".into(), false)),
            None => return Err(UploadError::Broken("it ended the connection".into(), false)),
        };
        watchdog.touch();
        match frame::parse(&message).map_err(broken)? {
            FromHost::Here => {}
            other => return Ok(other),
        }
    }
}

fn unexpected(message: FromHost) -> UploadError {
    match message {
        FromHost::Refused { error } => UploadError::Refused(error),
        FromHost::Fault(fault) => UploadError::Broken(fault.message, false),
        _ => UploadError::Broken("what it answers does not belong to an image".into(), false),
    }
}
