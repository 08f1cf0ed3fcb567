//! The journal: what was done, in order, on disk before anybody is told.
//!
//! A folder of segment files. Each record is one line that carries the hash of the one before it ([`record`]), each
//! segment begins with a header that continues the segment before it ([`segment`]). Records are appended and synced;
//! nothing is ever changed. A record that a crash cut off is removed at the next start, and reported; any other damage
//! stops the start, with the file, the place and what to do ([`JournalError`]).

mod copy;
pub mod error;
pub mod record;
pub mod segment;

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tycoon_market::Timestamp;

pub use self::copy::{archive, copy};
pub use self::error::JournalError;
pub use self::record::{Record, RecordHash};
use self::segment::Segment;
use crate::store::Head;

/// The length from which on a segment is followed by a new one, in bytes.
pub const SEGMENT_BYTES: u64 = 4 << 20;

/// What a full disk is asked to take, in bytes: more than one block.
const PROBE_BYTES: usize = 16 << 10;

/// Called before and after each write, with its name, so that tests can stop the process there.
pub type FaultHook = Arc<dyn Fn(&str) + Send + Sync>;

/// How a journal is written.
#[derive(Clone)]
pub struct Settings {
    /// The length from which on a segment is followed by a new one, in bytes.
    pub segment_bytes: u64,
    /// Called before and after each write.
    pub hook: Option<FaultHook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, hook: None }
    }
}

/// How much of the journal is checked when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Everything: for services, which start rarely.
    #[default]
    Everything,
    /// The segment with the last record that the index holds, and those after it: for programs that start often.
    Tail,
}

/// A torn record that was cut off at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub file: PathBuf,
    /// Where it was cut, in bytes from its start.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
}

/// An open journal. It holds a lock on its folder.
pub struct Journal {
    folder: PathBuf,
    file: File,
    path: PathBuf,
    length: u64,
    head: Head,
    settings: Settings,
    broken: Option<String>,
    /// True where the last write was not taken.
    is_refused: bool,
    _lock: File,
}

