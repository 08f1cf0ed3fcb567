//! Saves volumes of domains as files on this machine: their blocks, or what is made of them, and beside each a manifest.
//!
//! ```text
//!  FOLDER/.NAME.…part        while it is written; it is removed where anything fails
//!  FOLDER/NAME.FORMAT        whole, or not there
//!  FOLDER/NAME.FORMAT.json   the manifest: what it is, of which domain, and its digests
//! ```
//!
//! A file that is there is never replaced: the next one of its name is `NAME-2`. Where a volume has no files that can be read,
//! its blocks are kept as they are instead, and that is said: what was asked for is saved in any case.

mod ext4;
mod files;
mod tar;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::write::GzEncoder;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use thiserror::Error;
use tycoon_market::{AccountId, HostName, PoolName, Timestamp};
use tycoon_xen::save::{SaveFormat, VolumeStream, is_file_name};
use tycoon_xen::spec::DomainPath;

use ext4::Ext4Error;
use files::ArchiveError;

/// The version of the manifest.
const MANIFEST_VERSION: u32 = 1;
/// What is read at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;
/// What of a file is left out where it is blank, in bytes: a block of most file systems.
const HOLE_BYTES: usize = 4 << 10;
static BLANK: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
/// What a file is called while it is written.
const PART: (&str, &str) = (".saving-", ".part");
/// Between making a file and locking it goes no such time.
const LEFT_AFTER: Duration = Duration::from_secs(60);
/// How many files of one name there may be.
const SAME_NAME_MAX: u32 = 9_999;
/// How much of what a program says is shown.
const SAID_MAX: usize = 300;
/// `e2fsck` has written the journal back and mended nothing, or something, or would like a restart that a file does not need.
const REPLAYED: std::ops::RangeInclusive<i32> = 0..=3;

/// What is saved.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// Whose it is.
    pub account: AccountId,
    /// The pool of the domain.
    pub pool: PoolName,
    /// The domain.
    pub domain: DomainPath,
    /// The volume: `root`.
    pub volume: String,
    /// The image that the volume was made from, where that is known.
    pub image: Option<String>,
    /// The host it was on.
    pub host: HostName,
    /// True where the host exists only in a process.
    pub is_simulated: bool,
}

/// Where and how it is written.
#[derive(Clone, Debug)]
pub struct Target<'a> {
    /// The folder, which is made where there is none.
    pub folder: &'a Path,
    /// The name of the file without its ending; pool and domain where there is none.
    pub name: Option<&'a str>,
    /// How it is written.
    pub format: SaveFormat,
}

/// What stands beside a saved file.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    /// The version of this form.
    pub version: u32,
    /// What was saved.
    #[serde(flatten)]
    pub subject: Subject,
    /// The size of the volume in bytes.
    pub volume_bytes: u64,
    /// The SHA-256 of its blocks, which the host has computed too.
    pub volume_sha256: String,
    /// The name of the file.
    pub file: String,
    /// How it is written.
    pub format: SaveFormat,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// Its SHA-256.
    pub file_sha256: String,
    /// When it was saved, in microseconds since 1970.
    pub saved_at_unix_us: i64,
    /// The program: `tycoon 0.1.0`.
    pub program: String,
}

/// A file that was saved.
#[derive(Clone, Debug)]
pub struct Saved {
    /// Where it is.
    pub path: PathBuf,
    /// What stands beside it.
    pub manifest: Manifest,
    /// Why it is the blocks as they are, where something else was asked for.
    pub instead: Option<String>,
}

