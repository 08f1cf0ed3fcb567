//! The images on the user's own machine that a site brings to its hosts.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use tycoon_executor::engine::StopFlag;
use tycoon_lang::site::{ImageSource, Site};
use tycoon_xen::machine::{DiskFormat, ImageExport};
use tycoon_xen::remote::local::LocalImages;
use tycoon_xen::remote::upload::{UploadObserver, UploadProgress};

use super::machines::beside;
use crate::folders::Folders;
use crate::output::Output;

/// The images of a site.
pub fn sources(site: &Site, folders: &Folders, output: &Output) -> Arc<LocalImages> {
    let image = |image: &ImageSource| ImageExport {
        name: image.name.clone(),
        disk: beside(output, &image.disk),
        format: if image.is_qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw },
        kernel: image.kernel.as_deref().map(|path| beside(output, path)),
        ramdisk: image.ramdisk.as_deref().map(|path| beside(output, path)),
        kernel_args: image.kernel_args.clone(),
    };
    Arc::new(LocalImages::new(site.images.iter().map(image)).with_notes_in(&folders.image_digests()))
}

/// Tells how far uploads are, every tenth of them, and ends them when the run is interrupted.
pub struct Uploads {
    output: Output,
    stop: StopFlag,
    /// How many tenths were told, by host and image.
    told: Mutex<BTreeMap<(String, String), u64>>,
}

impl Uploads {
    /// Uploads that are told on `output` and ended by `stop`.
    pub fn new(output: &Output, stop: StopFlag) -> Self {
        Self { output: output.clone(), stop, told: Mutex::default() }
    }
}

impl UploadObserver for Uploads {
    fn progress(&self, progress: &UploadProgress<'_>) -> ControlFlow<()> {
        let tenths = progress.sent_bytes.saturating_mul(10) / progress.total_bytes.max(1);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.insert((progress.host.to_owned(), progress.image.to_owned()), tenths);
        if before != Some(tenths) {
            let (image, host) = (progress.image, progress.host);
            self.output.message(&format!("bringing the image {image} to {host}: {} %", tenths * 10));
        }
        if self.stop.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
