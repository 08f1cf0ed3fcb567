//! Images that lie with the client.

use std::fs;
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tycoon_xen::hypervisor::{Hypervisor as _, HypervisorError};
use tycoon_xen::machine::{DiskFormat, ImageExport, Machine};
use tycoon_xen::memory::{MemoryHost, MemoryHostConfig};
use tycoon_xen::remote::local::LocalImages;
use tycoon_xen::remote::upload::{UploadObserver, UploadProgress};
use tycoon_xen::remote::{RemoteHypervisor, Session};
use tycoon_xen::storage::{MachineStorage, Storage as _};

use super::pipe::{Pipes, Ration, memory_host, serve};

const MIB: usize = 1 << 20;

/// A client's folder with an image `debian` of 5 MiB, a host's storage, and a host that knows the name.
struct Scene {
    folder: TempDir,
    storage: Arc<MachineStorage>,
    session: Session,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..5 * MIB).map(|place| (place / 7) as u8).collect();
        fs::write(folder.path().join("disk.img"), content).unwrap();
        fs::write(folder.path().join("kernel"), b"a kernel").unwrap();
        let machine = Machine::bare(folder.path().join("host"), "test:///default");
        let storage = Arc::new(MachineStorage::open(machine).unwrap());
        let tree = sled::Config::new().temporary(true).open().unwrap().open_tree("host").unwrap();
        let images = ["debian".to_owned()].into_iter().collect();
        let host = MemoryHost::open(tree, MemoryHostConfig { images, ..MemoryHostConfig::default() }).unwrap();
        host.ensure_image("debian").unwrap();
        let session = Session::new(Arc::new(host)).with_images(storage.clone());
        Self { folder, storage, session }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self) -> ImageExport {
        ImageExport {
            name: "debian".into(),
            disk: self.path("disk.img"),
            format: DiskFormat::Raw,
            kernel: Some(self.path("kernel")),
            ramdisk: None,
            kernel_args: vec!["console=hvc0".into()],
        }
    }

    fn pipes(&self) -> Arc<Pipes> {
        let session = self.session.clone();
        Pipes::to(move |_, socket| drop(serve(&session, socket)))
    }

    fn remote(&self, pipes: &Arc<Pipes>) -> RemoteHypervisor {
        pipes.hypervisor().with_images(Arc::new(LocalImages::new([self.image()])))
    }

    /// What the host has of the image is what the client has.
    fn arrived(&self) -> bool {
        let same = |folder: &Path| {
            let read = |path: PathBuf| fs::read(path).unwrap_or_default();
            read(folder.join("disk")) == read(self.path("disk.img"))
                && read(folder.join("kernel")) == read(self.path("kernel"))
        };
        self.storage.images().unwrap() == ["debian"]
            && fs::read_dir(self.path("host/images")).unwrap().any(|entry| same(&entry.unwrap().path()))
    }
}

struct Observer(Box<dyn Fn(u64, u64) -> ControlFlow<()> + Send + Sync>);

impl UploadObserver for Observer {
    fn progress(&self, progress: &UploadProgress<'_>) -> ControlFlow<()> {
        assert_eq!((progress.host, progress.image), ("pipe1", "debian"));
        (self.0)(progress.sent_bytes, progress.total_bytes)
    }
}

#[test]
fn an_image_is_sent_once_and_arrives_whole() {
    let scene = Scene::new();
    let pipes = scene.pipes();
    let last = Arc::new(AtomicU64::new(0));
    let seen = last.clone();
    let observer = Observer(Box::new(move |sent, total| {
        assert_eq!(total, 5 * MIB as u64 + 8);
        seen.store(sent, Ordering::SeqCst);
        ControlFlow::Continue(())
    }));
    let remote = scene.remote(&pipes).with_observer(Arc::new(observer));
    assert!(remote.facts().unwrap().images.contains(&"debian".to_owned()));
    assert_eq!(remote.ensure_image("debian"), Ok(true));
    assert_eq!(last.load(Ordering::SeqCst), 5 * MIB as u64 + 8);
    assert!(scene.arrived());
    assert_eq!(remote.ensure_image("debian"), Ok(false));
    let none = "no-such-image".to_owned();
    assert_eq!(remote.ensure_image(&none), Err(HypervisorError::NoImage(none)));
}

