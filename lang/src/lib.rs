//! The description language of Tycoon: KDL text in, a checked and resolved pool out.
//!
//! [`load`] reads a description through a [`Loader`], resolves it, and gives a [`Loaded`] with the generic
//! [`tree`] and the typed [`pool`], or a [`Failure`] with every [`Diagnostic`] found. The language is defined in
//! `docs/language.md`; its kinds are written in it, under `std/`.
//!
//! This crate never touches a file system, a clock, the environment or the network, and never panics on what it
//! reads. The stages, each in its module: [`syntax`] (text to statements), `compose` (statements to classes),
//! `evaluate` (classes to instances and values), [`tree`] and [`pool`] (what others see).

pub mod codes;
pub mod condition;
pub mod diagnostic;
pub mod editor;
pub mod explain;
pub mod options;
pub mod pool;
pub mod reference;
pub mod report;
pub mod site;
pub mod source;
pub mod syntax;
pub mod testing;
pub mod tree;
pub mod types;
pub mod value;
pub mod words;

mod compose;
mod evaluate;
mod excerpt;
mod expression;
mod files;
mod load;
pub mod lookup;
pub mod machine;
mod nearest;
mod quantity;
mod resolver;
mod standard;
mod statement;
mod symbol;

pub use condition::{Condition, Environment, EvaluateError};
pub use diagnostic::{Diagnostic, Edit, Label, Severity};
pub use explain::{Explanation, explain};
pub use expression::ast::Operator;
pub use expression::functions::Function;
pub use load::{
    Checked, CheckedPool, Failure, Loaded, LoadedMachine, LoadedSite, check, inspect, load, load_machine, load_site,
};
pub use options::{Options, PARAM_VARIABLE};
pub use quantity::bytes_of;
pub use source::{FileId, LoadError, Loader, MemoryLoader, Source, Sources, Span};
pub use testing::{TestReport, run_tests};
pub use value::Value;
