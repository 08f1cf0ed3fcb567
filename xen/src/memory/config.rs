//! What a simulated host is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tycoon_market::{Quantity, TimeSpan};

/// The image that every simulated host has.
pub const TINY_IMAGE: &str = "std:tiny";

/// The parameters of a simulated host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryHostConfig {
    /// The architecture it shows: `x86_64`.
    pub architecture: String,
    /// Physical CPUs.
    pub cpus: u32,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// Disk space for volumes in bytes.
    pub disk_bytes: u64,
    /// CPUs that only the control domain runs on.
    pub control_cpus: u32,
    /// The control domain's memory in bytes.
    pub control_memory_bytes: u64,
    /// From start to running.
    pub boot_time: TimeSpan,
    /// From the request to shut down until a guest is gone.
    pub shutdown_time: TimeSpan,
    /// Domains crash so long after their start; `None` where they never do.
    #[serde(default)]
    pub crash_after: Option<TimeSpan>,
    /// What the guests do with the CPU they could have.
    pub demand: Demand,
    /// Makes the demand of each domain; the same seed and name give the same demand on any host.
    pub seed: u64,
    /// The names of the images it can provide, besides [`TINY_IMAGE`].
    pub images: BTreeSet<String>,
    /// Its private network.
    pub network: PrivateNetwork,
}

impl Default for MemoryHostConfig {
    /// A small server: 4 CPUs, 16 GiB of memory and 200 GiB of disk, of which the control domain has 1 GiB of memory.
    fn default() -> Self {
        Self {
            architecture: "x86_64".to_owned(),
            cpus: 4,
            memory_bytes: 16 << 30,
            disk_bytes: 200 << 30,
            control_cpus: 0,
            control_memory_bytes: 1 << 30,
            boot_time: TimeSpan::ZERO,
            shutdown_time: TimeSpan::ZERO,
            crash_after: None,
            demand: Demand::default(),
            seed: 0,
            images: BTreeSet::new(),
            network: PrivateNetwork::numbered(0),
        }
    }
}

impl MemoryHostConfig {
    /// CPU for all domains together.
    pub fn domain_cpus(&self) -> Quantity {
        Quantity::from_cpus(u64::from(self.cpus.saturating_sub(self.control_cpus)))
    }

    /// Memory for all domains together, in bytes.
    pub fn domain_memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_sub(self.control_memory_bytes)
    }

    /// True where the image has a source to come from.
    pub fn provides(&self, image: &str) -> bool {
        image == TINY_IMAGE || self.images.contains(image)
    }

    /// The demand of the domain `name` in millionths of its virtual CPUs.
    pub(super) fn demand_ppm(&self, name: &str) -> u32 {
        let seed = Sha256::new().chain_update(self.seed.to_be_bytes()).chain_update(name).finalize();
        let draw = ChaCha8Rng::from_seed(seed.into()).next_u32();
        let lowest = self.demand.lowest_percent.min(100) * 10_000;
        let highest = (self.demand.highest_percent.min(100) * 10_000).max(lowest);
        lowest + draw % (highest - lowest + 1)
    }
}

/// How busy guests are, in percent of their virtual CPUs. Each domain has one demand between the two for all its
/// life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// The least.
    pub lowest_percent: u32,
    /// The most; at most 100.
    pub highest_percent: u32,
}

impl Demand {
    /// Every guest wants all the CPU it can get.
    pub const FULL: Self = Self { lowest_percent: 100, highest_percent: 100 };
}

impl Default for Demand {
    fn default() -> Self {
        Self { lowest_percent: 60, highest_percent: 100 }
    }
}

/// The private IPv4 network of a host, from which its DHCP serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateNetwork {
    /// The network's address.
    pub base: Ipv4Addr,
    /// The length of its prefix in bits, 8 to 30.
    pub prefix: u8,
}

impl PrivateNetwork {
    /// The network of the `number`th simulated host of a site: `10.64.<number>.0/24` and on, without overlap for
    /// the first 49 152 hosts.
    pub fn numbered(number: u32) -> Self {
        let base = u32::from(Ipv4Addr::new(10, 64, 0, 0)) + ((number % 49_152) << 8);
        Self { base: Ipv4Addr::from(base), prefix: 24 }
    }

    fn first(self) -> u32 {
        u32::from(self.base) & !self.host_mask()
    }

    fn host_mask(self) -> u32 {
        u32::MAX >> self.prefix.clamp(8, 30)
    }

    /// True for the network's own address, its broadcast address and its gateway (the host itself).
    pub fn is_reserved(self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        let first = self.first();
        address == first || address == first + 1 || address == first | self.host_mask()
    }

    /// The lowest free address for a guest, or `None` where all are taken.
    pub(super) fn lowest_free(self, taken: &BTreeMap<Ipv4Addr, &str>) -> Option<Ipv4Addr> {
        let last = self.first() | self.host_mask();
        // At most one step per taken address before a free one is found.
        (self.first() + 2..last).map(Ipv4Addr::from).find(|address| !taken.contains_key(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_a_site_have_networks_of_their_own() {
        assert_eq!(PrivateNetwork::numbered(0).base, Ipv4Addr::new(10, 64, 0, 0));
        assert_eq!(PrivateNetwork::numbered(3).base, Ipv4Addr::new(10, 64, 3, 0));
        assert_eq!(PrivateNetwork::numbered(256).base, Ipv4Addr::new(10, 65, 0, 0));
        assert_eq!(PrivateNetwork::numbered(49_151).base, Ipv4Addr::new(10, 255, 255, 0));
    }

    #[test]
    fn dhcp_serves_every_guest_address_once_and_then_none() {
        let network = PrivateNetwork { base: Ipv4Addr::new(10, 0, 0, 0), prefix: 29 };
        let mut taken = BTreeMap::new();
        while let Some(address) = network.lowest_free(&taken) {
            assert!(!network.is_reserved(address), "{address}");
            taken.insert(address, "guest");
        }
        assert_eq!(taken.len(), 5, "8 addresses less network, gateway and broadcast: {taken:?}");
    }

    #[test]
    fn demand_depends_on_seed_and_name_and_stays_in_its_range() {
        let config = MemoryHostConfig::default();
        assert_eq!(config.demand_ppm("a"), config.demand_ppm("a"));
        assert_ne!(config.demand_ppm("a"), config.demand_ppm("b"));
        assert_ne!(config.demand_ppm("a"), MemoryHostConfig { seed: 1, ..MemoryHostConfig::default() }.demand_ppm("a"));
        for number in 0..200 {
            assert!((600_000..=1_000_000).contains(&config.demand_ppm(&number.to_string())));
        }
    }
}
