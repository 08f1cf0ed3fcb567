//! Expressions: what stands behind `($)`, inside `${…}` and in conditions.
//!
//! [`parser`] reads them, [`operate`] and [`functions`] compute with values, and the resolver
//! (`crate::evaluate`) looks up the names. What touches a live value is kept as [`crate::condition::Residue`].

pub(crate) mod ast;
pub(crate) mod functions;
pub(crate) mod operate;
pub(crate) mod parser;