/// Why nothing was saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The folder or a file in it cannot be written.
    #[error("{path} cannot be written: {source}; make room there or take another folder", path = .path.display())]
    Writing {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The blocks do not come.
    #[error("{0}")]
    Reading(io::Error),
    /// There are too many files of the name already.
    #[error("{folder} has {SAME_NAME_MAX} files named `{name}` already; take another name or folder", folder = .folder.display())]
    Full {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
    },
    /// The name cannot be used.
    #[error(
        "`{0}` cannot be the name of a file here: use letters, digits, `-`, `_` and `.`, with a letter or a digit first"
    )]
    Name(String),
    /// A program is missing.
    #[error("`{program}` cannot be run here ({source}): install the package {package}, or save as `raw`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A program failed.
    #[error("`{program}` failed: {said}")]
    Program {
        /// The program.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// Somebody asked to stop.
    #[error("it was broken off; nothing was saved")]
    Stopped,
}

/// Says how much has come of how many bytes, and whether to go on.
pub type Watch<'a> = &'a dyn Fn(u64, u64) -> ControlFlow<()>;

/// That what a format needs is on this machine.
///
/// # Errors
/// [`SaveError::Missing`].
pub fn check_programs(format: SaveFormat) -> Result<(), SaveError> {
    if format != SaveFormat::Qcow2 {
        return Ok(());
    }
    run(Command::new("qemu-img").arg("--version"), "qemu-img", "qemu-utils")
}

/// Saves a volume. It is whole and on disk on return.
///
/// # Errors
/// [`SaveError`]; then nothing is left in the folder.
pub fn save(
    stream: VolumeStream,
    subject: Subject,
    target: &Target<'_>,
    now: Timestamp,
    watch: Watch<'_>,
) -> Result<Saved, SaveError> {
    let name = target.name.map_or_else(|| format!("{}.{}", subject.pool, subject.domain), str::to_owned);
    // A pool and a domain always make one; it is not what a host says that decides where a file is.
    let name: String = if target.name.is_none() { name.chars().take(200).collect() } else { name };
    if target.name.is_some_and(|name| !is_file_name(name)) {
        return Err(SaveError::Name(name.chars().take(80).collect()));
    }
    check_programs(target.format)?;
    let folder = target.folder;
    fs::create_dir_all(folder).map_err(|source| SaveError::Writing { path: folder.to_owned(), source })?;
    clear_away(folder);
    let bytes = stream.bytes;
    let (raw, volume_sha256) = write_blocks(stream, folder, watch)?;
    let is_stopped = || watch(bytes, bytes).is_break();
    let (file, format, instead) = match target.format {
        SaveFormat::Raw => (raw, SaveFormat::Raw, None),
        SaveFormat::Qcow2 => (as_qcow2(&raw, folder)?, SaveFormat::Qcow2, None),
        format => match as_archive(&raw, folder, format, &is_stopped)? {
            Ok(archive) => (archive, format, None),
            Err(why) => (raw, SaveFormat::Raw, Some(why)),
        },
    };
    let (file_bytes, file_sha256) = match format {
        SaveFormat::Raw => (bytes, volume_sha256.clone()),
        // By its path: a program may have written it anew.
        _ => digest(File::open(file.path()).map_err(SaveError::Reading)?)?,
    };
    let (path, file_name) = put(file, folder, &name, format)?;
    let manifest = Manifest {
        version: MANIFEST_VERSION,
        subject,
        volume_bytes: bytes,
        volume_sha256,
        file: file_name,
        format,
        file_bytes,
        file_sha256,
        saved_at_unix_us: now.micros(),
        program: concat!("tycoon ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    if let Err(error) = write_manifest(&manifest, &path) {
        // What nobody can tell anything of is not saved; the volume is still where it was.
        let _ = fs::remove_file(&path);
        return Err(error);
    }
    Ok(Saved { path, manifest, instead })
}

/// A new file of the folder, which goes where it is not kept.
fn part(folder: &Path) -> Result<NamedTempFile, SaveError> {
    part_in(folder).map_err(|source| SaveError::Writing { path: folder.to_owned(), source })
}

/// It is locked as long as somebody is at it.
fn part_in(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(PART.0).suffix(PART.1).tempfile_in(folder)?;
    // Where there are no locks, nothing of it is cleared away either.
    let _ = file.as_file().try_lock();
    Ok(file)
}

/// Removes what runs that were killed have left in the folder.
fn clear_away(folder: &Path) {
    // What stays takes room, and is in nobody's way.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_part = name.to_str().is_some_and(|name| name.starts_with(PART.0) && name.ends_with(PART.1));
        let changed = entry.metadata().ok().filter(fs::Metadata::is_file).and_then(|about| about.modified().ok());
        let is_old = changed.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > LEFT_AFTER);
        if is_part && is_old && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes the blocks of a volume, with holes where they are blank, and computes their digest.
fn write_blocks(
    mut stream: VolumeStream,
    folder: &Path,
    watch: Watch<'_>,
) -> Result<(NamedTempFile, String), SaveError> {
    let file = part(folder)?;
    let wrong = |source| SaveError::Writing { path: folder.to_owned(), source };
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset: u64 = 0;
    loop {
        if watch(offset, stream.bytes).is_break() {
            return Err(SaveError::Stopped);
        }
        let count = match stream.content.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SaveError::Reading(error)),
        };
        hash.update(&piece[..count]);
        for (number, block) in piece[..count].chunks(HOLE_BYTES).enumerate() {
            if *block != BLANK[..block.len()] {
                let at = offset + (number * HOLE_BYTES) as u64;
                file.as_file().write_all_at(block, at).map_err(wrong)?;
            }
        }
        offset += count as u64;
    }
    if offset != stream.bytes {
        let reason = format!("the volume ends after {offset} of {} bytes", stream.bytes);
        return Err(SaveError::Reading(io::Error::other(reason)));
    }
    file.as_file().set_len(offset).and_then(|()| file.as_file().sync_all()).map_err(wrong)?;
    Ok((file, hex(hash)))
}

