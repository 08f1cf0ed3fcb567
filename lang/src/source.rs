//! Source files, places in them, and how they are read.
//!
//! The crate never touches a file system: a [`Loader`] given by the caller reads the main file and its imports.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A file of one run; an index into [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub(crate) u32);

/// A place in a file: the bytes from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    /// A span of `file`.
    pub const fn new(file: FileId, start: usize, end: usize) -> Self {
        Self { file, start, end }
    }

    /// The empty span just behind this one.
    pub const fn after(self) -> Self {
        Self { file: self.file, start: self.end, end: self.end }
    }
}

/// A place for people: line and column count from one, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

/// One file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path by which it was read, for example `pool.kdl`, `lib/cluster.kdl`, or `std:domain` for the library.
    pub name: Arc<str>,
    /// Its text, exactly as read.
    pub text: Arc<str>,
    line_starts: Vec<usize>,
}

impl Source {
    fn new(name: &str, text: Arc<str>) -> Self {
        let line_starts =
            std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1));
        let line_starts = line_starts.collect();
        Self { name: Arc::from(name), text, line_starts }
    }

    /// Line and column of a byte offset; an offset behind the end is the end.
    pub fn position(&self, offset: usize) -> Position {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        Position { line, column: self.text[start..offset].chars().count() + 1 }
    }

    /// The text of a line (from 1) without its line end; empty where there is no such line.
    pub fn line(&self, line: usize) -> &str {
        let Some(start) = line.checked_sub(1).and_then(|index| self.line_starts.get(index)) else { return "" };
        let end = self.line_starts.get(line).map_or(self.text.len(), |next| *next);
        self.text[*start..end].trim_end_matches(['\n', '\r'])
    }
}

/// What the names of the standard library's files begin with. A user's file of such a name is shown as `./std:…`.
pub(crate) const STANDARD: &str = "std:";

/// All files of one run.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Adds a file.
    pub(crate) fn add(&mut self, name: &str, text: Arc<str>) -> FileId {
        // The number of imports is limited far below 2³².
        let id = FileId(self.files.len() as u32);
        self.files.push(Source::new(name, text));
        id
    }

    /// The file of an id of the same run.
    pub fn get(&self, id: FileId) -> &Source {
        &self.files[id.0 as usize]
    }

    /// All files, in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = (FileId, &Source)> {
        self.files.iter().enumerate().map(|(index, source)| (FileId(index as u32), source))
    }

    /// True where a file belongs to the standard library.
    pub fn is_standard(&self, id: FileId) -> bool {
        self.get(id).name.starts_with(STANDARD)
    }

    /// The text of a span.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).text.get(span.start..span.end).unwrap_or("")
    }

    /// `pool.kdl:7:9`.
    pub fn describe(&self, span: Span) -> String {
        let source = self.get(span.file);
        let position = source.position(span.start);
        format!("{}:{}:{}", source.name, position.line, position.column)
    }
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no such file")]
    NotFound,
    /// It is a directory.
    #[error("it is a directory")]
    IsDirectory,
    /// The caller refuses to read it.
    #[error("it may not be read")]
    NotAllowed,
    /// It is larger than the caller reads.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The largest number of bytes that would have been read.
        limit: u64,
    },
    /// Anything else, in the words of the system.
    #[error("{0}")]
    Other(String),
}

/// Reads files for the language. Implemented by the caller, who alone knows about file systems. `Sync`,
/// because the language resolves on a thread of its own with a large stack.
pub trait Loader: Sync {
    /// The bytes of the file at `path`: the path given to [`crate::load`], or an import's path joined to its
    /// importer's and normalised (no `.`, and `..` only in front). The implementation bounds the number of bytes.
    ///
    /// # Errors
    /// A [`LoadError`] that says why the file cannot be read.
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError>;
}

/// Files held in memory, for tests and for the editor.
#[derive(Clone, Debug, Default)]
pub struct MemoryLoader {
    files: BTreeMap<String, Vec<u8>>,
}

impl MemoryLoader {
    /// No files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.files.insert(path.into(), bytes.into());
    }

    /// The same with one file more.
    #[must_use]
    pub fn with(mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        self.insert(path, bytes);
        self
    }
}

impl Loader for MemoryLoader {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        if let Some(bytes) = self.files.get(path) {
            return Ok(bytes.clone());
        }
        let directory = format!("{path}/");
        if self.files.keys().any(|known| known.starts_with(&directory)) {
            return Err(LoadError::IsDirectory);
        }
        Err(LoadError::NotFound)
    }
}

/// A path without `.` and inner `..`, with `/` between its parts. A leading `/` stays.
pub fn normalise_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

/// The directory part of a path: what an import is relative to. Empty for a bare file name.
pub(crate) fn directory_of(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) => "/",
        Some(at) => &path[..at],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_without_a_file_system() {
        for (path, normal) in [
            ("./a.kdl", "a.kdl"),
            ("lib/../a.kdl", "a.kdl"),
            ("../a.kdl", "../a.kdl"),
            ("a/../../b.kdl", "../b.kdl"),
            ("/a/../../b.kdl", "/b.kdl"),
            ("a//b", "a/b"),
        ] {
            assert_eq!(normalise_path(path), normal, "{path}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("x", Arc::from("é a\r\nb"));
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(3), Position { line: 1, column: 3 });
        assert_eq!(source.position(6), Position { line: 2, column: 1 });
        assert_eq!(source.position(99), Position { line: 2, column: 2 });
        assert_eq!((source.line(1), source.line(2), source.line(3)), ("é a", "b", ""));
    }
}
