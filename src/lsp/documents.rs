//! The texts that the editor has open, saved or not; what is not open is read from disk.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use lsp_types::{TextDocumentContentChangeEvent, Uri};
use tycoon_lang::{LoadError, Loader};

use crate::description::FileLoader;
use crate::lsp::position::offset;

/// The most documents that are kept open.
const DOCUMENTS_MAX: usize = 1_000;

/// A text that the editor has open.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name as the editor writes it.
    pub uri: Uri,
    /// Its version, counted by the editor.
    pub version: i32,
    /// What is written in it.
    pub text: String,
}

/// The open documents, by their paths.
#[derive(Debug)]
pub struct Documents {
    open: BTreeMap<String, Document>,
    files: FileLoader,
}

impl Documents {
    /// None open; files are read up to this size.
    pub fn new(max_bytes: usize) -> Self {
        Self { open: BTreeMap::new(), files: FileLoader { max_bytes } }
    }

    /// Opens a document; those beyond the limit are read from disk when they are asked for.
    pub fn open(&mut self, document: Document) {
        let path = path_of(&document.uri);
        if self.open.len() < DOCUMENTS_MAX || self.open.contains_key(&path) {
            self.open.insert(path, document);
        }
    }

    /// Closes a document.
    pub fn close(&mut self, uri: &Uri) {
        self.open.remove(&path_of(uri));
    }

    /// Changes a document, piece by piece.
    pub fn change(&mut self, uri: &Uri, version: i32, changes: Vec<TextDocumentContentChangeEvent>) {
        let Some(document) = self.open.get_mut(&path_of(uri)) else { return };
        document.version = version;
        for change in changes {
            match change.range {
                None => document.text = change.text,
                Some(range) => {
                    let start = offset(&document.text, range.start);
                    let end = offset(&document.text, range.end).max(start);
                    document.text.replace_range(start..end, &change.text);
                }
            }
        }
    }

    /// The open document of a name.
    pub fn get(&self, uri: &Uri) -> Option<&Document> {
        self.open.get(&path_of(uri))
    }

    /// The open document of a path.
    pub fn at_path(&self, path: &str) -> Option<&Document> {
        self.open.get(path)
    }

    /// All open documents with their paths.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.open.iter().map(|(path, document)| (path.as_str(), document))
    }
}

impl Loader for Documents {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        match self.open.get(path) {
            Some(document) => Ok(document.text.clone().into_bytes()),
            None => self.files.read(path),
        }
    }
}

/// The path of a name: of `file:///a/b.kdl` it is `/a/b.kdl`; another name is its own.
pub fn path_of(uri: &Uri) -> String {
    let text = uri.as_str();
    let Some(encoded) = text.strip_prefix("file://") else { return text.to_owned() };
    let encoded = encoded.strip_prefix("localhost").unwrap_or(encoded);
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// The name of a path, if it can have one.
pub fn uri_of(path: &str) -> Option<Uri> {
    if !path.starts_with('/') {
        return Uri::from_str(path).ok();
    }
    let mut text = String::from("file://");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    Uri::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_go_both_ways() {
        for path in ["/a/b.kdl", "/with space/é.kdl", "/100%/c#d?.kdl"] {
            let uri = uri_of(path).expect("a name");
            assert!(uri.as_str().is_ascii(), "{}", uri.as_str());
            assert_eq!(path_of(&uri), path);
        }
        let untitled = Uri::from_str("untitled:Untitled-1").expect("a name");
        assert_eq!(path_of(&untitled), "untitled:Untitled-1");
        assert_eq!(uri_of("untitled:Untitled-1"), Some(untitled));
    }
}
