//! etcd 3.4 as a peer: its calls are gRPC over HTTP/2, of which just as much is spoken here as is asked for, so that no
//! time is lost in a client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::Queried;

/// How long a lease lasts, in seconds: as long as registrations do in the service beside it.
const LEASE_SECONDS: u64 = 3600;

/// An etcd of our own.
pub struct Etcd {
    child: Child,
    port: u16,
    runtime: Runtime,
}

impl Etcd {
    /// Starts one in a folder; why not, otherwise.
    pub fn start(folder: &Path, is_synced: bool) -> Result<Self, String> {
        let free = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
        };
        let (port, peers) = (free()?, free()?);
        let data = folder.join(if is_synced { "etcd" } else { "etcd-unsafe" }).display().to_string();
        let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
        let mut command = Command::new("etcd");
        command
            .args(["--data-dir", &data, "--listen-client-urls", &clients, "--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &format!("default={peers}")])
            .args(["--quota-backend-bytes", "8589934592", "--log-level", "error", "--logger", "zap"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !is_synced {
            command.arg("--unsafe-no-fsync");
        }
        let child = command
            .spawn()
            .map_err(|error| format!("etcd does not start ({error}); `apt-get install etcd-server` installs it"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let mut etcd = Self { child, port, runtime };
        let deadline = Instant::now() + Duration::from_secs(30);
        while etcd.runtime.block_on(etcd.is_there()).is_none() {
            if let Ok(Some(status)) = etcd.child.try_wait() {
                return Err(format!("etcd ended with {status}; does it know --unsafe-no-fsync?"));
            }
            if Instant::now() > deadline {
                return Err("etcd does not answer within 30 s".to_owned());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(etcd)
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    async fn connect(&self) -> Option<SendRequest<Bytes>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(1 << 24)
            .initial_connection_window_size(1 << 26)
            .handshake(stream)
            .await
            .ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    async fn is_there(&self) -> Option<()> {
        let mut sender = self.connect().await?;
        call(&mut sender, "/etcdserverpb.KV/Range", field_bytes(1, b"/nothing")).await.map(drop)
    }

    /// Grants a lease and puts a value for each host, by several clients at a time; how many were made, and how long it took.
    pub fn register_all(&self, values: &[(String, Vec<u8>)], clients: usize, most: Duration) -> (usize, Duration) {
        self.runtime.block_on(async {
            let local = tokio::task::LocalSet::new();
            let (next, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let values: Arc<Vec<(String, Vec<u8>)>> = Arc::new(values.to_vec());
            let began = Instant::now();
            for _ in 0..clients {
                let (next, done, values) = (next.clone(), done.clone(), values.clone());
                let mut sender = self.connect().await.expect("a connection");
                local.spawn_local(async move {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some((key, value)) = values.get(number).filter(|_| began.elapsed() < most) else { break };
                        let lease = number as u64 + 1;
                        let grant = [field_number(1, LEASE_SECONDS), field_number(2, lease)].concat();
                        call(&mut sender, "/etcdserverpb.Lease/LeaseGrant", grant).await.expect("a lease");
                        let put =
                            [field_bytes(1, key.as_bytes()), field_bytes(2, value), field_number(3, lease)].concat();
                        call(&mut sender, "/etcdserverpb.KV/Put", put).await.expect("a put");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            local.await;
            (done.load(Ordering::Relaxed), began.elapsed())
        })
    }

    /// Reads all hosts for a time, a few thousand at once, as its client has to do to find the hundred best. Filtering and
    /// sorting them is not even counted.
    pub fn query(&self, hosts: usize, time: Duration) -> Queried {
        const AT_ONCE: usize = 2000;
        let times = self.runtime.block_on(async {
            let mut sender = self.connect().await.expect("a connection");
            let mut times = Vec::new();
            let began = Instant::now();
            while began.elapsed() < time {
                let asked = Instant::now();
                for first in (0..hosts).step_by(AT_ONCE) {
                    let (from, to) = (format!("/hosts/{first:08}"), format!("/hosts/{:08}", first + AT_ONCE));
                    let range = [field_bytes(1, from.as_bytes()), field_bytes(2, to.as_bytes())].concat();
                    call(&mut sender, "/etcdserverpb.KV/Range", range).await.expect("a range");
                }
                times.push(asked.elapsed());
            }
            times
        });
        let took = times.iter().sum();
        Queried { times, took, registered: 0 }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One call; the size of its answer in bytes. `None` where it fails.
async fn call(sender: &mut SendRequest<Bytes>, path: &str, message: Vec<u8>) -> Option<usize> {
    let request = Request::post(format!("http://127.0.0.1{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .ok()?;
    // A message of gRPC: not compressed, its length, itself.
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).ok()?.to_be_bytes());
    framed.extend(message);
    *sender = sender.clone().ready().await.ok()?;
    let (response, mut stream) = sender.send_request(request, false).ok()?;
    stream.send_data(Bytes::from(framed), true).ok()?;
    let response = response.await.ok()?;
    let mut body = response.into_body();
    let mut size = 0;
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        size += piece.len();
        body.flow_control().release_capacity(piece.len()).ok()?;
    }
    let trailers = body.trailers().await.ok()??;
    (trailers.get("grpc-status")?.as_bytes() == b"0").then_some(size)
}

/// A number as protobuf writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// A field that is a number.
fn field_number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

/// A field that is bytes.
fn field_bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}
