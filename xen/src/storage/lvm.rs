//! Logical volumes. Every volume of ours has the tag `tycoon`, and no other is touched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::command::{Command, Interrupt};
use super::fill::blank;
use super::{failed, refused};
use crate::hypervisor::HypervisorError;

/// The tag of all volumes of ours.
const TAG: &str = "tycoon";
/// LVM waits for its own locks, and for udev.
const TIMEOUT: Duration = Duration::from_secs(180);

/// The name of a volume: readable, allowed by LVM whatever the domain is called, and another one for every other
/// volume.
pub(super) fn volume_name(domain: &str, volume: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((domain.len() as u64).to_be_bytes());
    hash.update(domain);
    hash.update(volume);
    let digest: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    // LVM gives some words after `_` a meaning of their own, so there is no `_` in a name.
    let readable = |text: &str, length| -> String {
        text.chars().take(length).map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
    };
    format!("tycoon-{}-{}-{digest}", readable(domain, 48), readable(volume, 16))
}

/// Bytes that are free in a group, in whole extents.
pub(super) fn free_bytes(group: &str) -> Result<u64, HypervisorError> {
    let (free, _) = group_sizes(group)?;
    Ok(free)
}

/// What a volume of `size_bytes` takes of a group: whole extents.
pub(super) fn needed_bytes(group: &str, size_bytes: u64) -> Result<u64, HypervisorError> {
    let (_, extent) = group_sizes(group)?;
    Ok(size_bytes.div_ceil(extent).saturating_mul(extent))
}

/// A volume exists with at least this size. It may hold anything. Whatever of ours had its name before is gone.
pub(super) fn allocate(group: &str, volume: &str, domain: &str, size_bytes: u64) -> Result<(), HypervisorError> {
    delete(group, volume)?;
    Command::new("lvcreate")
        // Without asking, and without looking at what is there: all of it is blanked afterwards.
        .args(["--yes", "--wipesignatures", "n", "--zero", "n"])
        .args(["--addtag", TAG, "--addtag", &format!("{TAG}.domain={domain}")])
        .args(["--size", &format!("{size_bytes}b"), "--name", volume, group])
        .timeout(TIMEOUT)
        .run(format!("making the volume {group}/{volume}"))?;
    Ok(())
}

/// Writes zeros over all of a volume.
pub(super) fn blank_all(group: &str, volume: &str, interrupt: &Interrupt) -> Result<(), HypervisorError> {
    let found = need(group, volume)?;
    blank(&activate(group, volume)?, 0, found.size_bytes()?, interrupt)
}

/// What a volume has.
pub(super) fn size_bytes(group: &str, volume: &str) -> Result<u64, HypervisorError> {
    need(group, volume)?.size_bytes()
}

/// The volume has at least this size. What it gets is blank before the volume has it, so that a running domain never
/// sees what was there: another volume takes the space first, is blanked, and leaves exactly its space to this one.
pub(super) fn grow(
    group: &str,
    volume: &str,
    domain: &str,
    size_bytes: u64,
    interrupt: &Interrupt,
) -> Result<(), HypervisorError> {
    let before = need(group, volume)?.size_bytes()?;
    if before >= size_bytes {
        return Ok(());
    }
    let operation = format!("growing the volume {group}/{volume}");
    let growth = growth_name(volume);
    allocate(group, &growth, domain, size_bytes - before)?;
    let extended = blank_all(group, &growth, interrupt).and_then(|()| {
        let ranges = ranges(group, &growth)?;
        let more = need(group, &growth)?.size_bytes()?;
        delete(group, &growth)?;
        Command::new("lvextend")
            // With the ranges, it takes these and no others, or fails.
            .args(["--size", &format!("{}b", before.saturating_add(more)), &format!("{group}/{volume}")])
            .args(ranges)
            .timeout(TIMEOUT)
            .run(operation)
    });
    if extended.is_err() {
        // The error that matters is the first; what is left has our tag, and the next call removes it.
        let _ = delete(group, &growth);
    }
    extended.map(|_| ())
}

/// The volume that holds what another one is to get.
fn growth_name(volume: &str) -> String {
    format!("{volume}-more")
}

