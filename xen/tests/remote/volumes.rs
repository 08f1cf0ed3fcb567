//! The blocks of a volume on their way to a client, and into the cache of images.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tycoon_market::{AccountId, PublicKey};
use tycoon_xen::hypervisor::{Hypervisor, HypervisorError};
use tycoon_xen::machine::Machine;
use tycoon_xen::memory::{MemoryHost, TINY_IMAGE};
use tycoon_xen::remote::Session;
use tycoon_xen::remote::frame::{self, PREAMBLE};
use tycoon_xen::remote::message::{FromClient, FromHost, Hello};
use tycoon_xen::save::VolumeStream;
use tycoon_xen::spec::{Boot, CloudInit, DomainSpec, KeepVolumes, Ownership, RunRules, VolumeSpec};
use tycoon_xen::storage::{MachineStorage, Storage as _};

use super::pipe::{Pipes, Ration, at, memory_host, serve};

const MIB: u64 = 1 << 20;

/// A host with a domain that is defined and does not run; its name.
fn host() -> (Arc<MemoryHost>, String) {
    let host = memory_host();
    let spec = DomainSpec {
        path: "web".parse().unwrap(),
        hostname: "web".into(),
        vcpus: 1,
        memory_bytes: MIB,
        image: TINY_IMAGE.into(),
        boot: Boot::default(),
        volumes: vec![VolumeSpec::plain("root", 9 * MIB + 5)],
        nics: Vec::new(),
        cloud_init: CloudInit::default(),
        keep_volumes: KeepVolumes::default(),
        save_image: None,
        rules: RunRules::default(),
    };
    let key = (1_u8..).find_map(|byte| PublicKey::from_bytes([byte; 32]).ok()).unwrap();
    let (account, pool) = (AccountId::of(&key), "hello".parse().unwrap());
    let ownership = Ownership { account, pool, path: spec.path.clone(), generation: 1, digest: spec.digest() };
    host.ensure_image(&spec.image).unwrap();
    host.ensure_volumes(&spec, &ownership).unwrap();
    host.define(&spec, &ownership, at(1)).unwrap();
    (host, ownership.hypervisor_name())
}

fn all(stream: VolumeStream) -> Result<Vec<u8>, String> {
    let VolumeStream { bytes, mut content } = stream;
    let mut read = Vec::new();
    content.read_to_end(&mut read).map_err(|error| error.to_string())?;
    assert_eq!(read.len() as u64, bytes);
    Ok(read)
}

fn content(name: &str) -> Vec<u8> {
    let mut content = format!("volume root of {name}, which is simulated\n").into_bytes();
    content.resize(9 * MIB as usize + 5, 0);
    content
}

#[test]
fn the_blocks_arrive_as_they_are_and_take_little_of_the_way() {
    let (host, name) = host();
    let sent = Arc::new(AtomicUsize::new(0));
    let (session, counted) = (Session::new(host), sent.clone());
    let pipes = Pipes::to(move |_, socket| {
        let writer = Counted { socket: socket.try_clone().unwrap(), sent: counted.clone() };
        drop(session.serve(socket.try_clone().unwrap(), writer));
        drop(socket.shutdown(Shutdown::Both));
    });
    assert!(all(pipes.hypervisor().open_volume(&name, "root").unwrap()).unwrap() == content(&name));
    assert!(sent.load(Ordering::SeqCst) < 20_000, "{sent:?} bytes for blank blocks");
    pipes.wait();
}

struct Counted {
    socket: UnixStream,
    sent: Arc<AtomicUsize>,
}

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.socket.write(bytes)?;
        self.sent.fetch_add(count, Ordering::SeqCst);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

/// A host whose only volume has blocks that do not compress.
struct Noise;

/// The same noise every time.
fn noise() -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..3 * MIB).map(|_| next()).collect()
}

