//! The rules for the interfaces of domains, as a text for `nft`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use sha2::{Digest as _, Sha256};

use crate::spec::MacAddress;
use crate::storage::Interface;

/// Every interface of ours on this machine begins like this, and none of anybody else's should.
const PREFIX: &str = "ty-";
/// What may come at once above the bandwidth: a quarter of what comes in a second.
const BURST_PART: u64 = 4;
/// The least of that, in bytes: what one large piece may have that is divided into packets only further on.
const BURST_BYTES_MIN: u64 = 128 << 10;

/// The device of an interface on this machine, at most 15 bytes, as Linux wants it: it follows from the hardware address.
pub fn device_name(mac: MacAddress) -> String {
    format!("{PREFIX}{}", mac.to_string().replace(':', ""))
}

/// The rules for these interfaces: what each may send, and how much each way. `reserved` are the addresses that no domain
/// has, those of this machine and the gateways.
pub(super) fn write(interfaces: &[Interface], reserved: &BTreeSet<Ipv4Addr>) -> String {
    let body = body(interfaces, reserved);
    let forwards = forwards(interfaces);
    let digest = Sha256::digest(format!("{body}{forwards}"));
    let mark: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    // The second line needs a table that is there.
    format!(
        "# Written by Tycoon, anew with every domain; what is changed here is lost.\n\
         table bridge tycoon {{ }}\ndelete table bridge tycoon\ntable bridge tycoon {{\n    comment \"{mark}\"\n{body}}}\n\
         table ip tycoon {{ }}\ndelete table ip tycoon\ntable ip tycoon {{\n    comment \"{mark}\"\n{forwards}}}\n"
    )
}

/// Ports of this machine that lead to domains, from wherever they are asked for: from the network, from this machine, and
/// from any domain, the one that they lead to among them. What is answered has to come back this way, so that the
/// domain sees this machine as who asks.
fn forwards(interfaces: &[Interface]) -> String {
    let mut ways: BTreeMap<u16, SocketAddrV4> = BTreeMap::new();
    for interface in interfaces {
        for forward in &interface.forwards {
            let to = interface.address.map(|address| SocketAddrV4::new(address, forward.to));
            to.map(|to| ways.entry(forward.port).or_insert(to));
        }
    }
    let mut text = String::new();
    for (name, hook) in [("from-others", "prerouting"), ("from-here", "output")] {
        let _ = writeln!(text, "    chain {name} {{\n        type nat hook {hook} priority -100; policy accept;");
        for (port, to) in &ways {
            let _ = writeln!(
                text,
                "        fib daddr type local ip daddr != 127.0.0.0/8 tcp dport {port} counter dnat to {to}"
            );
        }
        text.push_str("    }\n");
    }
    text.push_str("    chain back {\n        type nat hook postrouting priority 100; policy accept;\n");
    let targets: BTreeSet<SocketAddrV4> = ways.values().copied().collect();
    for to in targets {
        let (address, port) = (to.ip(), to.port());
        let _ = writeln!(text, "        ct status dnat ip daddr {address} tcp dport {port} masquerade");
    }
    text.push_str("    }\n");
    text
}

/// What the kernel's table says of itself where these rules are in force.
pub(super) fn mark(rules: &str) -> Option<&str> {
    rules.lines().map(str::trim).find(|line| line.starts_with("comment "))
}