/// Where on which devices a volume is: `/dev/sdb:10-19`.
fn ranges(group: &str, volume: &str) -> Result<Vec<String>, HypervisorError> {
    let found: Report<Segments> = parse(&report("lvs", "lv_name,seg_pe_ranges", group)?)?;
    let of_volume = found.report.into_iter().flat_map(|report| report.seg).filter(|seg| seg.lv_name == volume);
    Ok(of_volume.flat_map(|seg| seg.seg_pe_ranges.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect())
}

/// The volume is gone, and what it was growing by. True where it was there. One that is not ours is left, with an
/// error.
pub(super) fn delete(group: &str, volume: &str) -> Result<bool, HypervisorError> {
    let mut was_there = false;
    for name in [growth_name(volume), volume.to_owned()] {
        if find(group, &name)?.is_some() {
            Command::new("lvremove")
                .args(["--yes", &format!("{group}/{name}")])
                .timeout(TIMEOUT)
                .run(format!("removing the volume {group}/{name}"))?;
            was_there = true;
        }
    }
    Ok(was_there)
}

/// The block device of a volume, which is active on return.
pub(super) fn activate(group: &str, volume: &str) -> Result<PathBuf, HypervisorError> {
    let device = Path::new("/dev").join(group).join(volume);
    if device.exists() {
        return Ok(device);
    }
    let operation = format!("activating the volume {group}/{volume}");
    need(group, volume)?;
    Command::new("lvchange")
        .args(["--activate", "y", &format!("{group}/{volume}")])
        .timeout(TIMEOUT)
        .run(operation.clone())?;
    if device.exists() {
        return Ok(device);
    }
    let reason = format!(
        "{} did not appear; is udev running? Without udev, LVM needs `udev_sync=0` and `udev_rules=0` in the section \
         `activation` of /etc/lvm/lvmlocal.conf",
        device.display()
    );
    Err(failed(operation, reason))
}

/// A logical volume that the machine's owner has.
#[derive(Debug)]
pub(super) struct OwnersVolume {
    pub(super) group: String,
    pub(super) volume: String,
    pub(super) size_bytes: u64,
    pub(super) is_open: bool,
    /// The domains whose it is, by its tags.
    pub(super) domains: Vec<String>,
}

/// The logical volume whose device this is; `None` where the path is no device.
pub(super) fn owners_volume(device: &Path) -> Result<Option<OwnersVolume>, HypervisorError> {
    if !device.starts_with("/dev") {
        return Ok(None);
    }
    let command = Command::new("lvs")
        .args(["--reportformat", "json", "--units", "b", "--nosuffix"])
        .args(["--options", "vg_name,lv_name,lv_size,lv_tags,lv_device_open"])
        .arg(device)
        .timeout(TIMEOUT);
    let found: Report<Volumes> = parse(&command.run("looking at a logical volume")?)?;
    let found = found.report.into_iter().flat_map(|report| report.lv).next();
    let found = found.ok_or_else(|| failed("looking at a logical volume", "`lvs` tells nothing of it".to_owned()))?;
    let domain = |tag: &str| tag.strip_prefix(TAG)?.strip_prefix(".domain=").map(str::to_owned);
    Ok(Some(OwnersVolume {
        size_bytes: found.size_bytes()?,
        is_open: found.lv_device_open == "open",
        domains: found.lv_tags.split(',').filter_map(domain).collect(),
        group: found.vg_name,
        volume: found.lv_name,
    }))
}

/// A volume of the machine's owner becomes one of a domain's, with its tags and its name.
pub(super) fn take_over(group: &str, from: &str, volume: &str, domain: &str) -> Result<(), HypervisorError> {
    let operation = format!("taking over the volume {group}/{from}");
    Command::new("lvchange")
        .args(["--addtag", TAG, "--addtag", &format!("{TAG}.domain={domain}"), &format!("{group}/{from}")])
        .timeout(TIMEOUT)
        .run(operation.clone())?;
    if from != volume {
        Command::new("lvrename").args([group, from, volume]).timeout(TIMEOUT).run(operation)?;
    }
    Ok(())
}

/// Whether a name can be that of a volume group.
pub(super) fn is_group_name(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    !name.is_empty() && name.len() <= 127 && !name.starts_with(['-', '.']) && name.bytes().all(is_allowed)
}

#[derive(Deserialize)]
struct Report<T> {
    report: Vec<T>,
}

#[derive(Deserialize)]
struct Groups {
    vg: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    vg_free: String,
    vg_extent_size: String,
}

#[derive(Deserialize)]
struct Volumes {
    lv: Vec<Volume>,
}

#[derive(Deserialize)]
struct Segments {
    #[serde(default, alias = "lv")]
    seg: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    lv_name: String,
    seg_pe_ranges: String,
}

#[derive(Deserialize)]
struct Volume {
    #[serde(default)]
    vg_name: String,
    lv_name: String,
    lv_size: String,
    lv_tags: String,
    #[serde(default)]
    lv_device_open: String,
}

impl Volume {
    fn size_bytes(&self) -> Result<u64, HypervisorError> {
        number(&self.lv_size)
    }
}

fn group_sizes(group: &str) -> Result<(u64, u64), HypervisorError> {
    let text = report("vgs", "vg_free,vg_extent_size", group)?;
    let found: Report<Groups> = parse(&text)?;
    let found = found.report.into_iter().flat_map(|report| report.vg).next();
    let found =
        found.ok_or_else(|| failed("looking at a volume group", format!("`vgs` tells nothing of `{group}`")))?;
    let extent = number(&found.vg_extent_size)?;
    if extent == 0 {
        return Err(failed("looking at a volume group", format!("the extents of `{group}` have no size")));
    }
    Ok((number(&found.vg_free)?, extent))
}

/// The volume where it exists and is ours.
fn find(group: &str, volume: &str) -> Result<Option<Volume>, HypervisorError> {
    let found: Report<Volumes> = parse(&report("lvs", "lv_name,lv_size,lv_tags", group)?)?;
    let found = found.report.into_iter().flat_map(|report| report.lv).find(|found| found.lv_name == volume);
    if found.as_ref().is_some_and(|found| !found.lv_tags.split(',').any(|tag| tag == TAG)) {
        let reason = format!("it does not have the tag `{TAG}`, so it is not Tycoon's; rename or remove it");
        return Err(refused(format!("using the volume {group}/{volume}"), reason));
    }
    Ok(found)
}

fn need(group: &str, volume: &str) -> Result<Volume, HypervisorError> {
    find(group, volume)?.ok_or_else(|| {
        failed("looking for a volume", format!("{group}/{volume} is missing; somebody removed it by other means"))
    })
}

fn report(program: &'static str, columns: &str, group: &str) -> Result<String, HypervisorError> {
    if !is_group_name(group) {
        let reason = format!("`{}` cannot be the name of a volume group", group.escape_debug());
        return Err(refused("looking at a volume group", reason));
    }
    let command = Command::new(program)
        .args(["--reportformat", "json", "--units", "b", "--nosuffix", "--options", columns, group])
        .timeout(TIMEOUT);
    command.run("looking at a volume group").map_err(|error| match error {
        HypervisorError::Failed { operation, reason } if reason.contains("not found") => {
            let remedy = "`vgs` lists the groups there are; make it with `vgcreate`, or correct the machine's stores";
            HypervisorError::Failed { operation, reason: format!("there is no volume group `{group}`; {remedy}") }
        }
        other => other,
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, HypervisorError> {
    serde_json::from_str(text).map_err(|error| failed("reading what LVM reports", error.to_string()))
}

fn number(text: &str) -> Result<u64, HypervisorError> {
    text.trim().parse().map_err(|_| failed("reading what LVM reports", format!("`{text}` is no number of bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_have_names_that_lvm_takes_and_that_tell_them_apart() {
        let long = "p".repeat(63) + "." + &"x_tdata.".repeat(22) + "0-3f9c12ab";
        let name = volume_name(&long, "root");
        assert!(name.len() <= 127 && !name.contains('_'), "{name}");
        assert_ne!(volume_name("a.b", "c"), volume_name("a", "b.c"));
        assert_ne!(volume_name("a_b", "c"), volume_name("a-b", "c"));
        assert!(volume_name("hello.web.0-3f9c12ab", "root").starts_with("tycoon-hello.web.0-3f9c12ab-root-"));
    }

    #[test]
    fn what_lvm_reports_is_read() {
        let text =
            r#"{"report": [{"lv": [{"lv_name":"a","lv_size":"268435456","lv_tags":"tycoon,tycoon.domain=x"}]}]}"#;
        let report: Report<Volumes> = parse(text).unwrap();
        assert_eq!(report.report[0].lv[0].size_bytes().unwrap(), 256 << 20);
    }
}
