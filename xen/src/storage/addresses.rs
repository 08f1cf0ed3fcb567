//! Which address and hardware address each interface gets. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use super::record::{StoredDomain, StoredInterface};
use super::refused;
use crate::hypervisor::HypervisorError;
use crate::machine::{AddressRange, BridgeExport, Machine};
use crate::spec::{Addressing, DomainSpec, MacAddress, NicSpec};

const OPERATION: &str = "giving the domain its addresses";

/// What an address is unique among: the interfaces on one bridge.
type Place = (String, Ipv4Addr);

/// The interfaces of `spec` on this machine. What the domain `name` has already, it keeps; `own` are the addresses of
/// the machine itself.
pub(super) fn assign(
    machine: &Machine,
    own: &BTreeSet<Ipv4Addr>,
    domains: &[StoredDomain],
    name: &str,
    spec: &DomainSpec,
) -> Result<Vec<StoredInterface>, HypervisorError> {
    let before = domains.iter().find(|domain| domain.name == name).map_or(&[][..], |domain| &domain.interfaces);
    let others = || domains.iter().filter(|domain| domain.name != name).flat_map(|domain| &domain.interfaces);
    let nics: Vec<(&NicSpec, &BridgeExport)> =
        spec.nics.iter().map(|nic| Ok((nic, bridge(machine, nic)?))).collect::<Result<_, HypervisorError>>()?;
    let mut taken: BTreeSet<Place> =
        others().filter_map(|other| Some((other.bridge.clone(), other.address?))).collect();
    // Addresses that stand in the spec come first, then those it has, then new ones: each must go round the former.
    for (nic, bridge) in &nics {
        if let Addressing::Static { address, .. } = nic.address
            && (is_reserved(bridge, own, address) || !taken.insert((bridge.device.clone(), address)))
        {
            return Err(HypervisorError::AddressTaken(address));
        }
    }
    let mut addresses: BTreeMap<&str, Ipv4Addr> = BTreeMap::new();
    for (nic, bridge) in &nics {
        let kept = before.iter().find(|it| it.name == nic.name && it.bridge == bridge.device && it.is_lease);
        if let (Addressing::Dhcp, Some(address)) = (&nic.address, kept.and_then(|kept| kept.address)) {
            if !taken.insert((bridge.device.clone(), address)) {
                return Err(HypervisorError::AddressTaken(address));
            }
            addresses.insert(&nic.name, address);
        }
    }
    let mut macs = Macs { taken: others().map(|other| other.mac).collect() };
    // Hardware addresses of the spec come first for the same reason.
    for nic in &spec.nics {
        if let Some(mac) = nic.mac
            && !macs.taken.insert(mac)
        {
            let reason = format!("another interface on this host has the hardware address {mac} of `{}`", nic.name);
            return Err(refused(OPERATION, reason));
        }
    }
    let mut interfaces = Vec::with_capacity(nics.len());
    for (nic, bridge) in nics {
        let (address, is_lease) = match nic.address {
            Addressing::Static { address, .. } => (Some(address), false),
            Addressing::Dhcp => match (addresses.get(nic.name.as_str()), &bridge.addresses) {
                (Some(address), _) => (Some(*address), true),
                (None, Some(range)) => (Some(lowest_free(bridge, range, own, &taken)?), true),
                (None, None) => (None, false),
            },
        };
        if address.is_none() && !nic.forwards.is_empty() {
            let reason = format!(
                "ports of this host cannot lead to `{}`, whose address a DHCP server of the network gives: give it a fixed `ip`",
                nic.name
            );
            return Err(refused(OPERATION, reason));
        }
        taken.extend(address.map(|address| (bridge.device.clone(), address)));
        let kept = before.iter().find(|it| it.name == nic.name).map(|it| it.mac);
        let mac = nic.mac.unwrap_or_else(|| macs.next(kept, name, &nic.name));
        interfaces.push(StoredInterface {
            name: nic.name.clone(),
            mac,
            bridge: bridge.device.clone(),
            address,
            is_lease,
            bandwidth: nic.bandwidth,
            forwards: nic.forwards.clone(),
        });
    }
    Ok(interfaces)
}

/// The bridge an interface is on.
pub(super) fn bridge<'a>(machine: &'a Machine, nic: &NicSpec) -> Result<&'a BridgeExport, HypervisorError> {
    let bridges = &machine.bridges;
    match &nic.bridge {
        None => bridges
            .first()
            .ok_or_else(|| refused(OPERATION, format!("`{}` needs a bridge, and this host exports none", nic.name))),
        Some(name) => bridges.iter().find(|bridge| bridge.name == *name).ok_or_else(|| {
            let names: Vec<&str> = bridges.iter().map(|bridge| bridge.name.as_str()).collect();
            let reason = format!("this host exports no bridge `{name}`; it exports: {}", super::listed(&names));
            refused(OPERATION, reason)
        }),
    }
}

/// Addresses that no domain can have: the machine's own, the gateway, and those that mean the network itself.
fn is_reserved(bridge: &BridgeExport, own: &BTreeSet<Ipv4Addr>, address: Ipv4Addr) -> bool {
    let of_range = bridge.addresses.as_ref().is_some_and(|range| {
        let mask = u32::MAX.checked_shl(32 - u32::from(range.prefix.min(32))).unwrap_or(0);
        let (number, inside) = (u32::from(address), u32::from(address) & mask == u32::from(range.first) & mask);
        let is_edge = range.prefix < 31 && inside && (number & !mask == 0 || number & !mask == !mask);
        range.gateway == Some(address) || is_edge
    });
    of_range || own.contains(&address)
}

fn lowest_free(
    bridge: &BridgeExport,
    range: &AddressRange,
    own: &BTreeSet<Ipv4Addr>,
    taken: &BTreeSet<Place>,
) -> Result<Ipv4Addr, HypervisorError> {
    let is_free =
        |address: &Ipv4Addr| !is_reserved(bridge, own, *address) && !taken.contains(&(bridge.device.clone(), *address));
    let found = (u32::from(range.first)..=u32::from(range.last)).map(Ipv4Addr::from).find(is_free);
    found.ok_or_else(|| HypervisorError::Failed {
        operation: OPERATION.into(),
        reason: format!(
            "all addresses from {} to {} on the bridge `{}` are in use; the host's owner can widen the range",
            range.first, range.last, bridge.name
        ),
    })
}

/// The hardware addresses in use on the host.
struct Macs {
    taken: BTreeSet<MacAddress>,
}

impl Macs {
    /// The kept one, or one that follows from the names, of Xen's range.
    fn next(&mut self, kept: Option<MacAddress>, domain: &str, nic: &str) -> MacAddress {
        let derived = (0_u32..).map(|attempt| {
            let hash = Sha256::new()
                .chain_update((domain.len() as u64).to_be_bytes())
                .chain_update(domain)
                .chain_update(nic)
                .chain_update(attempt.to_be_bytes())
                .finalize();
            MacAddress::of_xen(u32::from_be_bytes([0, hash[0], hash[1], hash[2]]))
        });
        let found = kept.into_iter().chain(derived).find(|mac| self.taken.insert(*mac));
        // 2^32 attempts cannot all meet the few thousand addresses of a host.
        found.unwrap_or_else(|| MacAddress::of_xen(0))
    }
}
