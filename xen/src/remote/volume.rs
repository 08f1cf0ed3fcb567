//! The blocks of a volume over a stream: the client says of which one and from where on, the host sends them compressed by
//! zstd, and at the end the SHA-256 of the whole volume as it has read it.
//!
//! ```text
//!  client                                   host
//!    |  Volume { name, volume, offset }      |
//!    |                      Blocks { bytes } |    how many bytes the volume has
//!    |           Data, Data, Here, Data …    |    one zstd stream: everything from the offset on
//!    |                      Whole { sha256 } |    of all blocks, those before the offset too
//! ```
//!
//! A client that was cut off goes on at another offset. Because the digest is always that of the whole volume as it was read
//! on this stream, a volume that has changed in between is noticed.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::frame::{self, Frame, FrameError};
use super::image::{ImageReceiver, keep, unreadable};
use super::message::{FromClient, FromHost};
use super::serve::{Inbox, Outbox, SessionError};
use super::stream::{Stream, Watchdog};
use crate::hypervisor::{Hypervisor, HypervisorError, KEEPING_AS_IMAGE};
use crate::image::FileDigest;
use crate::save::VolumeStream;

/// How often the host says something where there is nothing to send: blank blocks become next to nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// What is read of a volume at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;
/// The size of a data frame, in bytes; the last one is smaller.
const FRAME_BYTES: usize = 64 << 10;
/// How much the blocks are compressed: the usual. Above it, zstd takes long for little.
const LEVEL: i32 = 3;
/// How far whoever computes digests and compresses gives way, of 19.
const NICE: i32 = 10;
/// The largest window that a host may ask a client to have, as a power of two: 8 MiB of memory.
const WINDOW_LOG_MAX: u32 = 23;
/// The largest volume: 16 TiB, as of images.
const VOLUME_BYTES_MAX: u64 = 16 << 40;

/// The host's side: sends the blocks of a volume.
pub(super) fn serve(
    hypervisor: &dyn Hypervisor,
    name: &str,
    volume: &str,
    offset: u64,
    inbox: &Inbox,
    outbox: &Outbox,
) -> Result<(), SessionError> {
    let refused = |reason| HypervisorError::Refused { operation: "reading a volume".into(), reason };
    let opened = hypervisor.open_volume(name, volume).and_then(|stream| {
        let is_within = offset <= stream.bytes;
        is_within.then_some(stream).ok_or_else(|| refused(format!("it ends before byte {offset}")))
    });
    let VolumeStream { bytes, mut content } = match opened {
        Ok(stream) => stream,
        Err(error) => return Ok(outbox.say(&FromHost::Refused { error })?),
    };
    outbox.say(&FromHost::Blocks { bytes })?;
    give_way();
    let frames = Frames { outbox: outbox.clone(), piece: Vec::with_capacity(FRAME_BYTES), said_at: Instant::now() };
    let mut encoder = Encoder::new(frames, LEVEL).map_err(FrameError::from)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut read: u64 = 0;
    loop {
        let count = match content.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok(outbox.say(&FromHost::Refused { error: unreadable(error) })?),
        };
        hash.update(&piece[..count]);
        let skipped = usize::try_from(offset.saturating_sub(read)).unwrap_or(usize::MAX).min(count);
        read += count as u64;
        encoder.write_all(&piece[skipped..count]).map_err(FrameError::from)?;
        if !is_listened_to(inbox, outbox)? {
            return Ok(());
        }
        if encoder.get_ref().said_at.elapsed() > SIGN_OF_LIFE {
            encoder.get_mut().said_at = Instant::now();
            outbox.say(&FromHost::Here)?;
        }
    }
    encoder.finish().and_then(|mut frames| frames.flush()).map_err(FrameError::from)?;
    Ok(outbox.say(&FromHost::Whole { sha256: FileDigest::new(hash.finalize().into()) })?)
}

