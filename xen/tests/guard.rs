//! The rules for the interfaces of domains, on a bridge with two guests in network namespaces of the test's own. A guest is
//! root in its own machine: it takes what addresses it likes, and the rules decide what comes of it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use tycoon_xen::guard::{Guard, device_name};
use tycoon_xen::spec::{MacAddress, PortForward};
use tycoon_xen::storage::Interface;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const BOUND: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const ASKING: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 3);
const FREE: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 9);

/// A host with a bridge, a guest that has an address, and one that asks for it. All of it goes with the test.
struct Bridge {
    name: String,
    folder: tempfile::TempDir,
}

impl Bridge {
    /// `None`, and it is said why, where none can be made.
    fn make(test: &str) -> Option<Self> {
        let name = format!("ty-{test}-{}", std::process::id());
        if !rustix::process::geteuid().is_root() || !runs("nft", &["-v"]) || !runs("ip", &["netns", "add", &name]) {
            eprintln!("SKIPPED: network namespaces with nft need root, iproute2 and nftables");
            return None;
        }
        let bridge = Self { name, folder: tempfile::tempdir().unwrap() };
        bridge.host("link set lo up");
        bridge.host("link add br0 type bridge");
        bridge.host(&format!("addr add {HOST}/24 dev br0"));
        bridge.host("link set br0 up");
        for (guest, address) in [(1, BOUND), (2, ASKING)] {
            let space = bridge.guest(guest);
            assert!(runs("ip", &["netns", "add", &space]));
            let (device, mac) = (device_name(mac(guest)), mac(guest));
            bridge.host(&format!("link add {device} type veth peer name eth0 address {mac} netns {space}"));
            bridge.host(&format!("link set {device} master br0 up"));
            bridge.inside(guest, "link set lo up");
            bridge.inside(guest, "link set eth0 up");
            bridge.inside(guest, &format!("addr add {address}/24 dev eth0"));
        }
        Some(bridge)
    }

    fn guest(&self, guest: u32) -> String {
        format!("{}-{guest}", self.name)
    }

    fn host(&self, command: &str) {
        ip(&self.name, command);
    }

    fn inside(&self, guest: u32, command: &str) {
        ip(&self.guest(guest), command);
    }

    /// Puts the rules for the two guests in force, both with this bandwidth.
    fn guard(&self, bandwidth: Option<u64>) {
        self.guard_with(bandwidth, Vec::new());
    }

    /// The same, with ports of the host that lead to the first guest.
    fn guard_with(&self, bandwidth: Option<u64>, forwards: Vec<PortForward>) {
        let interface = |guest, address, forwards| Interface {
            name: "eth0".into(),
            mac: mac(guest),
            bridge: "br0".into(),
            address,
            bandwidth,
            forwards,
        };
        let interfaces = vec![interface(1, Some(BOUND), forwards), interface(2, None, Vec::new())];
        within(&self.name, || Guard::new(self.folder.path()).put(|| Ok(interfaces)).unwrap());
    }

    /// How many of `count` datagrams of `bytes` bytes from a guest, from this address and port, come to the host.
    fn arrive(&self, guest: u32, from: (Ipv4Addr, u16), to_port: u16, count: usize, bytes: usize) -> usize {
        let host = within(&self.name, || UdpSocket::bind((HOST, to_port)).unwrap());
        let sender = within(&self.guest(guest), || UdpSocket::bind(from).unwrap());
        pass(&sender, &host, (HOST, to_port).into(), count, bytes)
    }

    /// True where something sent from this address comes to the host. Nobody remembers who had which hardware address.
    fn comes_through(&self, guest: u32, address: Ipv4Addr) -> bool {
        self.host("neigh flush all");
        self.inside(guest, "neigh flush all");
        self.arrive(guest, (address, 5000), 6000, 3, 10) > 0
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        for space in [self.guest(1), self.guest(2), self.name.clone()] {
            runs("ip", &["netns", "del", &space]);
        }
    }
}