macro_rules! of_no_use {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        $(fn $name(&self, $(_: $argument),*) -> Result<$result, HypervisorError> {
            Err(HypervisorError::NoDomain("noise".into()))
        })*
    };
}

impl Hypervisor for Noise {
    of_no_use! {
        facts() -> tycoon_xen::hypervisor::HostFacts;
        domains(tycoon_market::Timestamp) -> Vec<tycoon_xen::status::DomainStatus>;
        domain(&str, tycoon_market::Timestamp) -> Option<tycoon_xen::status::DomainStatus>;
        ensure_image(&str) -> bool;
        ensure_volumes(&DomainSpec, &Ownership) -> bool;
        define(&DomainSpec, &Ownership, tycoon_market::Timestamp) -> bool;
        start(&str, tycoon_market::Timestamp) -> bool;
        stop(&str, u64, tycoon_market::Timestamp) -> bool;
        suspend(&str, tycoon_market::Timestamp) -> bool;
        remove(&str, tycoon_market::Timestamp) -> bool;
        keep(&str, &tycoon_xen::status::Kept, tycoon_market::Timestamp) -> bool;
        listens(&str, u16, tycoon_market::Timestamp) -> bool;
        set_cpu(&str, u16, u32, tycoon_market::Timestamp) -> ();
        set_memory(&str, u64, tycoon_market::Timestamp) -> ();
        open_console(&str) -> tycoon_xen::hypervisor::ConsoleStream;
    }

    fn open_volume(&self, name: &str, _: &str) -> Result<VolumeStream, HypervisorError> {
        let mut blocks = noise();
        if name == "changing" {
            // Another one each time.
            static TIMES: AtomicUsize = AtomicUsize::new(1);
            blocks[0] = TIMES.fetch_add(1, Ordering::SeqCst) as u8;
        }
        Ok(VolumeStream { bytes: blocks.len() as u64, content: Box::new(std::io::Cursor::new(blocks)) })
    }
}

#[test]
fn a_way_that_breaks_again_and_again_leads_there_all_the_same() {
    let session = Session::new(Arc::new(Noise));
    let pipes = Pipes::to(move |_, socket| {
        let writer = Ration { socket: socket.try_clone().unwrap(), left: MIB as usize };
        drop(session.serve(socket.try_clone().unwrap(), writer));
        drop(socket.shutdown(Shutdown::Both));
    });
    assert!(all(pipes.hypervisor().open_volume("noise", "root").unwrap()).unwrap() == noise());
    assert!((3..=8).contains(&pipes.opened()), "{} streams", pipes.opened());
}

#[test]
fn what_breaks_without_an_end_is_given_up() {
    let session = Session::new(Arc::new(Noise));
    let pipes = Pipes::to(move |number, socket| {
        // Only the first stream gets anything across.
        let left = if number == 0 { MIB as usize } else { 300 };
        let writer = Ration { socket: socket.try_clone().unwrap(), left };
        drop(session.serve(socket.try_clone().unwrap(), writer));
        drop(socket.shutdown(Shutdown::Both));
    });
    let error = all(pipes.hypervisor().open_volume("noise", "root").unwrap()).unwrap_err();
    assert!(error.starts_with("reading the volume `root` of `noise` failed: "), "{error}");
    assert!(pipes.opened() < 10, "{} streams", pipes.opened());
}

#[test]
fn a_volume_that_changed_between_two_attempts_is_noticed() {
    let session = Session::new(Arc::new(Noise));
    let pipes = Pipes::to(move |number, socket| {
        let left = if number == 0 { MIB as usize } else { usize::MAX };
        let writer = Ration { socket: socket.try_clone().unwrap(), left };
        drop(session.serve(socket.try_clone().unwrap(), writer));
        drop(socket.shutdown(Shutdown::Both));
    });
    let error = all(pipes.hypervisor().open_volume("changing", "root").unwrap()).unwrap_err();
    assert!(error.contains("is not what the host has read"), "{error}");
}

