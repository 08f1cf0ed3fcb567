//! What goes out on a connection: a body that is there, or one that goes on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

/// Where nothing happens for so long a comment is sent: it keeps the connection alive, and finds out that it is not.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);
/// A reader who takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// A comment, which readers pass over.
const COMMENT: &[u8] = b":\n\n";

/// A body.
pub(super) enum Outgoing {
    /// All of it.
    Whole(Full<Bytes>),
    /// It comes as it happens.
    GoingOn(mpsc::Receiver<Bytes>),
}

impl Outgoing {
    pub(super) fn whole(body: Vec<u8>) -> Self {
        Self::Whole(Full::new(Bytes::from(body)))
    }

    pub(super) const fn going_on(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self::GoingOn(pieces)
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::GoingOn(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::GoingOn(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::GoingOn(_) => SizeHint::default(),
        }
    }
}

/// Passes events on to a connection until either side ends, or the server stops. `place` is held meanwhile.
pub(super) fn pump(
    mut events: mpsc::Receiver<Vec<u8>>,
    place: OwnedSemaphorePermit,
    mut stopped: watch::Receiver<bool>,
) -> mpsc::Receiver<Bytes> {
    let (out, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        // The first comment says that the stream is open.
        let mut next = Some(Bytes::from_static(COMMENT));
        while let Some(piece) = next {
            let sent = tokio::select! {
                sent = timeout(PATIENCE, out.send(piece)) => matches!(sent, Ok(Ok(()))),
                _ = stopped.wait_for(|stopped| *stopped) => false,
            };
            if !sent {
                break;
            }
            next = tokio::select! {
                event = timeout(COMMENT_INTERVAL, events.recv()) => match event {
                    Ok(event) => event.map(Bytes::from),
                    Err(_) => Some(Bytes::from_static(COMMENT)),
                },
                () = out.closed() => None,
                _ = stopped.wait_for(|stopped| *stopped) => None,
            };
        }
        drop(place);
    });
    pieces
}