fn body(interfaces: &[Interface], reserved: &BTreeSet<Ipv4Addr>) -> String {
    let device = |interface: &Interface| format!("\"{}\"", device_name(interface.mac));
    let pairs = |of: &dyn Fn(&Interface) -> Vec<String>| -> Vec<String> {
        interfaces
            .iter()
            .flat_map(|it| of(it).into_iter().map(move |other| format!("{} . {other}", device(it))))
            .collect()
    };
    let taken = |asking: &Interface| {
        let others = interfaces.iter().filter(|it| it.bridge == asking.bridge).filter_map(|it| it.address);
        let all: BTreeSet<Ipv4Addr> = others.chain(reserved.iter().copied()).collect();
        all.iter().map(ToString::to_string).collect()
    };
    let asks = |interface: &&Interface| interface.address.is_none();

    let mut text = String::new();
    set(&mut text, "hardware", "ifname . ether_addr", &pairs(&|it| vec![it.mac.to_string()]));
    set(&mut text, "cards", "ether_addr", &interfaces.iter().map(|it| it.mac.to_string()).collect::<Vec<_>>());
    set(
        &mut text,
        "addresses",
        "ifname . ipv4_addr",
        &pairs(&|it| it.address.iter().map(ToString::to_string).collect()),
    );
    set(&mut text, "asking", "ifname", &interfaces.iter().filter(asks).map(device).collect::<Vec<_>>());
    set(&mut text, "taken", "ifname . ipv4_addr", &pairs(&|it| if asks(&it) { taken(it) } else { Vec::new() }));
    // One whose device has not got its name would be bound by nothing.
    let _ = write!(
        text,
        "    chain from-domains {{
        type filter hook prerouting priority -300; policy accept;
        iifname \"vif*\" ether saddr @cards counter drop
        iifname != \"{PREFIX}*\" accept
        iifname . ether saddr != @hardware counter drop
        ether type arp goto arp-of-domains
        ether type ip goto ipv4-of-domains
        counter drop
    }}
    chain arp-of-domains {{
        iifname . arp saddr ether != @hardware counter drop
        arp saddr ip 0.0.0.0 accept
        iifname . arp saddr ip @addresses accept
        iifname @asking iifname . arp saddr ip != @taken accept
        counter drop
    }}
    chain ipv4-of-domains {{
        udp sport 67 counter drop
        ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept
        iifname . ip saddr @addresses goto bandwidth-out
        iifname @asking iifname . ip saddr != @taken goto bandwidth-out
        counter drop
    }}
"
    );
    bandwidth(&mut text, "bandwidth-out", "iifname", interfaces, "");
    let hook = "        type filter hook postrouting priority 300; policy accept;\n";
    bandwidth(&mut text, "bandwidth-in", "oifname", interfaces, hook);
    text
}

fn set(text: &mut String, name: &str, kind: &str, elements: &[String]) {
    let _ = write!(text, "    set {name} {{ type {kind};");
    // An empty list is an error to `nft`.
    if !elements.is_empty() {
        let _ = write!(text, " elements = {{ {} }}", elements.join(", "));
    }
    text.push_str(" }\n");
}

/// A chain that drops what is more than the bandwidth of the interface.
fn bandwidth(text: &mut String, name: &str, direction: &str, interfaces: &[Interface], hook: &str) {
    let _ = writeln!(text, "    chain {name} {{");
    text.push_str(hook);
    for interface in interfaces {
        let Some(bits) = interface.bandwidth else { continue };
        let bytes = (bits / 8).max(1);
        let burst = (bytes / BURST_PART).max(BURST_BYTES_MIN);
        let device = device_name(interface.mac);
        let _ = writeln!(
            text,
            "        {direction} \"{device}\" limit rate over {bytes} bytes/second burst {burst} bytes counter drop"
        );
    }
    text.push_str("    }\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::PortForward;

    fn interface(number: u32, address: Option<[u8; 4]>, bandwidth: Option<u64>) -> Interface {
        Interface {
            name: "eth0".into(),
            mac: MacAddress::of_xen(number),
            bridge: "xenbr0".into(),
            address: address.map(Ipv4Addr::from),
            bandwidth,
            forwards: Vec::new(),
        }
    }

    #[test]
    fn a_device_has_a_name_that_linux_takes() {
        assert_eq!(device_name(MacAddress::of_xen(0x00ab_cdef)), "ty-00163eabcdef");
        assert_eq!(device_name(MacAddress::of_xen(1)).len(), 15);
    }

    #[test]
    fn the_rules_bind_every_interface() {
        let interfaces = [
            interface(1, Some([10, 0, 0, 5]), Some(8_000_000)),
            interface(2, None, None),
            Interface {
                bridge: "other".into(),
                forwards: vec![PortForward { port: 2222, to: 22 }],
                ..interface(3, Some([10, 0, 0, 6]), None)
            },
        ];
        let reserved = BTreeSet::from([Ipv4Addr::new(10, 0, 0, 1)]);
        insta::assert_snapshot!(write(&interfaces, &reserved));
    }

    #[test]
    fn other_rules_have_another_mark() {
        let one = write(&[interface(1, None, None)], &BTreeSet::new());
        let other = write(&[interface(1, None, Some(1))], &BTreeSet::new());
        assert!(mark(&one).is_some() && mark(&one) != mark(&other), "{one}");
        assert_eq!(mark(&one), mark(&write(&[interface(1, None, None)], &BTreeSet::new())));
    }
}
