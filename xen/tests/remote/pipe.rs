//! Hosts at the other end of a pair of local sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tycoon_market::Timestamp;
use tycoon_xen::hypervisor::Hypervisor;
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig, TINY_IMAGE};
use tycoon_xen::remote::{ConnectError, Connector, Patience, RemoteHypervisor, Session, Stream};

/// A simulated host with room for the checks.
pub(crate) fn memory_host() -> Arc<MemoryHost> {
    let tree = sled::Config::new().temporary(true).open().unwrap().open_tree("host").unwrap();
    let images = [TINY_IMAGE.to_owned()].into_iter().collect();
    Arc::new(MemoryHost::open(tree, MemoryHostConfig { images, ..MemoryHostConfig::default() }).unwrap())
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Patience that fits a test: long where the test does not wait for the end of it.
pub(crate) fn patience() -> Patience {
    Patience {
        pauses: vec![Duration::from_millis(1), Duration::from_millis(1)],
        rest: Duration::ZERO,
        long_rest: Duration::ZERO,
        ..Patience::default()
    }
}

/// A stream over a socket.
pub(crate) fn stream(socket: UnixStream) -> Stream {
    let (reader, writer) = (socket.try_clone().unwrap(), socket.try_clone().unwrap());
    Stream {
        reader: Box::new(reader),
        writer: Box::new(writer),
        close: Arc::new(move || drop(socket.shutdown(Shutdown::Both))),
        complaint: Arc::new(|| None),
    }
}

/// What a far end does with its socket; the number of the stream, from 0, is given too.
type FarEnd = Box<dyn Fn(usize, UnixStream) + Send + Sync>;

/// Streams to far ends in threads of this process.
pub(crate) struct Pipes {
    far_end: Arc<FarEnd>,
    opened: AtomicUsize,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
}

impl Pipes {
    pub(crate) fn to(far_end: impl Fn(usize, UnixStream) + Send + Sync + 'static) -> Arc<Self> {
        let far_end: FarEnd = Box::new(far_end);
        Arc::new(Self { far_end: Arc::new(far_end), opened: AtomicUsize::new(0), threads: Mutex::default() })
    }

    /// Streams on which `hypervisor` is served as it should be.
    pub(crate) fn to_host(hypervisor: Arc<dyn Hypervisor>) -> Arc<Self> {
        let session = Session::new(hypervisor);
        Self::to(move |_, socket| drop(serve(&session, socket)))
    }

    /// How many streams were opened.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Waits until all far ends have ended.
    pub(crate) fn wait(&self) {
        let threads: Vec<_> = self.threads.lock().unwrap().drain(..).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    pub(crate) fn hypervisor(self: &Arc<Self>) -> RemoteHypervisor {
        RemoteHypervisor::over(self.clone()).with_patience(patience())
    }
}

impl Connector for Pipes {
    fn host(&self) -> &str {
        "pipe1"
    }

    fn open(&self) -> Result<Stream, ConnectError> {
        let (near, far) = UnixStream::pair().unwrap();
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let far_end = self.far_end.clone();
        self.threads.lock().unwrap().push(thread::spawn(move || far_end(number, far)));
        Ok(stream(near))
    }
}

/// Serves on a socket and closes it.
pub(crate) fn serve(session: &Session, socket: UnixStream) -> Result<(), tycoon_xen::remote::SessionError> {
    let result = session.serve(socket.try_clone().unwrap(), socket.try_clone().unwrap());
    drop(socket.shutdown(Shutdown::Both));
    result
}

/// Lets so many bytes through, then breaks the whole connection.
pub(crate) struct Ration {
    pub(crate) socket: UnixStream,
    pub(crate) left: usize,
}

impl Read for Ration {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left);
        let count = self.socket.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

impl Write for Ration {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.socket.shutdown(Shutdown::Both)?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.socket.write(&bytes[..bytes.len().min(self.left)])?;
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
