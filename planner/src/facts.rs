//! A host and a domain as the conditions of a description see them: `host.labels.site == 'cern'`.

use std::sync::Arc;

use tycoon_lang::condition::Environment;
use tycoon_lang::value::Value;
use tycoon_market::{Rate, ResourceKind};
use tycoon_xen::spec::DomainSpec;

use crate::world::{HostView, Offer};

/// The variables `host` and `domain` of a condition.
pub struct Facts<'a> {
    /// The host.
    pub host: &'a HostView,
    /// The domain that may be placed there.
    pub spec: &'a DomainSpec,
}

impl Environment for Facts<'_> {
    fn read(&self, path: &str) -> Option<Value> {
        let (variable, fact) = path.split_once('.')?;
        match variable {
            "host" => self.host(fact),
            "domain" => self.domain(fact),
            _ => None,
        }
    }
}

impl Facts<'_> {
    fn host(&self, fact: &str) -> Option<Value> {
        if let Some(label) = fact.strip_prefix("labels.") {
            return self.host.labels.get(label).map(|value| text(value));
        }
        let offer = |kind| self.host.offers.get(&kind);
        let bytes = |kind, amount: fn(&Offer) -> u64| offer(kind).map(|offer| Value::Bytes(amount(offer)));
        let capacity = |offer: &Offer| offer.capacity.amount();
        let available = |offer: &Offer| offer.available.amount();
        match fact {
            "name" | "address" => Some(text(self.host.name.as_str())),
            "arch" => Some(text(&self.host.architecture)),
            "cpus" => offer(ResourceKind::Cpu).map(|offer| Value::Number(offer.capacity.cpus())),
            "memory" => bytes(ResourceKind::Memory, capacity),
            "disk" => bytes(ResourceKind::Disk, capacity),
            "free-memory" => bytes(ResourceKind::Memory, available),
            "free-disk" => bytes(ResourceKind::Disk, available),
            "network-in" => offer(ResourceKind::NetworkIn).map(|offer| Value::Bandwidth(offer.capacity.amount())),
            "network-out" => offer(ResourceKind::NetworkOut).map(|offer| Value::Bandwidth(offer.capacity.amount())),
            "hypervisor" => Some(text(if self.host.is_simulated { "memory" } else { "xen" })),
            "price" => offer(ResourceKind::Cpu).map(|offer| Value::Rate(price_of_one_cpu(offer))),
            _ => None,
        }
    }

    fn domain(&self, fact: &str) -> Option<Value> {
        match fact {
            "path" | "name" => Some(text(self.spec.path.as_str())),
            "memory" => Some(Value::Bytes(self.spec.memory_bytes)),
            "vcpus" => Some(Value::Integer(i64::from(self.spec.vcpus))),
            "image" => Some(text(&self.spec.image)),
            "hostname" => Some(text(&self.spec.hostname)),
            "disk" => Some(Value::Bytes(self.spec.disk_bytes())),
            _ => None,
        }
    }
}

/// The base price and the others' bids for one CPU.
fn price_of_one_cpu(offer: &Offer) -> Rate {
    let cpus = offer.capacity.cpus().max(f64::MIN_POSITIVE);
    let others = offer.others.picos_per_second() as f64 / cpus;
    Rate::from_picos_per_second(offer.base_price.picos_per_second().saturating_add(others as u64))
}

fn text(value: &str) -> Value {
    Value::Text(Arc::from(value))
}
