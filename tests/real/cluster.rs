//! The larger examples on two hosts: a component of the library as a whole cluster, whose workers wait until their head is
//! ready, and find it; and machines that stand on named hosts, with volumes in files and in a volume group.

use crate::lab::Lab;

/// `examples/cluster.kdl`, shrunk to what two hosts of the lab can hold: a cluster on each.
const CLUSTERS: &str = r#"import "./lib/cluster.kdl" as=vc

let sites {
    lab-h1 workers=1
    lab-h2 workers=1
}

pool physics {
    budget 20 for="1h"
    group edge extends=vc.VirtualCluster each=sites {
        workers ($)each.workers
        image "std:tiny"
        head-memory "1GiB"
        head.memory "128MiB"
        head.ready.tcp 22
        worker.memory "128MiB"
        place { require "host.name == each.key"; }
    }
}
"#;

#[test]
#[ignore = "needs the lab: `make test`"]
fn workers_wait_for_their_head_and_are_told_where_it_is() {
    let lab = Lab::prepared(2, "fast");
    let before = [lab.traces(1), lab.traces(2)];
    std::fs::create_dir(lab.path().join("lib")).expect("a new folder");
    lab.write("lib/cluster.kdl", include_str!("../../examples/lib/cluster.kdl"));
    lab.write("cluster.kdl", CLUSTERS);
    lab.tycoon(&["up", "cluster.kdl"]).ok();
    let domains = lab.is_up("physics", 4);
    for site in ["lab-h1", "lab-h2"] {
        let of = |path: String| domains.iter().find(|domain| domain.path == path).expect("the domain is there");
        let (head, worker) = (of(format!("edge.{site}.head")), of(format!("edge.{site}.worker.0")));
        assert_eq!((&*head.host, &*worker.host), (site, site));
        let told = lab.inside(&format!("physics/{}", worker.path), "cat /etc/cluster/head").ok();
        assert_eq!(told.stdout.trim(), head.address, "{site}");
    }
    lab.tycoon(&["up", "cluster.kdl"]).ok().says(&["nothing to do"]);
    lab.tycoon(&["down", "physics"]).ok();
    assert_eq!([lab.traces(1), lab.traces(2)], before);
    machines_stand_on_named_hosts_with_files_and_logical_volumes(&lab);
    a_logical_volume_of_the_owner_becomes_a_domains(&lab);
    lab.settled_balance();
}

