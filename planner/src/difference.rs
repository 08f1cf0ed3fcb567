//! What differs between a domain as it is and as it should be.

use tycoon_market::resource::show_bytes;
use tycoon_market::{Quantity, ResourceKind};
use tycoon_xen::spec::{DomainSpec, Filesystem, NicSpec, VolumeSpec};

use crate::plan::{Change, FieldChange};

/// How an existing domain becomes what it should be, apart from where it is and whether it runs: kept, updated, or
/// replaced where what differs is fixed when a domain is made. `memory_max` is the most memory in bytes that it can take
/// while it runs: what it was started with, on Xen.
///
/// # Errors
/// A volume that would have to shrink, where nothing else has the domain made anew.
pub fn change(now: &DomainSpec, wanted: &DomainSpec, memory_max: Option<u64>) -> Result<Change, Shrinking> {
    let mut difference = Difference::default();
    let (memory, memory_effect) = match memory_max {
        // Also where it is defined with more already, and has not been started since.
        Some(most) if wanted.memory_bytes > most => (most.min(now.memory_bytes), Effect::Restart),
        _ => (now.memory_bytes, Effect::Live),
    };
    difference.value("memory", &show_exactly(memory), &show_exactly(wanted.memory_bytes), memory_effect);
    let most = |spec: &DomainSpec| spec.rules.memory_max_bytes.map(show_exactly).unwrap_or_default();
    let most_effect = match memory_max {
        // What it can be given was fixed when it was started.
        Some(can_have) if wanted.memory_most_bytes() > can_have => Effect::Restart,
        _ => Effect::Live,
    };
    difference.value("memory-max", &most(now), &most(wanted), most_effect);
    difference.value("vcpus", &now.vcpus.to_string(), &wanted.vcpus.to_string(), Effect::Restart);
    difference.value("hostname", &now.hostname, &wanted.hostname, Effect::Restart);
    difference.option("kernel", &now.boot.kernel, &wanted.boot.kernel, Effect::Restart);
    difference.option("ramdisk", &now.boot.ramdisk, &wanted.boot.ramdisk, Effect::Restart);
    let (args_now, args_wanted) = (now.boot.kernel_args.join(" "), wanted.boot.kernel_args.join(" "));
    difference.value("kernel-args", &args_now, &args_wanted, Effect::Restart);
    difference.nics(now, wanted);
    difference.value("image", &now.image, &wanted.image, Effect::Replace("the root disk is made from the image"));
    difference.volumes(now, wanted);
    difference.cloud_init(now, wanted);
    difference.value("keep-volumes", now.keep_volumes.word(), wanted.keep_volumes.word(), Effect::Live);
    let save = |spec: &DomainSpec| spec.save_image.as_ref().map(ToString::to_string).unwrap_or_default();
    difference.value("save-image", &save(now), &save(wanted), Effect::Live);
    let restart = |spec: &DomainSpec| spec.rules.restart.map(|policy| policy.describe()).unwrap_or_default();
    let burst = |spec: &DomainSpec| (!spec.rules.is_capped).to_string();
    difference.value("burst", &burst(now), &burst(wanted), Effect::Live);
    difference.value("restart", &restart(now), &restart(wanted), Effect::Live);
    difference.into_change()
}

/// A volume that would have to shrink, which volumes never do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrinking {
    /// Its name.
    pub volume: String,
    /// What it has, for people.
    pub from: String,
    /// What it should have, for people.
    pub to: String,
}

/// Which of the volumes with these names can stay as they are where the domain is made anew where it is: those whose own
/// description has not changed in what is fixed.
pub fn survivors(now: &DomainSpec, wanted: &DomainSpec, names: Vec<String>) -> Vec<String> {
    let find = |spec: &DomainSpec, name: &str| spec.volumes.iter().find(|volume| volume.name == name).cloned();
    let stays = |name: &String| {
        let (Some(old), Some(new)) = (find(now, name), find(wanted, name)) else { return false };
        let is_same_making =
            (old.filesystem, old.copy_on_write, &old.store) == (new.filesystem, new.copy_on_write, &new.store);
        is_same_making && new.size_bytes >= old.size_bytes && (name != "root" || now.image == wanted.image)
    };
    names.into_iter().filter(stays).collect()
}

/// What has to happen for a value to change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    Live,
    Restart,
    Replace(&'static str),
}

#[derive(Default)]
struct Difference {
    fields: Vec<FieldChange>,
    effect: Option<Effect>,
    shrinking: Option<Shrinking>,
}

