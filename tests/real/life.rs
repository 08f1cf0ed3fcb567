//! A pool's whole life on real hosts.

use std::time::{Duration, Instant};

use crate::lab::{Lab, hello_of};

/// One host: up, again, changed, down; beside a foreign domain that nobody touches.
#[test]
#[ignore = "needs the lab: `make test`"]
fn hello_lives_on_one_host() {
    let lab = Lab::prepared(1, "fast");
    lab.on(1, "/lab/guest create foreign 10.77.0.50");
    let foreign = "virsh domid foreign; lvs --noheadings -o lv_name,lv_size | grep foreign";
    let (before, foreign_before) = (lab.traces(1), lab.on(1, foreign));

    lab.tycoon(&["up", "hello.kdl"]).ok();
    let domains = lab.is_up("hello", 3);
    let names: Vec<String> = lab.running(1).into_iter().filter(|name| name != "foreign").collect();
    assert_eq!(names.len(), 3, "virsh shows the same domains: {names:?}");
    for domain in &domains {
        assert!(
            names.iter().any(|name| name.starts_with(&format!("hello.{}-", domain.path))),
            "{domain:?} in {names:?}"
        );
    }
    // What its seed says: the name, and who may log in.
    let ssh = lab.inside("hello/web.1", "hostname").ok();
    assert_eq!(ssh.stdout.trim(), "web-1");

    let runs = "virsh list | sort";
    let runs_before = lab.on(1, runs);
    lab.tycoon(&["up", "hello.kdl"]).ok().says(&["nothing to do"]);
    assert_eq!(lab.on(1, runs), runs_before, "a second `up` restarts nothing");

    // A shrunk memory is taken while the domain runs; one domain more is one more.
    let changed = hello_of(4).replace("128MiB", "120MiB");
    lab.write("hello.kdl", &changed);
    lab.tycoon(&["plan", "hello.kdl"]).ok().says(&["1 to create, 3 to change", "128 MiB → 120 MiB", "while it runs"]);
    lab.tycoon(&["up", "hello.kdl"]).ok();
    lab.is_up("hello", 4);
    for line in runs_before.lines().filter(|line| line.contains("hello.")) {
        let (id, name) = line.trim().split_once(' ').expect("an id and a name");
        let name = name.split_whitespace().next().expect("a name");
        assert_eq!(lab.on(1, &format!("virsh domid {name}")).trim(), id, "{name} was not restarted");
        let memory = lab.on(1, &format!("for i in $(seq 30); do m=$(virsh dominfo {name} | awk '/^Used memory/ {{ print $3 }}'); [ $m -le 122900 ] && break; done; echo $m"));
        assert!(memory.trim().parse::<u64>().expect("KiB") <= 122_900, "{name} has {memory} KiB");
    }

    lab.tycoon(&["down", "hello"]).ok();
    assert_eq!(lab.traces(1), before, "everything of the pool is gone");
    volumes_outlive_their_domain(&lab);
    an_interface_keeps_to_its_addresses_and_its_bandwidth(&lab);
    assert_eq!(lab.traces(1), before, "what was kept is gone when it is given up");
    assert_eq!(lab.on(1, foreign), foreign_before, "the foreign domain was not touched");
    let left = lab.settled_balance();
    assert!((999_000_000..1_000_000_000).contains(&left), "it cost a little: {left}");
}

/// What a domain wrote on a disk that is kept, the next one of its name reads, also where the disk has grown.
fn volumes_outlive_their_domain(lab: &Lab) {
    let pool = |size: &str| {
        format!(
            "pool shop {{\n    budget 10 for=\"1h\"\n    domain db {{\n        image \"std:tiny\"\n        memory \
             \"128MiB\"\n        keep-volumes always\n        volume data size=\"{size}\"\n    }}\n}}\n"
        )
    };
    lab.write("shop.kdl", &pool("16MiB"));
    lab.tycoon(&["up", "shop.kdl"]).ok();
    lab.inside("shop/db", "echo mine | dd of=/dev/xvdb conv=fsync").ok();
    lab.tycoon(&["down", "shop"]).ok().says(&["KEPT VOLUMES", "data (16 MiB)"]);
    lab.write("shop.kdl", &pool("32MiB"));
    lab.tycoon(&["plan", "shop.kdl"]).ok().says(&["with what was kept of it: root, data", "16 MiB → 32 MiB"]);
    lab.tycoon(&["up", "shop.kdl"]).ok();
    let read = lab.inside("shop/db", "head -c 4 /dev/xvdb; echo; cat /sys/block/xvdb/size").ok();
    assert_eq!(read.stdout.split_whitespace().collect::<Vec<_>>(), ["mine", "65536"]);
    lab.tycoon(&["down", "shop"]).ok();
    lab.tycoon(&["volumes", "remove", "shop"]).ok().says(&["root, data removed"]);
}