/// What a client makes of a host that answers its question with these frames.
fn answered(frames: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
    let pipes = Pipes::to(move |_, mut socket| {
        let mut said = PREAMBLE.to_vec();
        said.extend(frame::of_message(&Hello::ours()).unwrap());
        frames.iter().for_each(|frame| said.extend(frame));
        let _ = socket.write_all(&said);
        let _ = socket.shutdown(Shutdown::Write);
        let _ = socket.read_to_end(&mut Vec::new());
    });
    let opened = pipes.hypervisor().open_volume("web", "root").map_err(|error| error.to_string());
    opened.and_then(|stream| {
        let mut read = Vec::new();
        let VolumeStream { mut content, .. } = stream;
        content.read_to_end(&mut read).map_err(|error| error.to_string()).map(|_| read)
    })
}

#[test]
fn a_host_that_makes_no_sense_is_not_believed() {
    let said = |message: &FromHost| frame::of_message(message).unwrap();
    let blocks = |bytes| said(&FromHost::Blocks { bytes });
    let data = |content: &[u8]| frame::of_data(&zstd::encode_all(content, 3).unwrap()).unwrap();
    let wrong_digest = said(&FromHost::Whole { sha256: "0".repeat(64).parse().unwrap() });
    let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".parse().unwrap();
    let right_digest = said(&FromHost::Whole { sha256: of_abc });
    assert_eq!(answered(vec![blocks(3), data(b"abc"), right_digest.clone()]), Ok(b"abc".to_vec()));
    for (frames, expected) in [
        (vec![said(&FromHost::Opened)], "does not belong to a volume"),
        (vec![blocks(u64::MAX)], "does not belong to a volume"),
        (vec![data(b"abc")], "data came before the answer"),
        (vec![blocks(3), data(b"abc"), wrong_digest], "is not what the host has read"),
        (vec![blocks(3), data(b"abcd"), right_digest.clone()], "more than the volume has"),
        // What is asked for again begins where the first try ended.
        (vec![blocks(4), data(b"abc"), right_digest.clone()], "more than the volume has"),
        (vec![blocks(3), data(b"abc")], "more than the volume has"),
        (vec![blocks(3), frame::of_data(b"no zstd at all").unwrap(), right_digest], "the connection broke"),
        (vec![blocks(3), b"d\xff\xff\xff\xff".to_vec()], "a frame of 4294967295 bytes"),
        (vec![blocks(3), b"m\x01\0\0\x01".to_vec()], "a frame of 16777217 bytes"),
        (vec![blocks(3), said(&FromHost::Closed)], "does not belong to a volume"),
    ] {
        let error = answered(frames).unwrap_err();
        assert!(error.contains(expected), "{error} instead of {expected}");
    }
}

#[test]
fn an_older_host_is_named_with_its_program() {
    let pipes = Pipes::to(|_, mut socket| {
        let old = Hello { protocol: 1, oldest_protocol: 1, program: "tycoon 0.0.9".into() };
        let _ = socket.write_all(&[PREAMBLE, &frame::of_message(&old).unwrap()].concat());
        let _ = socket.read_to_end(&mut Vec::new());
    });
    for error in [
        pipes.hypervisor().open_volume("web", "root").map(drop).unwrap_err(),
        pipes.hypervisor().keep_as_image("web", "root", "mine").map(drop).unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(
            matches!(error, HypervisorError::Refused { .. }) && text.contains("has tycoon 0.0.9, which is too old"),
            "{text}"
        );
    }
}

