//! What went wrong, in words: for logs, and for callers who cannot see them.

use std::error::Error;
use std::io;

/// An error with all its causes, on one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What is the matter with a disk that did not take something, without naming its files: for callers.
pub fn of_disk(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "its disk is full",
        io::ErrorKind::ReadOnlyFilesystem => "its disk can only be read",
        _ => "its disk does not take anything",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_all_its_causes() {
        let inner = io::Error::other("no cable");
        let error = crate::MarkError::Io { doing: "write", path: "mark".into(), source: inner };
        assert_eq!(with_causes(&error), "cannot write the replay mark mark: no cable");
        assert_eq!(of_disk(&io::ErrorKind::StorageFull.into()), "its disk is full");
    }
}
