//! Where the program keeps things, by the XDG base directory specification.

use std::path::{Path, PathBuf};

use etcetera::BaseStrategy as _;

use crate::exit::Exit;
use crate::failure::Failure;

/// The folders of one user.
#[derive(Clone, Debug)]
pub struct Folders {
    /// What is remembered of the site that is used: its own state, and the pools' journals.
    site: PathBuf,
    /// What the user owns: the key.
    pub config: PathBuf,
    /// Her home.
    pub home: PathBuf,
}

impl Folders {
    /// The folders that the environment names, for a site; `XDG_STATE_HOME` and `XDG_CONFIG_HOME` move them.
    pub fn find(site: &str) -> Result<Self, Failure> {
        let base = etcetera::choose_base_strategy().map_err(|_| {
            Failure::new(Exit::Failed, "there is no home directory to keep the state in")
                .help("set HOME, or XDG_STATE_HOME and XDG_CONFIG_HOME")
        })?;
        let state = base.state_dir().unwrap_or_else(|| base.data_dir());
        Ok(Self {
            site: state.join("tycoon/sites").join(site),
            config: base.config_dir().join("tycoon"),
            home: base.home_dir().to_owned(),
        })
    }

    /// The folder of the pools' journals.
    pub fn journals(&self) -> PathBuf {
        self.site.join("pools")
    }

    /// The list of the keys of hosts that this program noted itself.
    pub fn known_hosts(&self) -> PathBuf {
        self.config.join("known_hosts")
    }

    /// Where the digests of images are noted, so that large files are read once.
    pub fn image_digests(&self) -> PathBuf {
        self.site.join("image-digests")
    }

    /// Where simulated hosts keep images that were made from volumes, a folder for each.
    pub fn host_images(&self) -> PathBuf {
        self.site.join("host-images")
    }

    /// The folder of the site.
    pub fn site(&self) -> PathBuf {
        self.site.clone()
    }
}

/// Makes a folder and those above it, only for the user.
pub fn make(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
        Failure::from_error(Exit::Failed, &error).context(&format!("the folder {} cannot be made", path.display()))
    })
}
