//! The editor server: the language server protocol around what [`tycoon_lang::editor`] knows.
//!
//! [`transport`] reads and writes bounded messages, [`server`] is the loop that answers them, [`documents`] holds the
//! editor's unsaved texts and reads what is not open from disk, [`position`] turns bytes into the protocol's lines
//! and UTF-16 columns and back, [`answers`] turns findings into the protocol's words.

pub mod answers;
pub mod documents;
pub mod position;
pub mod server;
pub mod transport;
