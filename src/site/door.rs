//! The way into hosts of the network over SSH, with the user's own key: to the consoles of her domains, and for images
//! that she brings. Everything else is asked for by signed calls.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tycoon_executor::engine::StopFlag;
use tycoon_lang::site::Site;
use tycoon_market::PublicKey;
use tycoon_xen::remote::RemoteHypervisor;
use tycoon_xen::remote::local::LocalImages;

use super::images::{self, Uploads};
use super::{machines, reach};
use crate::failure::Failure;
use crate::folders::Folders;
use crate::identity::{Identity, KeyPlace};
use crate::output::Output;

/// Who has the sessions on a host, where its address does not say.
const USUAL_USER: &str = "tycoon";
/// What is started there. The host starts the session of the key's account, whatever is asked for.
const PROGRAM: &str = "/usr/bin/tycoon";

/// Where a host is reached over SSH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SshWay {
    /// Where: `[user@]host[:port]`.
    pub place: String,
    /// The key it must show; the user's lists of known hosts know it where it is not said.
    pub host_key: Option<PublicKey>,
}

/// The user's way into hosts.
pub struct Door {
    folders: Folders,
    config: Option<PathBuf>,
    key: PublicKey,
    place: KeyPlace,
    images: Arc<LocalImages>,
    uploads: Arc<Uploads>,
}

impl Door {
    /// The way of `identity`, with the images that the site brings.
    pub fn new(site: &Site, folders: &Folders, identity: &Identity, output: &Output, stop: &StopFlag) -> Self {
        Self {
            folders: folders.clone(),
            config: machines::ssh_config(site, output),
            key: identity.key.public_key(),
            place: identity.place.clone(),
            images: images::sources(site, folders, output),
            uploads: Arc::new(Uploads::new(output, stop.clone())),
        }
    }

    /// The images that lie here.
    pub fn images(&self) -> &LocalImages {
        &self.images
    }

    /// What belongs to the user on the host called `name`. It connects when it is first asked.
    pub fn machine(&self, name: &str, way: &SshWay) -> Result<RemoteHypervisor, Failure> {
        let place = if way.place.contains('@') { way.place.clone() } else { format!("{USUAL_USER}@{}", way.place) };
        let mut target = reach::target(&place, self.config.as_deref(), &self.folders, false)?;
        if let Some(key) = &way.host_key {
            target.host_key = Some(key.fingerprint());
            // What was known before says nothing against what the host has signed.
            target.known_hosts.clear();
        }
        // No other key: it would be another account.
        target.agent_key = Some(self.key.to_string());
        match &self.place {
            KeyPlace::File(path) => target.identities = vec![path.clone()],
            KeyPlace::Agent(socket) => {
                target.identities.clear();
                target.agent = Some(socket.clone());
            }
        }
        target.entry_remedy = Some(
            "a host lets in who has an account or domains on it: `tycoon status` shows where that is; a key that was \
             added to your account at the bank is known there once it was paid with"
                .to_owned(),
        );
        let connector = reach::HostConnector::new(name, target, PROGRAM);
        Ok(RemoteHypervisor::over(Arc::new(connector))
            .with_images(self.images.clone())
            .with_observer(self.uploads.clone()))
    }
}