/// `examples/smartdomains.kdl` on hosts whose owner exports what it names, with smaller machines and addresses of the lab.
fn machines_stand_on_named_hosts_with_files_and_logical_volumes(lab: &Lab) {
    let saved = lab.path().join("saved");
    let described = [
        ("root size=\"1GiB\"", "root size=\"64MiB\""),
        ("swap size=\"512MiB\"", "swap size=\"16MiB\""),
        ("memory \"512MiB\"", "memory \"112MiB\""),
        ("memory \"1GiB\"", "memory \"144MiB\""),
        ("netmask=\"255.255.0.0\" gateway=\"192.0.2.1\"", "netmask=\"255.255.255.0\""),
        ("192.0.2.", "10.77.0.2"),
        ("/var/lib/tycoon/saved", saved.to_str().expect("a path")),
    ];
    let example = include_str!("../../examples/smartdomains.kdl").to_owned();
    let smaller = described.iter().fold(example, |text, (from, to)| {
        assert!(text.contains(from), "{from} is in the example");
        text.replace(from, to)
    });
    lab.write("smartdomains.kdl", &smaller);
    let hosts = (1..=2)
        .map(|at| format!("    xen-host lab-h{at} {{ address \"node{at}.example.org\"; ssh \"root@lab-h{at}\"; }}\n"));
    let hosts: String = hosts.collect();
    lab.write("hosts.kdl", &format!("site lab {{\n    ssh-config \"ssh_config\"\n{hosts}}}\n"));
    let exports = "cd /var/lib/tycoon/std-tiny && mkdir -p /data/xen && m=/etc/tycoon/machine.kdl && \
                   sed -i '$ d' $m && printf '%s\\n' 'store vg1 group=vg1' 'store data-xen directory=\"/data/xen\"' \
                   \"image slc3 disk=\\\"$PWD/disk.raw\\\"\" \"kernel boot-vmlinuz \\\"$PWD/kernel\\\"\" \
                   \"ramdisk boot-initrd.img \\\"$PWD/ramdisk\\\"\" '}' >>$m && cat $m";
    for host in [1, 2] {
        println!("{}", lab.on(host, exports));
    }
    let before = [lab.traces(1), lab.traces(2)];
    lab.tycoon(&["up", "smartdomains.kdl"]).ok();
    let domains = lab.is_up("lhc-testbed", 4);
    for (host, computer) in [(1, "computer1"), (2, "computer2")] {
        for (number, store) in [(1, "file-backed"), (2, "lvm-backed")] {
            let path = format!("{computer}.{store}");
            let domain = domains.iter().find(|domain| domain.path == path).expect("the domain is there");
            assert_eq!(domain.address, format!("10.77.0.2{host}{number}"));
            let said = lab.inside(&format!("lhc-testbed/{path}"), "hostname; cat /proc/swaps /proc/cmdline").ok();
            assert!(said.stdout.starts_with(&format!("node{host}-dom{number}\n")), "{said}");
            assert!(said.stdout.contains("fastboot"), "{said}");
            let named = format!("{computer}.{store}");
            assert_eq!(lab.on(host, "lvs --noheadings -o lv_name vg1").contains(&named), store == "lvm-backed");
            assert_eq!(lab.on(host, "ls /data/xen").contains(&named), store == "file-backed");
        }
    }
    lab.tycoon(&["up", "smartdomains.kdl"]).ok().says(&["nothing to do"]);
    lab.tycoon(&["down", "lhc-testbed"]).ok();
    let archives = std::fs::read_dir(&saved)
        .expect("what was saved")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".tar.zst")));
    assert_eq!(archives.count(), 4, "each machine was saved before it went");
    assert_eq!([lab.traces(1), lab.traces(2)], before);
}

/// What stood on a volume of the host before is there in the domain, stays when that goes, and is deleted when it is given up.
fn a_logical_volume_of_the_owner_becomes_a_domains(lab: &Lab) {
    let before = lab.traces(1);
    lab.on(1, "lvcreate -q -y -Wn -Zn --size 8m --name results vg1 && printf mine >/dev/vg1/results && sync");
    let account = lab.json(&["user", "show"])["account"].as_str().expect("an account").to_owned();
    let hand_over = format!("tycoon host hand-over --to {account} old/web.0 data=/dev/vg1/results");
    let told = lab.on(1, &hand_over);
    assert!(told.contains("volume data existing=#true"), "{told}");
    lab.tycoon(&["volumes", "old"]).ok().says(&["old/web.0", "data", "8 MiB", "node1.example.org", "kept until"]);
    let domain = "domain web count=1 { image \"std:tiny\"; memory \"128MiB\"; volume data existing=#true; }";
    lab.write("old.kdl", &format!("pool old {{\n    budget 5 for=\"1h\"\n    {domain}\n}}\n"));
    lab.tycoon(&["up", "old.kdl"]).ok();
    let domains = lab.is_up("old", 1);
    assert_eq!(domains[0].host, "node1.example.org", "where its volume is");
    let read = lab.inside("old/web.0", "head -c 4 /dev/xvdb").ok();
    assert_eq!(read.stdout.trim(), "mine");
    lab.tycoon(&["down", "old"]).ok();
    lab.tycoon(&["volumes", "old"]).ok().says(&["data", "kept until"]);
    lab.tycoon(&["volumes", "remove", "old", "--yes"]).ok();
    assert!(!lab.on(1, "lvs --noheadings -o lv_name,lv_tags").contains("old"), "it is gone");
    assert_eq!(lab.traces(1), before);
}
