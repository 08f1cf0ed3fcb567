//! A description as a test sees it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use tycoon_lang::{Diagnostic, Failure, Loaded, MemoryLoader, Options, Value, load};

/// A description that resolves.
pub struct Resolved {
    /// What it resolves to.
    pub loaded: Loaded,
    values: BTreeMap<String, Value>,
}

/// Resolves `pool.kdl` with other files beside it.
pub fn load_files(text: &str, others: &[(&str, &str)], options: &Options) -> Result<Resolved, Failure> {
    let mut loader = MemoryLoader::new().with("pool.kdl", text);
    for (name, text) in others {
        loader.insert(*name, *text);
    }
    let loaded = load("pool.kdl", &loader, options)?;
    let mut values = BTreeMap::new();
    loaded.tree.walk(&mut |path, component| {
        for attribute in component.attributes() {
            values.insert(format!("{path}.{}", attribute.name), attribute.value.clone());
        }
    });
    Ok(Resolved { loaded, values })
}

/// Resolves a description; fails the test where it is not sound.
#[track_caller]
pub fn resolve(text: &str) -> Resolved {
    resolve_with(text, &[])
}

/// Resolves a description with imports.
#[track_caller]
pub fn resolve_with(text: &str, others: &[(&str, &str)]) -> Resolved {
    match load_files(text, others, &Options::default()) {
        Ok(resolved) => resolved,
        Err(failure) => panic!("not sound:\n{}", failure.to_text()),
    }
}

/// The diagnostics of a description that is not sound.
#[track_caller]
pub fn refused(text: &str) -> Vec<Diagnostic> {
    match load_files(text, &[], &Options::default()) {
        Ok(_) => panic!("sound, against expectation"),
        Err(failure) => failure.diagnostics,
    }
}

/// The codes of a description that is not sound, in order.
#[track_caller]
pub fn codes(text: &str) -> Vec<&'static str> {
    refused(text).iter().map(|diagnostic| diagnostic.code).collect()
}

/// Everything that is said about a description that is not sound.
#[track_caller]
pub fn messages(text: &str) -> String {
    match load_files(text, &[], &Options::default()) {
        Ok(_) => panic!("sound, against expectation"),
        Err(failure) => failure.to_text(),
    }
}

impl Resolved {
    /// A value by its path, as text: `p.web.0.memory`.
    #[track_caller]
    pub fn value(&self, path: &str) -> String {
        match self.values.get(path) {
            Some(value) => value.to_string(),
            None => panic!("no `{path}` among {:#?}", self.values.keys().collect::<Vec<_>>()),
        }
    }

    /// The paths of all domains inside the pool.
    pub fn domains(&self) -> Vec<&str> {
        self.loaded.pool.domains.iter().map(|domain| domain.path.as_str()).collect()
    }
}