/// The same disk in QEMU's format.
fn as_qcow2(raw: &NamedTempFile, folder: &Path) -> Result<NamedTempFile, SaveError> {
    let file = part(folder)?;
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-q", "-f", "raw", "-O", "qcow2"]).arg(absolute(raw.path())).arg(absolute(file.path()));
    run(&mut command, "qemu-img", "qemu-utils")?;
    file.as_file().sync_all().map_err(|source| SaveError::Writing { path: folder.to_owned(), source })?;
    Ok(file)
}

/// The files of the disk as an archive; why there are none that can be read.
fn as_archive(
    raw: &NamedTempFile,
    folder: &Path,
    format: SaveFormat,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Result<NamedTempFile, String>, SaveError> {
    let first = archive(raw.as_file(), folder, format, is_stopped);
    let result = match first {
        Err(ArchiveError::Volume(Ext4Error::NeedsRecovery)) => match replayed(raw, folder)? {
            Ok(replayed) => archive(replayed.as_file(), folder, format, is_stopped),
            Err(why) => return Ok(Err(why)),
        },
        other => other,
    };
    match result {
        Ok(archive) => Ok(Ok(archive)),
        Err(ArchiveError::Volume(error)) => Ok(Err(error.to_string())),
        Err(ArchiveError::Writing(source)) => Err(SaveError::Writing { path: folder.to_owned(), source }),
        Err(ArchiveError::Stopped) => Err(SaveError::Stopped),
    }
}

fn archive(
    disk: &File,
    folder: &Path,
    format: SaveFormat,
    is_stopped: &dyn Fn() -> bool,
) -> Result<NamedTempFile, ArchiveError> {
    let file = part_in(folder)?;
    let out = io::BufWriter::new(file.as_file());
    match format {
        SaveFormat::TarGz => {
            let mut out = GzEncoder::new(out, flate2::Compression::default());
            files::archive(disk, &mut out, is_stopped)?;
            out.finish()?.flush()?;
        }
        SaveFormat::TarZst => {
            let mut out = zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
            // So that whoever unpacks it notices damage.
            out.include_checksum(true)?;
            files::archive(disk, &mut out, is_stopped)?;
            out.finish()?.flush()?;
        }
        _ => {
            let mut out = out;
            files::archive(disk, &mut out, is_stopped)?;
            out.flush()?;
        }
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// A copy of the disk whose journal is written back: as a domain would find it at its next start. The blocks themselves stay
/// as they came. Why there is none.
fn replayed(raw: &NamedTempFile, folder: &Path) -> Result<Result<NamedTempFile, String>, SaveError> {
    let file = part(folder)?;
    let copied = copy_with_holes(raw.as_file(), file.as_file());
    copied.map_err(|source| SaveError::Writing { path: folder.to_owned(), source })?;
    let why = |what: &str| {
        format!(
            "the file system was in use when it was saved, and {what}; with the package e2fsprogs its journal is read"
        )
    };
    let mut command = Command::new("e2fsck");
    command.args(["-f", "-y"]).arg(absolute(file.path())).env("PATH", path_with_administration());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Ok(Err(why(&format!("`e2fsck` cannot be run here ({error})")))),
    };
    match output.status.code() {
        Some(code) if REPLAYED.contains(&code) => Ok(Ok(file)),
        _ => Ok(Err(why(&format!("`e2fsck` failed: {}", said(&output.stderr))))),
    }
}

fn copy_with_holes(from: &File, to: &File) -> io::Result<()> {
    let bytes = from.metadata()?.len();
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let count = usize::try_from(bytes - offset).unwrap_or(usize::MAX).min(PIECE_BYTES);
        from.read_exact_at(&mut piece[..count], offset)?;
        for (number, block) in piece[..count].chunks(HOLE_BYTES).enumerate() {
            if *block != BLANK[..block.len()] {
                to.write_all_at(block, offset + (number * HOLE_BYTES) as u64)?;
            }
        }
        offset += count as u64;
    }
    to.set_len(bytes)
}

/// Gives the file its name, which nothing has yet; where it is then, and the name.
fn put(mut file: NamedTempFile, folder: &Path, name: &str, format: SaveFormat) -> Result<(PathBuf, String), SaveError> {
    for number in 1..=SAME_NAME_MAX {
        let same = if number == 1 { String::new() } else { format!("-{number}") };
        let file_name = format!("{name}{same}.{}", format.word());
        let path = folder.join(&file_name);
        // What is left of a file that was taken away says something of that one.
        if path.exists() || manifest_path(&path).exists() {
            continue;
        }
        match file.persist_noclobber(&path) {
            Ok(_) => {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced.map_err(|source| SaveError::Writing { path: folder.to_owned(), source })?;
                return Ok((path, file_name));
            }
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => file = error.file,
            Err(error) => return Err(SaveError::Writing { path, source: error.error }),
        }
    }
    Err(SaveError::Full { folder: folder.to_owned(), name: name.to_owned() })
}

fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".json");
    PathBuf::from(name)
}

fn write_manifest(manifest: &Manifest, path: &Path) -> Result<(), SaveError> {
    let path = manifest_path(path);
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = part_in(folder)?;
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|source| SaveError::Writing { path: path.clone(), source })
}

/// The size and the SHA-256 of a file.
fn digest(mut file: File) -> Result<(u64, String), SaveError> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((bytes, hex(hash))),
            Ok(count) => {
                hash.update(&piece[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SaveError::Reading(error)),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs a program, which must succeed.
fn run(command: &mut Command, program: &'static str, package: &'static str) -> Result<(), SaveError> {
    let output = command.output().map_err(|source| SaveError::Missing { program, package, source })?;
    if output.status.success() {
        return Ok(());
    }
    Err(SaveError::Program { program, said: said(&output.stderr) })
}

fn said(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(SAID_MAX).collect()
}

/// A path that no program takes for an option, or for a way to another machine.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Where programs are, also those that Debian keeps apart for administrators.
fn path_with_administration() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}