/// The host's side: keeps a volume as an image of the client's.
pub(super) fn serve_as_image(
    hypervisor: &dyn Hypervisor,
    receiver: Option<&Arc<dyn ImageReceiver>>,
    (name, volume, image): (&str, &str, &str),
    inbox: &Inbox,
    outbox: &Outbox,
) -> Result<(), SessionError> {
    let Some(receiver) = receiver else {
        let reason = "this host has no place for images of its clients".to_owned();
        let error = HypervisorError::Refused { operation: KEEPING_AS_IMAGE.into(), reason };
        return Ok(outbox.say(&FromHost::Refused { error })?);
    };
    give_way();
    let gone = || HypervisorError::Failed { operation: KEEPING_AS_IMAGE.into(), reason: "the client is gone".into() };
    let mut ended = None;
    let mut said_at = Instant::now();
    let mut tick = || {
        let listened = is_listened_to(inbox, outbox).and_then(|is_there| {
            if said_at.elapsed() > SIGN_OF_LIFE {
                said_at = Instant::now();
                outbox.say(&FromHost::Here)?;
            }
            Ok(is_there)
        });
        match listened {
            Ok(true) => Ok(()),
            other => {
                ended = Some(other.map(drop));
                Err(gone())
            }
        }
    };
    let kept = keep(&**receiver, image, &|| hypervisor.open_volume(name, volume), &mut tick);
    match (ended, kept) {
        (Some(ended), _) => ended,
        (None, Ok(is_new)) => Ok(outbox.say(&FromHost::Stored { is_new })?),
        (None, Err(error)) => Ok(outbox.say(&FromHost::Refused { error })?),
    }
}

/// From here on this thread, which ends with the stream, gives way to others: on the control domain's CPUs the disks and networks
/// of all domains are served too.
fn give_way() {
    // Where it may not, it takes its turn like the others.
    let _ = rustix::process::nice(NICE);
}

/// False once the client has ended the stream. It has nothing more to say meanwhile but that it is there.
fn is_listened_to(inbox: &Inbox, outbox: &Outbox) -> Result<bool, SessionError> {
    let misuse = || SessionError::Misuse("something came while a volume was sent; open another stream".into());
    match inbox.try_recv() {
        Err(TryRecvError::Empty) => Ok(true),
        Err(TryRecvError::Disconnected) => Ok(false),
        Ok(frame) => match frame? {
            None => Ok(false),
            Some(Frame::Data(_)) => Err(misuse()),
            Some(Frame::Message(message)) => match frame::parse(&message)? {
                FromClient::Ping => {
                    outbox.say(&FromHost::Here)?;
                    Ok(true)
                }
                _ => Err(misuse()),
            },
        },
    }
}

/// Writes bytes as data frames.
struct Frames {
    outbox: Outbox,
    piece: Vec<u8>,
    said_at: Instant,
}

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(FRAME_BYTES - self.piece.len());
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == FRAME_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.piece.is_empty() {
            let sent = frame::of_data(&self.piece).and_then(|frame| self.outbox.send(&frame));
            sent.map_err(io::Error::other)?;
            self.piece.clear();
            self.said_at = Instant::now();
        }
        Ok(())
    }
}

/// Opens a stream that was greeted, to a host that can send volumes.
pub(super) type OpenStream = Box<dyn Fn() -> Result<Stream, HypervisorError> + Send>;

/// What is asked for.
pub(super) struct Wanted {
    /// The hypervisor's name of the domain.
    pub(super) name: String,
    /// The volume.
    pub(super) volume: String,
    /// A host of which nothing is heard for so long is taken for gone.
    pub(super) silence_max: Duration,
    /// How often the blocks are asked for again where an attempt brought none.
    pub(super) idle_attempts_max: usize,
}

/// The client's side: the blocks of a volume. An attempt that breaks goes on where it ended, as long as every attempt gets
/// anything across.
pub(super) fn open(open: OpenStream, wanted: Wanted) -> Result<VolumeStream, HypervisorError> {
    let mut volume = RemoteVolume {
        open,
        wanted,
        bytes: None,
        offset: 0,
        hash: Sha256::new(),
        blocks: None,
        idle_attempts: 0,
        is_whole: false,
    };
    let bytes = volume.connect()?;
    Ok(VolumeStream { bytes, content: Box::new(volume) })
}

struct RemoteVolume {
    open: OpenStream,
    wanted: Wanted,
    /// The size of the volume, once it is known.
    bytes: Option<u64>,
    /// What has come.
    offset: u64,
    hash: Sha256,
    blocks: Option<Decoder<'static, BufReader<Incoming>>>,
    idle_attempts: usize,
    is_whole: bool,
}

