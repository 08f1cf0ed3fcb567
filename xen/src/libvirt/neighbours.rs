//! The addresses that other machines of the bridges are known by: how a domain is found whose address the DHCP server
//! of the network gave. The kernel knows only those that this machine has talked with.

use std::fs::File;
use std::io::Read as _;
use std::net::Ipv4Addr;

use crate::storage::Interface;

/// The most of the table that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The kernel's table of IPv4 neighbours, as text. It is read without starting a program, since this happens often.
pub(super) struct Neighbours(String);

impl Neighbours {
    pub(super) fn read() -> Self {
        let mut text = String::new();
        // Without the table no address is found, as on a network that nobody has talked on.
        let _ = File::open("/proc/net/arp").and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
        Self(text)
    }

    /// The address behind the interface, where it is known.
    pub(super) fn address_of(&self, interface: &Interface) -> Option<Ipv4Addr> {
        let mac = interface.mac.to_string();
        self.0.lines().skip(1).find_map(|line| {
            // IP address, hardware type, flags, hardware address, mask, device.
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let &[address, _, flags, found, _, device] = words.as_slice() else { return None };
            let is_complete = u32::from_str_radix(flags.trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 2 != 0);
            let is_it = is_complete && device == interface.bridge && found.eq_ignore_ascii_case(&mac);
            if is_it { address.parse().ok() } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MacAddress;

    #[test]
    fn an_interface_is_found_by_its_hardware_address_on_its_bridge() {
        let table = Neighbours(
            "IP address       HW type     Flags       HW address            Mask     Device\n\
             10.0.0.1         0x1         0x2         00:16:3e:00:00:01     *        eth0\n\
             10.77.0.1        0x1         0x0         00:16:3e:00:00:01     *        xenbr0\n\
             10.77.0.2        0x1         0x2         00:16:3E:00:00:01     *        xenbr0\n\
             nonsense\n"
                .to_owned(),
        );
        let interface = |number| Interface {
            name: "eth0".into(),
            mac: MacAddress::of_xen(number),
            bridge: "xenbr0".into(),
            address: None,
            bandwidth: None,
            forwards: Vec::new(),
        };
        assert_eq!(table.address_of(&interface(1)), Some(Ipv4Addr::new(10, 77, 0, 2)));
        assert_eq!(table.address_of(&interface(2)), None);
    }
}
