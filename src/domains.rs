//! Domains on the command line: `POOL/DOMAIN`, such as `hello/web.0`.

use std::str::FromStr;

use tycoon_executor::link::SiteHost;
use tycoon_executor::status::{PoolDomains, pool_domains};
use tycoon_market::PoolName;
use tycoon_xen::spec::DomainPath;
use tycoon_xen::status::DomainStatus;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::site::Session;

/// A domain as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainName {
    /// Its pool.
    pub pool: PoolName,
    /// Its path in the pool; the only domain of the pool where there is none.
    pub path: Option<DomainPath>,
}

impl FromStr for DomainName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pool, path) = match text.split_once('/') {
            Some((pool, path)) => (pool, Some(path)),
            None => (text, None),
        };
        Ok(Self {
            pool: pool.parse().map_err(|error| format!("{error}; write POOL/DOMAIN, for example hello/web.0"))?,
            path: path.map(str::parse).transpose().map_err(|error| format!("{error}"))?,
        })
    }
}

/// A domain and the host it is on.
pub struct Found {
    /// The host.
    pub host: SiteHost,
    /// The domain.
    pub domain: DomainStatus,
}

/// Looks for a domain on all hosts, also on those that have left the site.
pub fn find(session: &Session, wanted: &DomainName, output: &Output) -> Result<Found, Failure> {
    let history = session.history(&wanted.pool, output);
    let asked = pool_domains(&*session.site(), &wanted.pool, &history);
    let PoolDomains { found, unknown } = asked.map_err(|error| Failure::from_executor(error, None))?;
    let is_there = |found: &Found| found.domain.kept.is_none();
    let found = found.into_iter().map(|(host, domain)| Found { host, domain }).filter(is_there);
    let found: Vec<Found> = found.collect();
    let silent: Vec<String> = unknown.iter().map(|(host, why)| format!("{host} {why}")).collect();
    let path_of = |found: &Found| found.domain.ownership.as_ref().map(|own| own.path.clone());
    let mut paths: Vec<DomainPath> = found.iter().filter_map(path_of).collect();
    paths.sort_by(|a, b| a.natural_order().cmp(&b.natural_order()));
    let path = match (&wanted.path, &paths[..]) {
        (Some(path), _) => path.clone(),
        (None, [only]) => only.clone(),
        (None, several) => {
            let count = several.len();
            let message = match count {
                0 => format!("the pool `{}` has no domain", wanted.pool),
                _ => format!("the pool `{}` has {count} domains", wanted.pool),
            };
            return Err(Failure::new(Exit::Failed, message).help(help(&wanted.pool, &paths, &silent)));
        }
    };
    found.into_iter().find(|found| path_of(found).as_ref() == Some(&path)).ok_or_else(|| {
        let message = format!("there is no domain `{path}` in the pool `{}`", wanted.pool);
        Failure::new(Exit::Failed, message).help(help(&wanted.pool, &paths, &silent))
    })
}

fn help(pool: &PoolName, paths: &[DomainPath], silent: &[String]) -> String {
    const SHOWN_MAX: usize = 8;
    let shown: Vec<String> = paths.iter().take(SHOWN_MAX).map(|path| format!("{pool}/{path}")).collect();
    let more = if paths.len() > SHOWN_MAX { ", …" } else { "" };
    let mut text = if shown.is_empty() {
        "`tycoon ls` lists your pools; `tycoon up FILE` brings one up".to_owned()
    } else {
        format!("choose {}{more}", shown.join(", "))
    };
    for host in silent {
        text.push_str("; ");
        text.push_str(host);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_named_by_pool_and_path() {
        let name: DomainName = "hello/web.0".parse().unwrap();
        assert_eq!((name.pool.as_str(), name.path.unwrap().as_str()), ("hello", "web.0"));
        let name: DomainName = "hello".parse().unwrap();
        assert_eq!(name.path, None);
        for wrong in ["", "hello/", "/web.0", "hello/../x", "a b/c"] {
            assert!(wrong.parse::<DomainName>().is_err(), "{wrong:?}");
        }
    }
}