impl RemoteVolume {
    fn failed(&self, reason: &str) -> HypervisorError {
        let operation = format!("reading the volume `{}` of `{}`", self.wanted.volume, self.wanted.name);
        HypervisorError::Failed { operation: operation.into(), reason: reason.to_owned() }
    }

    /// Asks for what is missing; the size of the volume.
    fn connect(&mut self) -> Result<u64, HypervisorError> {
        let mut stream = (self.open)()?;
        let watchdog = Watchdog::start(stream.close.clone(), self.wanted.silence_max)
            .map_err(|error| self.failed(&format!("no thread can be started: {error}")))?;
        let question = FromClient::Volume {
            name: self.wanted.name.clone(),
            volume: self.wanted.volume.clone(),
            offset: self.offset,
        };
        let asked = frame::of_message(&question).and_then(|question| frame::write(&mut *stream.writer, &question));
        let mut incoming = Incoming { stream, watchdog, piece: Vec::new(), used: 0, sha256: None };
        let answer = asked.map_err(Ended::broken).and_then(|()| incoming.message());
        let bytes = match answer {
            Ok(FromHost::Blocks { bytes }) if (self.offset..=VOLUME_BYTES_MAX).contains(&bytes) => bytes,
            Ok(FromHost::Refused { error }) => return Err(error),
            Ok(_) => return Err(self.failed("what the host answers does not belong to a volume")),
            Err(Ended::Refused(error)) => return Err(error),
            Err(Ended::Broken(why)) => return Err(self.failed(&why)),
        };
        if self.bytes.is_some_and(|known| known != bytes) {
            return Err(self.failed("its size has changed meanwhile; save it again"));
        }
        self.bytes = Some(bytes);
        let mut decoder = Decoder::new(incoming).map_err(|error| self.failed(&error.to_string()))?;
        decoder.window_log_max(WINDOW_LOG_MAX).map_err(|error| self.failed(&error.to_string()))?;
        self.blocks = Some(decoder);
        Ok(bytes)
    }

    /// Some blocks; none where all are there, and are what the host has read.
    fn blocks(&mut self, buffer: &mut [u8]) -> Result<usize, HypervisorError> {
        if self.is_whole || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let result = self.read_some(buffer);
            match result {
                Ok(count) => {
                    self.idle_attempts = 0;
                    return Ok(count);
                }
                Err(Ended::Refused(error)) => {
                    self.blocks = None;
                    return Err(error);
                }
                Err(Ended::Broken(why)) => {
                    self.blocks = None;
                    if self.idle_attempts >= self.wanted.idle_attempts_max {
                        return Err(self.failed(&format!("the connection broke ({why})")));
                    }
                    self.idle_attempts += 1;
                }
            }
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Ended> {
        if self.blocks.is_none() {
            self.connect().map_err(Ended::Refused)?;
        }
        let (Some(decoder), Some(bytes)) = (&mut self.blocks, self.bytes) else {
            return Err(Ended::Broken("there is no connection".into()));
        };
        let left = usize::try_from(bytes - self.offset).unwrap_or(usize::MAX);
        if left == 0 {
            // Whatever comes now is too much; the digest comes after the last block.
            match decoder.read(&mut [0]).map_err(Ended::of)? {
                0 => {}
                _ => return Err(Ended::Refused(self.failed("the host sends more than the volume has"))),
            }
            let told = decoder.get_ref().get_ref().sha256;
            let told = told.ok_or_else(|| Ended::Broken("the stream ended before the digest".into()))?;
            if told != FileDigest::new(self.hash.clone().finalize().into()) {
                let reason = "what has arrived is not what the host has read: the volume was changed meanwhile, or what came \
                              was damaged; save it again";
                return Err(Ended::Refused(self.failed(reason)));
            }
            (self.is_whole, self.blocks) = (true, None);
            return Ok(0);
        }
        let most = left.min(buffer.len());
        let count = decoder.read(&mut buffer[..most]).map_err(Ended::of)?;
        if count == 0 {
            return Err(Ended::Broken("the stream ended before the volume".into()));
        }
        self.hash.update(&buffer[..count]);
        self.offset += count as u64;
        Ok(count)
    }
}

impl Read for RemoteVolume {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.blocks(buffer).map_err(io::Error::other)
    }
}

