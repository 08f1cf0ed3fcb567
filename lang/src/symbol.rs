//! Names as small numbers, so that comparing and looking up names costs nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A name that was seen somewhere in the sources. Only meaningful together with its [`Interner`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Symbol(u32);

/// All names of one run.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    names: Vec<Arc<str>>,
    symbols: BTreeMap<Arc<str>, Symbol>,
}

impl Interner {
    /// The symbol of `name`, new or known.
    pub(crate) fn intern(&mut self, name: &str) -> Symbol {
        if let Some(symbol) = self.symbols.get(name) {
            return *symbol;
        }
        let name: Arc<str> = Arc::from(name);
        // A file holds at most 16 MiB and there are at most 1,000 files, so the names fit in 32 bits.
        let symbol = Symbol(self.names.len() as u32);
        self.names.push(Arc::clone(&name));
        self.symbols.insert(name, symbol);
        symbol
    }

    /// The symbol of `name` if it was seen before.
    pub(crate) fn known(&self, name: &str) -> Option<Symbol> {
        self.symbols.get(name).copied()
    }

    /// The text of a symbol.
    pub(crate) fn text(&self, symbol: Symbol) -> &Arc<str> {
        &self.names[symbol.0 as usize]
    }
}