impl Difference {
    fn value(&mut self, field: &str, from: &str, to: &str, effect: Effect) {
        if from != to {
            let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
            self.fields.push(FieldChange { field: field.to_owned(), from: shown(from), to: shown(to) });
            self.effect = self.effect.max(Some(effect));
        }
    }

    fn option(&mut self, field: &str, from: &Option<String>, to: &Option<String>, effect: Effect) {
        self.value(field, from.as_deref().unwrap_or_default(), to.as_deref().unwrap_or_default(), effect);
    }

    fn nics(&mut self, now: &DomainSpec, wanted: &DomainSpec) {
        for nic in &wanted.nics {
            let before = now.nics.iter().find(|old| old.name == nic.name);
            let address = before.map(|old| old.address.to_string()).unwrap_or_default();
            self.value(&nic.name, &address, &nic.address.to_string(), Effect::Restart);
            let Some(before) = before else { continue };
            self.option(&format!("{} bridge", nic.name), &before.bridge, &nic.bridge, Effect::Restart);
            let mac = |nic: &NicSpec| nic.mac.map(|mac| mac.to_string());
            self.option(&format!("{} mac", nic.name), &mac(before), &mac(nic), Effect::Restart);
            let bandwidth =
                |nic: &NicSpec| nic.bandwidth.map(|bits| ResourceKind::NetworkOut.show(Quantity::new(bits)));
            self.option(&format!("{} bandwidth", nic.name), &bandwidth(before), &bandwidth(nic), Effect::Live);
            let forwards = |nic: &NicSpec| nic.forwards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            self.value(&format!("{} forward", nic.name), &forwards(before), &forwards(nic), Effect::Live);
        }
        for old in &now.nics {
            if !wanted.nics.iter().any(|nic| nic.name == old.name) {
                self.value(&old.name, &old.address.to_string(), "", Effect::Restart);
            }
        }
    }

    /// What is done at the first start is part of what a domain should be, and changes nothing where it has started.
    fn cloud_init(&mut self, now: &DomainSpec, wanted: &DomainSpec) {
        if now.cloud_init.with_gaps() != wanted.cloud_init.with_gaps() {
            self.value("cloud-init", "as it was", "as described, for its next first start", Effect::Live);
        }
    }

    fn volumes(&mut self, now: &DomainSpec, wanted: &DomainSpec) {
        for volume in &wanted.volumes {
            let name = &volume.name;
            match now.volumes.iter().find(|old| old.name == *name) {
                None => self.value(&format!("volume {name}"), "", &show_bytes(volume.size_bytes), Effect::Restart),
                Some(old) => {
                    let (from, to) = (show_exactly(old.size_bytes), show_exactly(volume.size_bytes));
                    self.value(&format!("{name} size"), &from, &to, Effect::Restart);
                    if volume.size_bytes < old.size_bytes {
                        self.shrinking.get_or_insert_with(|| Shrinking { volume: name.clone(), from, to });
                    }
                    const FIXED: Effect = Effect::Replace("how a disk is made cannot be changed afterwards");
                    self.value(&format!("{name} fs"), filesystem(old), filesystem(volume), FIXED);
                    let (cow_now, cow) = (old.copy_on_write.to_string(), volume.copy_on_write.to_string());
                    self.value(&format!("{name} copy-on-write"), &cow_now, &cow, FIXED);
                    self.option(&format!("{name} on"), &old.store, &volume.store, FIXED);
                }
            }
        }
        for old in &now.volumes {
            if !wanted.volumes.iter().any(|volume| volume.name == old.name) {
                let effect = Effect::Replace("a disk would be deleted");
                self.value(&format!("volume {}", old.name), &show_bytes(old.size_bytes), "", effect);
            }
        }
    }

    fn into_change(self) -> Result<Change, Shrinking> {
        match (self.effect, self.shrinking) {
            (None, _) => Ok(Change::Keep),
            (Some(Effect::Replace(why)), _) => {
                Ok(Change::Replace { fields: self.fields, from: None, why: why.to_owned() })
            }
            (Some(_), Some(shrinking)) => Err(shrinking),
            (Some(effect), None) => Ok(Change::Update { fields: self.fields, restart: effect == Effect::Restart }),
        }
    }
}

/// Bytes for people where that is exact, the number itself otherwise: two different sizes never look the same.
fn show_exactly(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) { show_bytes(bytes) } else { format!("{bytes} B") }
}

fn filesystem(volume: &VolumeSpec) -> &'static str {
    volume.filesystem.map_or("", Filesystem::word)
}