/// How a stream ended before its time.
#[derive(Debug)]
enum Ended {
    /// The host does not want, or the blocks are not what they should be: trying again is of no use.
    Refused(HypervisorError),
    /// The stream broke.
    Broken(String),
}

impl Ended {
    fn broken(error: impl fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    /// What is behind an error of the decoder.
    fn of(error: io::Error) -> Self {
        match error.get_ref().and_then(|source| source.downcast_ref::<HypervisorError>()) {
            Some(refusal) => Self::Refused(refusal.clone()),
            None => Self::broken(error),
        }
    }
}

/// What a host sends of a volume, still compressed.
struct Incoming {
    stream: Stream,
    watchdog: Watchdog,
    piece: Vec<u8>,
    used: usize,
    /// Of the whole volume; it comes last.
    sha256: Option<FileDigest>,
}

impl Incoming {
    fn frame(&mut self) -> Result<Frame, Ended> {
        // Whoever writes the blocks away may have taken a while.
        self.watchdog.touch();
        let frame = frame::read(&mut *self.stream.reader).map_err(|error| {
            let complaint = (self.stream.complaint)();
            Ended::Broken(complaint.map_or_else(|| error.to_string(), |text| format!("{error}: {text}")))
        })?;
        frame.ok_or_else(|| Ended::Broken("the host ended the connection".into()))
    }

    /// The next message that is no sign of life.
    fn message(&mut self) -> Result<FromHost, Ended> {
        loop {
            match self.frame()? {
                Frame::Data(_) => return Err(Ended::Broken("data came before the answer".into())),
                Frame::Message(message) => match frame::parse(&message).map_err(Ended::broken)? {
                    FromHost::Here => {}
                    FromHost::Fault(fault) => return Err(Ended::Broken(fault.message)),
                    other => return Ok(other),
                },
            }
        }
    }

    fn fill(&mut self) -> Result<(), Ended> {
        while self.used == self.piece.len() && self.sha256.is_none() {
            match self.frame()? {
                Frame::Data(data) => (self.piece, self.used) = (data, 0),
                Frame::Message(message) => match frame::parse(&message).map_err(Ended::broken)? {
                    FromHost::Here => {}
                    FromHost::Whole { sha256 } => self.sha256 = Some(sha256),
                    FromHost::Refused { error } => return Err(Ended::Refused(error)),
                    FromHost::Fault(fault) => return Err(Ended::Broken(fault.message)),
                    _ => return Err(Ended::Broken("what the host says does not belong to a volume".into())),
                },
            }
        }
        Ok(())
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill().map_err(|ended| match ended {
            Ended::Refused(error) => io::Error::other(error),
            Ended::Broken(why) => io::Error::new(io::ErrorKind::ConnectionAborted, why),
        })?;
        let count = buffer.len().min(self.piece.len() - self.used);
        buffer[..count].copy_from_slice(&self.piece[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        (self.stream.close)();
    }
}

/// The client's side of [`serve_as_image`]. True where the host had no image of this content.
pub(super) fn keep_as_image(
    mut stream: Stream,
    (name, volume, image): (&str, &str, &str),
    silence_max: Duration,
) -> Result<bool, HypervisorError> {
    let failed = |reason: String| HypervisorError::Failed { operation: KEEPING_AS_IMAGE.into(), reason };
    let watchdog = Watchdog::start(stream.close.clone(), silence_max)
        .map_err(|error| failed(format!("no thread can be started: {error}")))?;
    let (name, volume, image) = (name.to_owned(), volume.to_owned(), image.to_owned());
    let question = FromClient::KeepAsImage { name, volume, image };
    let asked = frame::of_message(&question).and_then(|question| frame::write(&mut *stream.writer, &question));
    let mut incoming = Incoming { stream, watchdog, piece: Vec::new(), used: 0, sha256: None };
    match asked.map_err(Ended::broken).and_then(|()| incoming.message()) {
        Ok(FromHost::Stored { is_new }) => Ok(is_new),
        Ok(FromHost::Refused { error }) | Err(Ended::Refused(error)) => Err(error),
        Ok(_) => Err(failed("what the host answers does not belong to an image".to_owned())),
        Err(Ended::Broken(why)) => {
            Err(failed(format!("the connection broke ({why}); what was kept stays for the next try")))
        }
    }
}
