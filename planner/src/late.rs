//! Texts with values that are known only once other domains run: they get gaps, which are filled when the domain is made.

use std::collections::BTreeMap;

use tycoon_lang::condition::Piece;
use tycoon_lang::pool::{CloudInit as Described, Pool};
use tycoon_lang::value::Value;
use tycoon_xen::spec::{CloudInit, DomainPath};

/// What an address is called: `eth0.ip` of a domain.
const ADDRESS: &str = "ip";

/// The addresses that hosts will tell: of each domain of a pool, that of its first interface.
pub struct Addresses<'a> {
    pool: &'a Pool,
    first: BTreeMap<&'a str, &'a str>,
}

impl<'a> Addresses<'a> {
    /// Those of the domains of a pool.
    pub fn of(pool: &'a Pool) -> Self {
        let first = pool.domains.iter().filter_map(|domain| Some((&*domain.path, &*domain.nics.first()?.name)));
        Self { pool, first: first.collect() }
    }

    /// The path inside the pool, where it is one of them.
    fn find<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.strip_prefix(self.pool.name.as_str())?.strip_prefix('.')?;
        let (domain, nic) = owner(path)?;
        (self.first.get(domain) == Some(&nic)).then_some(path)
    }
}

/// Turns the texts of one domain into texts with gaps.
pub struct Late<'a> {
    addresses: &'a Addresses<'a>,
    gaps: BTreeMap<String, Option<String>>,
}

impl<'a> Late<'a> {
    /// For a domain of the pool with these addresses.
    pub const fn of(addresses: &'a Addresses<'a>) -> Self {
        Self { addresses, gaps: BTreeMap::new() }
    }

    /// The text, with gaps where it is live; `None` where what is live can be no gap: only addresses of first interfaces are
    /// told by hosts, and only filling in is left to them.
    pub fn text(&mut self, value: &Value) -> Option<String> {
        let Value::Live(live) = value else { return value.as_text().map(str::to_owned) };
        let mut text = String::new();
        for piece in live.expression.pieces()? {
            match piece {
                Piece::Text(known) => text.push_str(&known),
                Piece::Read(path) => {
                    let path = self.addresses.find(&path)?;
                    text.push_str(&CloudInit::gap(path));
                    self.gaps.insert(path.to_owned(), None);
                }
            }
        }
        Some(text)
    }

    /// All gaps, empty.
    pub fn into_gaps(self) -> BTreeMap<String, Option<String>> {
        self.gaps
    }
}

/// Whose address a gap is for: the domain's path, and its interface.
fn owner(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix(ADDRESS)?.strip_suffix('.')?.rsplit_once('.')
}

/// The domain whose address stands in a gap.
pub fn domain_of(path: &str) -> Option<DomainPath> {
    owner(path)?.0.parse().ok()
}

/// True where all live texts of the first start can have gaps.
pub fn can_wait(addresses: &Addresses<'_>, seed: &Described) -> bool {
    let mut late = Late::of(addresses);
    let words = seed.files.iter().map(|file| &file.content).chain(seed.commands.iter().flatten());
    words.into_iter().all(|value| late.text(value).is_some())
}
