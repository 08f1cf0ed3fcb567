//! A network of the test's own: namespaces on one wire, address translation, a forward proxy. It is gone with the test.
#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Namespaces that are connected by a bridge in one of them.
pub struct Network {
    prefix: String,
    places: BTreeSet<String>,
    wires: u32,
    /// The bridge's end of the wire of each place that has joined.
    ports: BTreeMap<String, String>,
}

impl Network {
    /// A network; `None`, and it is said why, where none can be made.
    pub fn make(name: &str) -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root makes network namespaces");
            return None;
        }
        for (program, argument) in [("ip", "-V"), ("nft", "-v")] {
            let found = Command::new(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !found.is_ok_and(|status| status.success()) {
                eprintln!("SKIPPED: `{program}` is not installed");
                return None;
            }
        }
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("tycoon-{name}-{}-{number}", std::process::id());
        let mut network = Self { prefix, places: BTreeSet::new(), wires: 0, ports: BTreeMap::new() };
        if !network.try_place("hub") {
            eprintln!("SKIPPED: no network namespace can be made here");
            return None;
        }
        network.ip("hub", "link add wire type bridge");
        network.ip("hub", "link set wire up");
        Some(network)
    }

    fn space(&self, place: &str) -> String {
        format!("{}-{place}", self.prefix)
    }

    fn try_place(&mut self, place: &str) -> bool {
        if self.places.contains(place) {
            return true;
        }
        let made = Command::new("ip").args(["netns", "add", &self.space(place)]).stderr(Stdio::null()).status();
        let is_made = made.is_ok_and(|status| status.success());
        if is_made {
            self.places.insert(place.to_owned());
            self.ip(place, "link set lo up");
        }
        is_made
    }

    fn ip(&self, place: &str, command: &str) {
        let status = Command::new("ip").arg("-n").arg(self.space(place)).args(command.split(' ')).status();
        assert!(status.expect("ip runs").success(), "{place}: ip {command}");
    }

    fn wire(&mut self, one: &str, other: &str) -> (String, String) {
        assert!(self.try_place(one) && self.try_place(other));
        self.wires += 1;
        let (left, right) = (format!("w{}a", self.wires), format!("w{}b", self.wires));
        let peer = self.space(other);
        self.ip(one, &format!("link add {left} type veth peer name {right} netns {peer}"));
        self.ip(one, &format!("link set {left} up"));
        self.ip(other, &format!("link set {right} up"));
        (left, right)
    }

    /// A place with an address on the common wire.
    pub fn join(&mut self, place: &str, address: &str) {
        let (own, hub) = self.wire(place, "hub");
        self.ip("hub", &format!("link set {hub} master wire"));
        self.ip(place, &format!("link set {own} name outside"));
        self.ip(place, &format!("addr add {address}/24 dev outside"));
        self.ports.insert(place.to_owned(), hub);
    }

    /// Cuts a place off the common wire.
    pub fn cut(&self, place: &str) {
        self.ip("hub", &format!("link set {} down", self.ports[place]));
    }

    /// Puts a place that was cut off on the common wire again.
    pub fn heal(&self, place: &str) {
        self.ip("hub", &format!("link set {} up", self.ports[place]));
    }

    /// From now on what a place sends to an address on the common wire is lost; what comes from there arrives.
    pub fn cut_towards(&self, place: &str, address: &str) {
        // Nobody has this hardware address.
        self.ip(place, &format!("neigh replace {address} lladdr 02:00:00:00:00:01 nud permanent dev outside"));
    }

    /// From now on what a place sends to an address arrives again.
    pub fn heal_towards(&self, place: &str, address: &str) {
        self.ip(place, &format!("neigh del {address} dev outside"));
    }

    /// A private wire between two places; the second leaves by the first.
    pub fn connect(&mut self, gateway: &str, inner: &str, place: &str, address: &str) {
        let (left, right) = self.wire(gateway, place);
        self.ip(gateway, &format!("addr add {inner}/24 dev {left}"));
        self.ip(place, &format!("addr add {address}/24 dev {right}"));
        self.ip(place, &format!("route add default via {inner}"));
    }

    /// One more address of a place on the common wire.
    pub fn address(&mut self, place: &str, address: &str) {
        self.ip(place, &format!("addr add {address}/32 dev outside"));
    }

    /// An address that is on the common wire for a place.
    pub fn route(&mut self, place: &str, address: &str) {
        self.ip(place, &format!("route add {address}/32 dev outside"));
    }

    /// Address translation: what is inside leaves with the address of the gateway, and a port of that leads inside.
    pub fn translate(&mut self, gateway: &str, outer: &str, inner: &str, port: u16) {
        let rules = format!(
            "table ip nat {{
               chain in {{ type nat hook prerouting priority -100; ip daddr {outer} tcp dport {port} dnat to {inner}; }}
               chain out {{ type nat hook postrouting priority 100; oifname \"outside\" masquerade; }}
             }}"
        );
        self.run(gateway, &["nft", "-f", "-"], &rules);
        self.run(gateway, &["sh", "-c", "cat > /proc/sys/net/ipv4/ip_forward"], "1");
    }

    fn run(&self, place: &str, command: &[&str], input: &str) {
        let space = self.space(place);
        let arguments = [&["netns", "exec", space.as_str()], command].concat();
        let mut child = Command::new("ip").args(arguments).stdin(Stdio::piped()).spawn().expect("ip runs");
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
        assert!(child.wait().expect("it ends").success(), "{place}: {command:?}");
    }

    /// Does something in a place: sockets and threads that are made there stay there.
    pub fn within<T: Send>(&self, place: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.space(place));
        thread::scope(|scope| {
            let there = scope.spawn(|| {
                let space = File::open(path).expect("the namespace is there");
                move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may go there");
                work()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for place in &self.places {
            // One that stays is seen by `ip netns`; the others are to go all the same.
            let _ = Command::new("ip").args(["netns", "del", &self.space(place)]).status();
        }
    }
}

/// A forward proxy at port 3128 of all addresses of a place: it knows CONNECT.
pub fn forward_proxy(network: &Network, place: &str) -> SocketAddr {
    network.within(place, || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 3128)).expect("the port is free");
        let address = listener.local_addr().expect("it listens");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || tunnel(stream));
            }
        });
        address
    })
}

fn tunnel(mut client: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 4096 {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let Ok(server) = TcpStream::connect(target) else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").ok();
    };
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let up = thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    up.join().ok()
}