/// Root of a domain takes another address and another hardware address, and gets nowhere with them; with its own it goes at its
/// bandwidth, both ways.
fn an_interface_keeps_to_its_addresses_and_its_bandwidth(lab: &Lab) {
    let pool = "pool mask {\n    budget 10 for=\"1h\"\n    domain one {\n        image \"std:tiny\"\n        memory \
                \"128MiB\"\n        eth0 bandwidth=\"1Mbit/s\"\n    }\n}\n";
    lab.write("mask.kdl", pool);
    lab.tycoon(&["up", "mask.kdl"]).ok();
    let domain = lab.is_up("mask", 1).remove(0);
    let host = lab.on(1, "ip -4 -o addr show xenbr0 | awk '{ sub(\"/.*\", \"\", $4); print $4 }'");
    let (host, own) = (host.trim(), &domain.address);
    let as_another = format!(
        "ip addr add 10.77.0.99/32 dev eth0; ping -c 2 -W 2 -I 10.77.0.99 {host} >/dev/null; r=$?; \
         ip addr del 10.77.0.99/32 dev eth0; (exit $r)"
    );
    lab.inside("mask/one", &as_another).ended(1);
    // It comes back to its own before it answers.
    let with_another_card = format!(
        "own=$(cat /sys/class/net/eth0/address); ip link set eth0 down; ip link set eth0 address 00:16:3e:99:99:99; \
         ip link set eth0 up; ping -c 2 -W 2 {host} >/dev/null; r=$?; ip link set eth0 down; \
         ip link set eth0 address $own; ip link set eth0 up; exit $r"
    );
    lab.inside("mask/one", &with_another_card).ended(1);
    lab.inside("mask/one", &format!("ping -c 2 -W 5 -I {own} {host}")).ok();
    // Nothing but the rules is in the way: they are taken away, and brought back by the next look.
    lab.inside("mask/one", &format!("(sleep 8; {as_another}; echo $? >/tmp/said) >/dev/null 2>&1 &")).ok();
    lab.on(1, "nft delete table bridge tycoon; sleep 20");
    lab.inside("mask/one", "grep 0 /tmp/said").ok();
    lab.inside("mask/one", &as_another).ended(1);

    // 512 KiB at 125 kB a second, of which 128 KiB come at once, last three seconds.
    let least = Duration::from_secs(3);
    let begin = Instant::now();
    let out = lab.inside("mask/one", "head -c 524288 /dev/zero | tr '\\0' x").ok();
    assert!(out.stdout.len() >= 524_288 && begin.elapsed() >= least, "out in {:?}", begin.elapsed());
    lab.on(1, &format!("head -c 524288 /dev/zero >/tmp/half; busybox httpd -p {host}:9999 -h /tmp"));
    let begin = Instant::now();
    let came = lab.inside("mask/one", &format!("wget -q -O - http://{host}:9999/half | wc -c")).ok();
    assert_eq!(came.stdout.trim(), "524288");
    assert!(begin.elapsed() >= least, "in within {:?}", begin.elapsed());
    a_port_of_the_host_leads_to_a_domain(lab, pool, host);
    lab.tycoon(&["down", "mask"]).ok();
}

/// A port of the host leads to the domain, which runs: from the host, and from the domain itself. A host that passes nothing on
/// says so, and what is there stays as it is.
fn a_port_of_the_host_leads_to_a_domain(lab: &Lab, pool: &str, host: &str) {
    lab.write("mask.kdl", &pool.replace("bandwidth=\"1Mbit/s\"", "{ forward 2222 to=22; }"));
    lab.on(1, "sysctl -w net.ipv4.ip_forward=0");
    let refused = lab.tycoon(&["up", "mask.kdl"]).says(&["passes no packets on", "net.ipv4.ip_forward=1"]);
    assert!(matches!(refused.code, Some(1 | 4)), "{refused}");
    lab.on(1, "sysctl -w net.ipv4.ip_forward=1");
    lab.tycoon(&["up", "mask.kdl"]).ok();
    // The first that the SSH server inside says.
    let greeting = format!("(sleep 3; echo) | timeout 10 nc {host} 2222 | head -n 1");
    assert!(lab.on(1, &format!("busybox sh -c '{greeting}'")).starts_with("SSH-"), "from the host");
    lab.inside("mask/one", &greeting).ok().says(&["SSH-"]);
    lab.write("mask.kdl", pool);
    lab.tycoon(&["up", "mask.kdl"]).ok();
    lab.inside("mask/one", &format!("timeout 5 nc {host} 2222 </dev/null")).ended(1);
}

/// A name that a foreign domain has is not taken from it, and nothing half-made stays.
#[test]
#[ignore = "needs the lab: `make test`"]
fn the_unmodified_debian_host_does_it_too() {
    let lab = Lab::prepared(1, "debian");
    let before = lab.traces(1);
    lab.tycoon(&["up", "one.kdl"]).ok();
    lab.is_up("hello", 1);
    lab.tycoon(&["down", "hello"]).ok();
    assert_eq!(lab.traces(1), before);
    lab.settled_balance();
    // A second preparation changes nothing.
    lab.install().ok().says(&["the program is there already", "/etc/tycoon/machine.kdl is there and stays as it is"]);
}