#[test]
fn an_upload_that_is_cut_again_and_again_goes_on_where_it_ended() {
    let scene = Scene::new();
    let session = scene.session.clone();
    // Every stream lets 1 MiB through. From the beginning it would never get there.
    let pipes = Pipes::to(move |_, socket| {
        let reader = Ration { socket: socket.try_clone().unwrap(), left: MIB };
        drop(session.serve(reader, socket.try_clone().unwrap()));
        drop(socket.shutdown(Shutdown::Both));
    });
    assert_eq!(scene.remote(&pipes).ensure_image("debian"), Ok(true));
    assert!(scene.arrived());
    assert!((7..=12).contains(&pipes.opened()), "{} streams", pipes.opened());
}

#[test]
fn who_breaks_off_can_go_on_later_and_damage_is_found() {
    let scene = Scene::new();
    let pipes = scene.pipes();
    let half = Observer(Box::new(
        |sent, total| {
            if sent > total / 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    ));
    let remote = scene.remote(&pipes).with_observer(Arc::new(half));
    let error = remote.ensure_image("debian").unwrap_err().to_string();
    assert_eq!(
        error,
        "sending the image `debian` failed: host pipe1: it was broken off; what has arrived stays there for the next \
         time"
    );
    pipes.wait();
    assert!(!scene.arrived());
    // Something on the host changes what had arrived.
    let upload = fs::read_dir(scene.path("host/images/uploads")).unwrap().next().unwrap().unwrap().path();
    let mut disk = fs::read(upload.join("disk")).unwrap();
    assert!(disk.len() > MIB && disk.len() < 5 * MIB, "{} bytes", disk.len());
    disk[0] ^= 1;
    fs::write(upload.join("disk"), disk).unwrap();
    let error = scene.remote(&pipes).ensure_image("debian").unwrap_err().to_string();
    assert!(error.contains("the disk arrived with the SHA-256"), "{error}");
    assert!(!scene.arrived());
    assert_eq!(scene.remote(&pipes).ensure_image("debian"), Ok(true));
    assert!(scene.arrived());
}

#[test]
fn a_host_without_a_place_and_a_client_without_the_file_say_so() {
    let scene = Scene::new();
    let pipes = Pipes::to_host(memory_host());
    let error = scene.remote(&pipes).ensure_image("debian").unwrap_err().to_string();
    assert_eq!(error, "receiving an image is refused: this host has no place for images of its clients");
    let pipes = scene.pipes();
    fs::remove_file(scene.path("kernel")).unwrap();
    let error = scene.remote(&pipes).ensure_image("debian").unwrap_err().to_string();
    let expected = format!(
        "fetching the image failed: host pipe1: the file {} of the image `debian` cannot be read",
        scene.path("kernel").display()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn digests_are_computed_once_and_again_when_a_file_is_another() {
    let scene = Scene::new();
    let notes = scene.path("state/digests.json");
    let images = || LocalImages::new([scene.image()]).with_notes_in(&notes);
    let first = images().get("debian").unwrap().unwrap();
    let noted = fs::read_to_string(&notes).unwrap();
    assert!(noted.contains(&first.manifest.disk.sha256.to_string()));
    assert_eq!(images().get("debian").unwrap().unwrap(), first);
    // What is noted is believed while the file looks the same.
    let zeroes = "0".repeat(64);
    fs::write(&notes, noted.replace(&first.manifest.disk.sha256.to_string(), &zeroes)).unwrap();
    assert_eq!(images().get("debian").unwrap().unwrap().manifest.disk.sha256.to_string(), zeroes);
    fs::write(scene.path("disk.img"), vec![7; 5 * MIB]).unwrap();
    let changed = images().get("debian").unwrap().unwrap().manifest.disk.sha256;
    assert!(changed != first.manifest.disk.sha256 && changed.to_string() != zeroes);
    fs::write(&notes, "{ damaged").unwrap();
    assert_eq!(images().get("debian").unwrap().unwrap().manifest.disk.sha256, changed);
    assert_eq!(images().get("other").unwrap(), None);
}
