//! From bytes to statements.
//!
//! `lexer`, `check` and `quotes` run before the KDL parser: they bound the nesting, which would overflow the parser's
//! stack, and explain mistakes in our own words. `read` then lets the `kdl` crate parse what is known to be
//! sound and turns its nodes into statements. `format` prints files from the lexer's tokens, so that
//! nothing a person wrote is lost.

pub(crate) mod check;
pub mod format;
pub(crate) mod lexer;
pub(crate) mod quotes;
pub(crate) mod read;