#[test]
fn a_client_that_asks_for_nonsense_is_told_so() {
    let (host, name) = host();
    let pipes = Pipes::to_host(host.clone());
    let remote = pipes.hypervisor();
    let refused = |name: &str, volume: &str| remote.open_volume(name, volume).map(drop).unwrap_err().to_string();
    assert_eq!(refused("none", "root"), "there is no domain `none`");
    assert!(refused(&name, "../root").contains("has no volume"));
    assert!(refused(&"x".repeat(10_000), "root").len() < 200, "as much is shown as is needed");
    host.start(&name, at(2)).unwrap();
    assert!(refused(&name, "root").contains("suspend it or shut it down first"));
    // Something else on the stream while the blocks come, or beyond their end.
    let session = Session::new(host.clone());
    host.stop(&name, 0, at(3)).unwrap();
    let said = |messages: &[FromClient]| {
        let (mut near, far) = UnixStream::pair().unwrap();
        let session = session.clone();
        let host = std::thread::spawn(move || serve(&session, far));
        let mut bytes = [PREAMBLE, &frame::of_message(&Hello::ours()).unwrap()].concat();
        messages.iter().for_each(|message| bytes.extend(frame::of_message(message).unwrap()));
        near.write_all(&bytes).unwrap();
        let _ = near.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = near.read_to_end(&mut answer);
        let _ = host.join().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let volume = |offset| FromClient::Volume { name: name.clone(), volume: "root".into(), offset };
    assert!(said(&[volume(u64::MAX)]).contains("it ends before byte"));
    assert!(said(&[volume(0), volume(0)]).contains("open another stream"));
    assert!(said(&[FromClient::Ping, volume(9 * MIB)]).contains("blocks"));
}

#[test]
fn a_domain_that_runs_meanwhile_ends_it() {
    let (host, name) = host();
    let mut stream = host.open_volume(&name, "root").unwrap();
    stream.content.read_exact(&mut [0; 4096]).unwrap();
    host.start(&name, at(100)).unwrap();
    let error = stream.content.read_to_end(&mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("was run or changed meanwhile"), "{error}");
    host.stop(&name, 0, at(200)).unwrap();
    // Also where it stands still again.
    let mut stream = host.open_volume(&name, "root").unwrap();
    stream.content.read_exact(&mut [0; 4096]).unwrap();
    host.start(&name, at(300)).unwrap();
    host.stop(&name, 0, at(400)).unwrap();
    assert!(stream.content.read_to_end(&mut Vec::new()).is_err());
}

/// A place for images of clients.
fn storage(folder: &TempDir) -> Arc<MachineStorage> {
    let machine = Machine::bare(folder.path().join("host"), "test:///default");
    Arc::new(MachineStorage::open(machine).unwrap())
}

#[test]
fn a_volume_becomes_an_image_once() {
    let (host, name) = host();
    let folder = tempfile::tempdir().unwrap();
    let storage = storage(&folder);
    let session = Session::new(host.clone()).with_images(storage.clone());
    let pipes = Pipes::to(move |_, socket| drop(serve(&session, socket)));
    let remote = pipes.hypervisor();
    assert_eq!(remote.keep_as_image(&name, "root", "mine"), Ok(true));
    assert_eq!(remote.keep_as_image(&name, "root", "mine"), Ok(false));
    assert_eq!(remote.keep_as_image(&name, "root", "other"), Ok(false), "the same content under another name");
    assert_eq!(storage.images().unwrap(), ["mine", "other"]);
    let images = fs::read_dir(folder.path().join("host/images")).unwrap();
    let disks: Vec<_> = images.map(|entry| entry.unwrap().path().join("disk")).filter(|disk| disk.exists()).collect();
    assert_eq!(disks.len(), 1);
    assert!(fs::read(&disks[0]).unwrap() == content(&name));
    for bad in ["../mine", "", "Mine", &"a".repeat(200)] {
        let error = remote.keep_as_image(&name, "root", bad).unwrap_err().to_string();
        assert!(error.contains("cannot name an image"), "{error}");
    }
    host.start(&name, at(2)).unwrap();
    assert!(remote.keep_as_image(&name, "root", "running").is_err());
    let without = Pipes::to_host(host);
    let error = without.hypervisor().keep_as_image(&name, "root", "mine").unwrap_err().to_string();
    assert!(error.contains("no place for images"), "{error}");
}
