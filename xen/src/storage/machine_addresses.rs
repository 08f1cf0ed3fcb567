//! The addresses that belong to the machine and to its gateways, from the tables of the kernel.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::Ipv4Addr;

use super::failed;
use crate::hypervisor::HypervisorError;

/// The addresses of this machine, and none where the kernel shows none.
pub(super) fn own_addresses() -> Result<BTreeSet<Ipv4Addr>, HypervisorError> {
    table("/proc/net/fib_trie").map(|table| local_addresses(&table))
}

/// The addresses of this machine and of the gateways that it knows.
pub(crate) fn addresses_of_the_machine() -> Result<BTreeSet<Ipv4Addr>, HypervisorError> {
    let mut addresses = own_addresses()?;
    addresses.extend(gateways(&table("/proc/net/route")?));
    Ok(addresses)
}

fn table(path: &str) -> Result<String, HypervisorError> {
    match fs::read_to_string(path) {
        Ok(table) => Ok(table),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(failed("looking at the addresses of this host", format!("{path}: {error}"))),
    }
}

/// The addresses that the kernel's table calls its own.
fn local_addresses(table: &str) -> BTreeSet<Ipv4Addr> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let pairs = lines.windows(2).filter(|pair| pair[1].contains("/32 host LOCAL"));
    pairs.filter_map(|pair| pair[0].strip_prefix("|-- ")?.parse().ok()).collect()
}

/// The gateways in the kernel's table of routes: its third column, in hexadecimal as the machine keeps numbers.
fn gateways(table: &str) -> BTreeSet<Ipv4Addr> {
    let column = |line: &str| u32::from_str_radix(line.split_ascii_whitespace().nth(2)?, 16).ok();
    let addresses = table.lines().skip(1).filter_map(column).map(|number| Ipv4Addr::from(number.to_ne_bytes()));
    addresses.filter(|address| !address.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_the_host_are_read_from_the_kernel_s_table() {
        let table = "Local:\n  +-- 0.0.0.0/0 2 0 2\n     |-- 10.77.0.1\n        /32 host LOCAL\n     |-- 10.77.0.255\n        \
                     /32 link BROADCAST\n";
        assert_eq!(local_addresses(table), BTreeSet::from([Ipv4Addr::new(10, 77, 0, 1)]));
    }

    #[test]
    fn gateways_are_read_from_the_kernel_s_table() {
        let gateway = format!("{:08X}", u32::from_ne_bytes([10, 77, 0, 254]));
        let table =
            format!("Iface\tDestination\tGateway\nxenbr0\t00000000\t{gateway}\t0003\nxenbr0\t0000000A\t00000000\n");
        assert_eq!(gateways(&table), BTreeSet::from([Ipv4Addr::new(10, 77, 0, 254)]));
    }
}
