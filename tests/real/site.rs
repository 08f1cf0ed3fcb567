//! A site from nothing, on real hosts: "A site from nothing" of `docs/operations.md`, as it stands there.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::lab::{Ran, program};
use crate::town::{Town, follow, manual};

/// How much of the manual's walk is looked at besides.
const LOOKS: usize = 17;

/// What is looked at beside what the manual says: after lines that begin so.
fn look(town: &Town, line: &str, ran: &Ran) -> bool {
    match line {
        "tycoon sls list" => {
            town.until("that both hosts are verified", || {
                let listed = town.run("operator", "tycoon sls list verified --json").ok().stdout;
                (serde_json::from_str::<Value>(&listed).ok()?.as_array()?.len() == 2).then_some(())
            });
        }
        "tycoon site list" => assert_eq!(ran.stdout.matches("verified (direct)").count(), 2, "{ran}"),
        "tycoon up physics.kdl --yes" => town.is_up("physics", 2),
        "tycoon up biology.kdl --yes" => {
            town.is_up("biology", 1);
            town.is_up("physics", 2);
        }
        _ if line.starts_with("tycoon host set xen2 memory-price") => {
            town.until("that biology is put out", || town.running("biology").is_empty().then_some(()));
            assert_eq!(town.running("physics").len(), 2, "physics can pay");
        }
        _ if line.starts_with("tycoon host set xen2 --reset") => {
            // Prices hold from the next interval on.
            town.until("that biology can pay again", || {
                (town.run("biology", "tycoon plan biology.kdl").code == Some(0)).then_some(())
            });
        }
        _ if line.starts_with("tycoon host history") => {
            for word in ["stopped", "disks go in"] {
                assert!(ran.stdout.contains(word), "`{word}` is not in the history: {ran}");
            }
        }
        "tycoon down biology --yes" => assert_eq!(town.money("biology").1, 0, "nothing of hers is set aside"),
        "tycoon down physics --yes" => {
            assert_eq!(town.running("physics"), Vec::new());
            assert_eq!(town.money("physics").1, 0, "nothing of hers is set aside");
        }
        "tycoon host withdraw all" => {
            let paid = |who: &str, allowance: i64| allowance - town.money(who).0;
            let (physics, biology) = (paid("physics", 200_000_000), paid("biology", 100_000_000));
            assert!(physics > 0 && biology > 0, "both paid something: {physics}, {biology}");
            // What she issued herself, less what she granted, with what her hosts earned.
            assert_eq!(town.money("operator"), (700_000_000 + physics + biology, 0), "{ran}");
        }
        _ if line.starts_with("tycoon host uninstall") => {
            // As it was started by hand, it is ended by hand.
            assert!(ran.stderr.contains("ended the market; end `tycoon host enforce`"), "{ran}");
            town.lab.on(1, "kill $(head -n 1 /run/tycoon-pids)");
            town.lab.on(
                1,
                "! id tycoon 2>/dev/null; ! ls /etc/tycoon/host.kdl 2>/dev/null; test -f /var/lib/tycoon-host/host_key",
            );
        }
        _ if line.starts_with("tycoon bank audit") => {
            assert!(ran.stdout.contains("1000"), "{ran}");
        }
        _ => return false,
    }
    true
}

#[test]
#[ignore = "needs the lab: `make test`"]
fn a_site_from_nothing_as_the_manual_says() {
    let mut town = Town::build(2, "fast");
    let before = [town.lab.traces(1), town.lab.traces(2)];
    let looks = follow(&mut town, &manual(), look);
    assert_eq!(looks, LOOKS, "every look was taken: the manual has what is looked at");
    // On the host that left nothing stays of the pools, nor on the one that is still there.
    assert_eq!(without_images(&town.lab.traces(1)), without_images(&before[0]));
    assert_eq!(without_images(&town.lab.traces(2)), without_images(&before[1]));
}