impl Journal {
    /// Opens the journal in `folder`, or creates an empty one.
    ///
    /// `indexed` is what the index holds ([`Head::EMPTY`] where there is none): the records after it are shown to
    /// `replay`, and `check` says which segments before it are checked.
    pub fn open<E: From<JournalError>>(
        folder: &Path,
        settings: Settings,
        indexed: &Head,
        check: Check,
        replay: &mut dyn FnMut(&Record<'_>) -> Result<(), E>,
    ) -> Result<(Self, Option<Cut>), E> {
        create_folder(folder)?;
        let lock = lock(folder)?;
        if segments(folder)?.is_empty() {
            if indexed.record > 0 {
                let (folder, index) = (folder.to_owned(), indexed.record);
                return Err(JournalError::RecordsMissing { folder, journal: 0, index }.into());
            }
            create_segment(folder, &Head::EMPTY, settings.hook.as_ref())?;
        }
        let (end, path) = read(folder, indexed, check, replay)?;
        let doing = |doing| {
            let path = path.clone();
            move |source| JournalError::Io { doing, path, source }
        };
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(doing("open"))?;
        let mut cut = None;
        if end.torn > 0 {
            file.set_len(end.length).and_then(|()| file.sync_all()).map_err(doing("cut the torn record off"))?;
            cut = Some(Cut { file: path.clone(), offset: end.length, bytes: end.torn });
        }
        file.seek(SeekFrom::Start(end.length)).map_err(doing("seek in"))?;
        let journal = Self {
            folder: folder.to_owned(),
            file,
            path,
            length: end.length,
            head: end.head,
            settings,
            broken: None,
            is_refused: false,
            _lock: lock,
        };
        Ok((journal, cut))
    }

    /// The last record.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends records with these times and payloads, and returns when they are on disk. All or nothing is reported;
    /// after a failure that leaves the file unknown nothing more is written.
    pub fn append<'a>(
        &mut self,
        records: impl IntoIterator<Item = (Timestamp, &'a str)>,
    ) -> Result<Head, JournalError> {
        if let Some(reason) = &self.broken {
            return Err(JournalError::Broken(reason.clone()));
        }
        let mut head = self.head;
        let mut lines = String::new();
        for (at, payload) in records {
            let start = lines.len();
            head = record::encode(&mut lines, &head, at, payload);
            let length = lines.len() - start;
            if length >= record::RECORD_BYTES_MAX || payload.contains('\n') {
                return Err(JournalError::TooLong(length));
            }
            lines.push('\n');
        }
        if lines.is_empty() {
            return Ok(head);
        }
        if self.length >= self.settings.segment_bytes {
            self.rotate().inspect_err(|_| self.is_refused = true)?;
        }
        // Stays where the hook or anything else stops this thread half-way.
        self.broken = Some("a write was interrupted".to_owned());
        self.call_hook("bank:before-write");
        if let Err(source) = self.file.write_all(lines.as_bytes()) {
            return Err(self.take_back(source));
        }
        self.call_hook("bank:after-write");
        self.call_hook("bank:before-sync");
        if let Err(source) = self.file.sync_data() {
            // What is on disk after a failed sync is not known, and a second sync may lie.
            self.broken = Some(source.to_string());
            return Err(JournalError::Io { doing: "sync", path: self.path.clone(), source });
        }
        self.call_hook("bank:after-sync");
        (self.broken, self.is_refused) = (None, false);
        self.length += lines.len() as u64;
        self.head = head;
        Ok(head)
    }

    /// Whether anything can be written. Where the last write was not taken, the disk is asked again.
    pub fn check(&mut self) -> Result<(), JournalError> {
        if let Some(reason) = &self.broken {
            return Err(JournalError::Broken(reason.clone()));
        }
        if self.is_refused {
            let path = self.folder.join("probe");
            let taken = File::create(&path).and_then(|mut file| {
                file.write_all(&[0; PROBE_BYTES])?;
                file.sync_all()
            });
            // It is in nobody's way where it stays.
            let _ = fs::remove_file(&path);
            taken.map_err(|source| JournalError::NotWritten { path, source })?;
            self.is_refused = false;
        }
        Ok(())
    }

    /// Calls the fault hook.
    pub fn call_hook(&self, place: &str) {
        if let Some(hook) = &self.settings.hook {
            hook(place);
        }
    }

    /// Removes what a failed write may have left (a full disk), so that the next one can succeed.
    fn take_back(&mut self, source: io::Error) -> JournalError {
        let taken_back = self.file.set_len(self.length).and_then(|()| self.file.seek(SeekFrom::Start(self.length)));
        self.is_refused = true;
        let path = self.path.clone();
        match taken_back {
            Ok(_) => {
                self.broken = None;
                JournalError::NotWritten { path, source }
            }
            Err(error) => {
                self.broken = Some(error.to_string());
                JournalError::Io { doing: "write", path, source }
            }
        }
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        let (path, file, length) =
            create_segment(&self.folder, &self.head, self.settings.hook.as_ref()).map_err(|error| match error {
                // Nothing stands in a segment that did not come about.
                JournalError::Io { path, source, .. } => JournalError::NotWritten { path, source },
                error => error,
            })?;
        (self.path, self.file, self.length) = (path, file, length);
        Ok(())
    }
}

/// Makes a journal in `folder`, where none may be, of the records that `records` shows, from the first on.
pub fn create<E: From<JournalError>>(
    folder: &Path,
    records: impl FnOnce(&mut dyn FnMut(&Record<'_>) -> Result<(), JournalError>) -> Result<(), E>,
) -> Result<Head, E> {
    create_folder(folder)?;
    if !segments(folder)?.is_empty() {
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "there is a journal in it");
        return Err(JournalError::Io { doing: "make a journal in", path: folder.to_owned(), source }.into());
    }
    let (mut journal, _) =
        Journal::open::<JournalError>(folder, Settings::default(), &Head::EMPTY, Check::Everything, &mut |_| Ok(()))?;
    let mut waiting: Vec<(Timestamp, String)> = Vec::new();
    let mut append = |waiting: &mut Vec<(Timestamp, String)>| {
        let head = journal.append(waiting.iter().map(|(at, payload)| (*at, payload.as_str())));
        waiting.clear();
        head
    };
    records(&mut |record| {
        waiting.push((record.head.at, record.payload.to_owned()));
        if waiting.len() < CREATE_BATCH { Ok(()) } else { append(&mut waiting).map(|_| ()) }
    })?;
    Ok(append(&mut waiting)?)
}

/// Records that are written with one sync when a journal is made.
const CREATE_BATCH: usize = 256;

/// Shows the records after `indexed` in the journal in `folder` to `visit`, checking the chain as `check` says. The
/// files are not changed. Returns the end, with the length of a torn last record, and the last segment.
pub fn read<E: From<JournalError>>(
    folder: &Path,
    indexed: &Head,
    check: Check,
    visit: &mut dyn FnMut(&Record<'_>) -> Result<(), E>,
) -> Result<(segment::End, PathBuf), E> {
    let segments = segments(folder)?;
    let Some(last) = segments.last() else {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no segment");
        return Err(JournalError::Io { doing: "read the journal in", path: folder.to_owned(), source }.into());
    };
    let is_needed = |segment: &Segment| check == Check::Tail && segment.first <= indexed.record;
    let start = segments.iter().rposition(is_needed).unwrap_or(0);
    // Segments that are not read must at least be there and begin as they should.
    for segment in &segments[..start] {
        segment::read_header(segment)?;
    }
    let mut previous = (start == 0).then_some(Head::EMPTY);
    let mut end = segment::End { head: Head::EMPTY, length: 0, torn: 0 };
    for segment in &segments[start..] {
        end = segment::scan(segment, previous.as_ref(), segment == last, &mut |record| match record
            .head
            .record
            .cmp(&indexed.record)
        {
            Ordering::Less => Ok(()),
            Ordering::Equal if record.head.hash == indexed.hash => Ok(()),
            Ordering::Equal => {
                let (folder, record) = (folder.to_owned(), indexed.record);
                Err(JournalError::OtherHistory { folder, record }.into())
            }
            Ordering::Greater => visit(record),
        })?;
        previous = Some(end.head);
    }
    if end.head.record < indexed.record {
        let (folder, journal, index) = (folder.to_owned(), end.head.record, indexed.record);
        return Err(JournalError::RecordsMissing { folder, journal, index }.into());
    }
    Ok((end, last.path.clone()))
}

fn create_folder(folder: &Path) -> Result<(), JournalError> {
    use std::os::unix::fs::DirBuilderExt as _;
    if folder.is_dir() {
        return Ok(());
    }
    let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).and_then(|()| {
        // The folder's own name must last through a crash too.
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    });
    created.map_err(|source| JournalError::Io { doing: "create", path: folder.to_owned(), source })
}

fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let io = |source| JournalError::Io { doing: "lock", path: path.clone(), source };
    let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The segments in `folder` in their order. Begun ones that never got their name are left alone.
fn segments(folder: &Path) -> Result<Vec<Segment>, JournalError> {
    let io = |source| JournalError::Io { doing: "list", path: folder.to_owned(), source };
    let mut segments = Vec::new();
    for file in fs::read_dir(folder).map_err(io)? {
        let name = file.map_err(io)?.file_name();
        segments.extend(name.to_str().and_then(|name| Segment::of(folder, name)));
    }
    if let Some(archive) = copy::archive_of(folder)? {
        let io = |source| JournalError::Io { doing: "list the segments put away in", path: archive.clone(), source };
        for file in fs::read_dir(&archive).map_err(io)? {
            let name = file.map_err(io)?.file_name();
            let segment = name.to_str().and_then(|name| Segment::of(&archive, name));
            // One that is in both places was being put away when something stopped it.
            segments
                .extend(segment.filter(|segment| segments.iter().all(|here: &Segment| here.first != segment.first)));
        }
    }
    segments.sort_by_key(|segment| segment.first);
    Ok(segments)
}

/// Creates the segment after `previous`. It appears with its header or not at all.
fn create_segment(
    folder: &Path,
    previous: &Head,
    hook: Option<&FaultHook>,
) -> Result<(PathBuf, File, u64), JournalError> {
    let path = folder.join(segment::name(previous.record + 1));
    let begun = folder.join("begun");
    let header = segment::header(previous);
    let call_hook = |place: &str| hook.iter().for_each(|hook| hook(place));
    let created = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(true).read(true).write(true).mode(0o600).open(&begun)?;
        call_hook("bank:before-segment");
        file.write_all(header.as_bytes())?;
        file.sync_all()?;
        fs::rename(&begun, &path)?;
        File::open(folder)?.sync_all()?;
        call_hook("bank:after-segment");
        Ok(file)
    })();
    let file = created.map_err(|source| JournalError::Io { doing: "create", path: path.clone(), source })?;
    Ok((path, file, header.len() as u64))
}