fn mac(guest: u32) -> MacAddress {
    MacAddress::of_xen(guest)
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn ip(space: &str, command: &str) {
    let status = Command::new("ip").args(["-n", space]).args(command.split(' ')).status();
    assert!(status.unwrap().success(), "{space}: ip {command}");
}

/// Does something in a namespace: sockets that are made there stay there.
fn within<T: Send>(space: &str, work: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{space}");
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            let space = File::open(path).unwrap();
            move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// How many datagrams arrive.
fn pass(sender: &UdpSocket, receiver: &UdpSocket, to: SocketAddr, count: usize, bytes: usize) -> usize {
    receiver.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    thread::scope(|scope| {
        let arrived = scope.spawn(move || {
            let mut buffer = vec![0; bytes];
            (0..count).take_while(|_| receiver.recv_from(&mut buffer).is_ok()).count()
        });
        for number in 0..count {
            // One to whom no way is found is one that does not arrive.
            let _ = sender.send_to(&vec![0; bytes], to);
            if number % 20 == 0 {
                // The receiver keeps only so many that it has not read.
                thread::sleep(Duration::from_millis(1));
            }
        }
        arrived.join().unwrap()
    })
}

#[test]
fn a_guest_has_its_own_addresses_and_no_others() {
    let Some(bridge) = Bridge::make("own") else { return };
    bridge.inside(1, &format!("addr add {FREE}/32 dev eth0"));
    bridge.inside(2, &format!("addr add {FREE}/32 dev eth0"));
    bridge.inside(2, &format!("addr add {BOUND}/32 dev eth0"));
    assert!(bridge.comes_through(1, FREE), "nothing is bound before there are rules");
    bridge.guard(None);
    assert!(bridge.comes_through(1, BOUND), "its own address");
    assert!(!bridge.comes_through(1, FREE), "one that nobody has is not its own");
    assert!(bridge.comes_through(2, ASKING), "the address that a DHCP server gave");
    assert!(bridge.comes_through(2, FREE), "which may be any free one");
    assert!(!bridge.comes_through(2, BOUND), "but not the other guest's");
    bridge.inside(2, &format!("addr del {BOUND}/32 dev eth0"));

    bridge.inside(1, "link set eth0 address 00:16:3e:00:00:77");
    assert!(!bridge.comes_through(1, BOUND), "another hardware address");
    bridge.inside(1, &format!("link set eth0 address {}", mac(2)));
    assert!(!bridge.comes_through(1, BOUND), "the other guest's hardware address");
    bridge.inside(1, &format!("link set eth0 address {}", mac(1)));
    assert!(bridge.comes_through(1, BOUND), "its own again");
}

#[test]
fn a_guest_asks_a_dhcp_server_and_is_none() {
    let Some(bridge) = Bridge::make("dhcp") else { return };
    bridge.guard(None);
    assert_eq!(bridge.arrive(1, (BOUND, 68), 67, 1, 300), 1, "a question");
    assert_eq!(bridge.arrive(1, (BOUND, 67), 68, 1, 300), 0, "an answer");
    assert_eq!(bridge.arrive(2, (ASKING, 67), 68, 1, 300), 0, "an answer of the other");
}

#[test]
fn bandwidth_holds_in_both_directions() {
    let Some(bridge) = Bridge::make("rate") else { return };
    let (count, bytes) = (600, 1000);
    bridge.guard(None);
    assert!(bridge.comes_through(1, BOUND));
    assert_eq!(bridge.arrive(1, (BOUND, 5000), 6000, 100, bytes), 100, "without a limit all arrive");
    // 80 kB a second, and 128 KiB at once.
    bridge.guard(Some(640_000));
    let out = bridge.arrive(1, (BOUND, 5000), 6000, count, bytes);
    let host = within(&bridge.name, || UdpSocket::bind((HOST, 5000)).unwrap());
    let guest = within(&bridge.guest(1), || UdpSocket::bind((BOUND, 6000)).unwrap());
    let inward = pass(&host, &guest, (BOUND, 6000).into(), count, bytes);
    for (direction, arrived) in [("out", out), ("in", inward)] {
        assert!((100..300).contains(&arrived), "{arrived} of {count} went {direction}");
    }
}

#[test]
fn rules_that_somebody_took_away_come_back() {
    let Some(bridge) = Bridge::make("back") else { return };
    bridge.inside(1, &format!("addr add {FREE}/32 dev eth0"));
    bridge.guard(None);
    within(&bridge.name, || assert!(runs("nft", &["delete", "table", "bridge", "tycoon"])));
    assert!(bridge.comes_through(1, FREE));
    bridge.guard(None);
    assert!(!bridge.comes_through(1, FREE));
    assert!(bridge.comes_through(1, BOUND));
}

/// A port of the host leads to a guest, from wherever it is asked for: from the guest itself, from its neighbour, and from the
/// host. Nothing else is led anywhere, and a port that leads nowhere any more does not.
#[test]
fn a_port_of_the_host_leads_to_a_guest_also_from_itself() {
    let Some(bridge) = Bridge::make("port") else { return };
    // A file of the kernel's that tells of the namespace of whoever opens it.
    within(&bridge.name, || std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    let listening = within(&bridge.guest(1), || TcpListener::bind((BOUND, 22)).unwrap());
    let answering = thread::spawn(move || {
        while let Ok((mut asked, _)) = listening.accept() {
            let mut question = [0; 4];
            if asked.read_exact(&mut question).is_ok() {
                let _ = asked.write_all(b"here");
            }
            if &question == b"last" {
                break;
            }
        }
    });
    let asks = |space: &str, port: u16, question: &[u8]| {
        within(space, || {
            let way = TcpStream::connect_timeout(&(HOST, port).into(), Duration::from_secs(3));
            let Ok(mut way) = way else { return false };
            way.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
            let mut answer = [0; 4];
            way.write_all(question).is_ok() && way.read_exact(&mut answer).is_ok() && &answer == b"here"
        })
    };
    bridge.guard(None);
    assert!(!asks(&bridge.guest(2), 2222, b"asks"), "nothing leads there yet");
    bridge.guard_with(None, vec![PortForward { port: 2222, to: 22 }]);
    for space in [bridge.guest(2), bridge.guest(1), bridge.name.clone()] {
        assert!(asks(&space, 2222, b"asks"), "from {space}");
        assert!(!asks(&space, 2223, b"asks"), "another port, from {space}");
    }
    bridge.guard(None);
    assert!(!asks(&bridge.guest(2), 2222, b"asks"), "it leads nowhere any more");
    bridge.guard_with(None, vec![PortForward { port: 80, to: 22 }]);
    assert!(asks(&bridge.guest(1), 80, b"last"));
    answering.join().unwrap();
}