/// Where systemd is, one command does all; a new program comes in while a domain runs; and who is there is not left alone.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_debian_machine_joins_a_site_is_upgraded_and_leaves() {
    let mut town = Town::build(1, "debian");
    let before = town.lab.traces(1);
    let manual = manual();
    let services = manual.iter().position(|block| block.text.contains("tycoon host install")).expect("the hosts");
    follow(&mut town, &manual[..services], look);
    let install = manual[services].text.lines().next().expect("a line").to_owned();
    let dry = town.run("operator", &format!("{install} --dry-run")).ok();
    assert!(dry.stderr.contains("would bring this program"), "{dry}");
    town.lab.on(1, "test ! -e /usr/local/bin/tycoon && test ! -e /etc/tycoon");
    town.run("operator", &install).ok().says(&[
        "started tycoon-host-enforce.service and tycoon-host.service",
        "registered with 1 of 1 services",
        "roll 1 with 1 hosts is published",
    ]);
    town.run("operator", &install).ok().says(&["nothing was changed", "admitted already: xen1"]);
    town.run("operator", &format!("{install} --cpu-price 0.6 --dry-run"))
        .ok()
        .says(&["would write /etc/tycoon/host-policy.kdl"]);

    town.run("operator", "tycoon bank issue \"$(tycoon user export)\" 100").ok();
    let pool = "pool own {\n    budget 10 for=\"1h\"\n    domain web { image \"std:tiny\"; memory \"128MiB\"; }\n}\n";
    fs::write(town.lab.path().join("operator/own.kdl"), pool).expect("the file can be written");
    town.run("operator", "tycoon up own.kdl --yes").ok();
    let domain = || town.lab.on(1, "virsh list | grep own.web");
    let running = domain();
    let new = town.lab.path().join("tycoon-new");
    fs::copy(program(), &new).expect("a copy");
    let mut file = fs::OpenOptions::new().append(true).open(&new).expect("the copy");
    std::io::Write::write_all(&mut file, b"new").expect("a byte more");
    drop(file);
    let pids = || town.lab.on(1, "systemctl show --property=MainPID tycoon-host tycoon-host-enforce");
    let older = pids();
    let config = town.lab.path().join("ssh_config").display().to_string();
    let upgrade = format!("tycoon host upgrade -F {config} --program {} root@lab-h1", new.display());
    town.run("operator", &upgrade).ok().says(&["restarted tycoon-host-enforce.service and tycoon-host.service"]);
    assert_ne!(pids(), older, "both run the new program");
    assert_eq!(domain(), running, "the domain runs on");
    town.run("operator", &upgrade).ok().says(&["the program is there already", "nothing was changed"]);

    let uninstall = format!("tycoon host uninstall -F {config} root@lab-h1");
    town.run("operator", &uninstall).ended(1).says(&["1 host account(s)", "the domain own.web"]);
    town.run("operator", "tycoon down own --yes").ok();
    town.run("operator", &format!("{uninstall} --purge"))
        .ok()
        .says(&["removed /var/lib/tycoon-host", "site revoke xen1"]);
    town.run("operator", &uninstall).ok().says(&["nothing was changed"]);
    town.lab.on(1, "! systemctl cat tycoon-host 2>/dev/null; ! id tycoon 2>/dev/null; test -f /etc/tycoon/machine.kdl");
    assert_eq!(without_images(&town.lab.traces(1)), without_images(&before));
    town.run("operator", "tycoon bank audit --store sled:/var/lib/tycoon-bank/books").ok().says(&["It adds up"]);
}

/// The traces of a host without the image that its preparation makes.
fn without_images(traces: &str) -> BTreeMap<String, ()> {
    let is_made = |line: &str| line.contains("/std-tiny/") || line.trim().is_empty();
    traces.lines().filter(|line| !is_made(line)).map(|line| (line.trim().to_owned(), ())).collect()
}
