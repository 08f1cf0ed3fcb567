//! What is wrong with a host is said plainly, with what to do, and nothing half-made stays.

use crate::lab::{Lab, Ran};

/// Machines that cannot become hosts.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_machine_that_lacks_something_is_not_installed() {
    let lab = Lab::up(1, "fast");
    // Who uses these files holds on to them, and so the rest of the machine does not notice.
    lab.on(1, "umount -l /proc/xen");
    lab.install().ended(1).says(&["a control domain whose /proc/xen is not mounted", "mount -t xenfs"]);
    lab.on(1, "mount -t tmpfs hidden /sys/hypervisor");
    lab.install().ended(1).says(&["does not run Xen", "apt-get install xen-system-amd64"]);
    lab.on(1, "umount /sys/hypervisor; mount -t xenfs xenfs /proc/xen");
    lab.on(1, "mv /usr/sbin/libvirtd /usr/sbin/libvirtd.away");
    lab.bare(&["host", "install", "-F", "ssh_config", "--no-packages", "root@lab-h1"])
        .ended(1)
        .says(&["`libvirtd` is missing", "apt-get install libvirt-daemon-system"]);
    lab.on(1, "mv /usr/sbin/libvirtd.away /usr/sbin/libvirtd; test ! -e /etc/tycoon/machine.kdl");
    lab.bare(&["host", "install", "-F", "ssh_config", "--store", "vg9", "root@lab-h1"])
        .ended(1)
        .says(&["there is no volume group `vg9`", "there is vg1"]);
    lab.bare(&["host", "install", "-F", "ssh_config", "--bridge", "br7", "root@lab-h1"])
        .ended(1)
        .says(&["there is no bridge `br7`", "there is xenbr0"]);
    lab.on(1, "test ! -e /etc/tycoon/machine.kdl");
    // Keys that are not let in, and hosts that are not who they were.
    let config = std::fs::read_to_string(lab.path().join("ssh_config")).expect("the configuration");
    let keygen = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(lab.path().join("stranger"))
        .status();
    assert!(keygen.expect("ssh-keygen starts").success());
    let line = |word: &str| config.lines().find(|line| line.trim().starts_with(word)).expect("a line").to_owned();
    let stranger = format!("  IdentityFile {}", lab.path().join("stranger").display());
    lab.write("ssh_stranger", &config.replace(&line("IdentityFile"), &stranger));
    lab.bare(&["host", "install", "-F", "ssh_stranger", "root@lab-h1"]).ended(1).says(&["stranger"]);
    let key = std::fs::read_to_string(lab.path().join("stranger.pub")).expect("the key");
    lab.write("known", &format!("lab-h1 {key}"));
    let known = format!("  UserKnownHostsFile {}", lab.path().join("known").display());
    lab.write("ssh_changed", &config.replace(&line("UserKnownHostsFile"), &known));
    let changed = lab.bare(&["host", "install", "-F", "ssh_changed", "root@lab-h1"]).ended(1);
    assert_eq!(changed.stderr.matches("SHA256:").count(), 2, "both fingerprints: {changed}");
    // And then all is well, the second time too.
    lab.install().ok().says(&["std:tiny"]);
    lab.install().ok().says(&["the program is there already"]);
}

/// Hosts that stop being able to.
#[test]
#[ignore = "needs the lab: `make test`"]
fn a_host_that_lacks_something_says_so_and_keeps_nothing() {
    let lab = Lab::prepared(1, "fast");
    let before = lab.traces(1);
    let fails = |breaks: &str, mends: &str, words: &[&str]| {
        lab.on(1, breaks);
        let up = lab.tycoon(&["up", "one.kdl"]);
        lab.on(1, mends);
        assert_ne!(up.code, Some(0), "{up}");
        let up = up.says(words);
        lab.tycoon(&["down", "hello"]);
        assert_eq!(lab.traces(1), before, "nothing half-made stays after {up}");
        lab.settled_balance();
    };
    let machine = "/etc/tycoon/machine.kdl";
    fails(
        "kill $(cat /run/libvirtd.pid); for i in $(seq 50); do [ -e /run/libvirtd.pid ] || break; sleep 0.2; done",
        "LIBVIRT_DRIVER_DIR=/lab/fast/drivers libvirtd -d; for i in $(seq 100); do virsh list >/dev/null 2>&1 && break; sleep 0.2; done",
        &["libvirt", "systemctl"],
    );
    fails(
        &format!("cp {machine} /var/tmp/machine; sed -i 's/group=vg1/group=vg9/' {machine}"),
        &format!("mv /var/tmp/machine {machine}"),
        &["vg9"],
    );
    fails("mv /var/lib/tycoon/std-tiny/kernel /var/tmp/", "mv /var/tmp/kernel /var/lib/tycoon/std-tiny/", &["kernel"]);
    fails(
        "lvcreate -q -y -Wn -Zn -l 100%FREE -n foreign vg1; mount -t tmpfs -o size=64m tmpfs /var/lib/tycoon/volumes",
        "umount /var/lib/tycoon/volumes; lvremove -q -f vg1/foreign",
        &["disk"],
    );
    let account = account(&lab.bare(&["user", "show", "--json"]).ok());
    let name = format!("hello.web.0-{account}");
    let foreign = format!(
        "<domain type='xen'><name>{name}</name><memory unit='MiB'>64</memory><os><type machine='xenpv'>linux</type>\
         <kernel>/var/lib/tycoon/std-tiny/kernel</kernel></os></domain>"
    );
    lab.on(1, &format!("echo \"{foreign}\" > /var/tmp/foreign.xml; virsh define /var/tmp/foreign.xml"));
    let up = lab.tycoon(&["up", "one.kdl"]);
    assert_ne!(up.code, Some(0), "{up}");
    up.says(&[&name]);
    lab.tycoon(&["down", "hello"]);
    lab.on(1, &format!("virsh dominfo {name}; virsh undefine {name}"));
    assert_eq!(lab.traces(1), before);
    lab.settled_balance();
    // Nothing of all this stays in the way.
    lab.tycoon(&["up", "one.kdl"]).ok();
    lab.is_up("hello", 1);
    lab.tycoon(&["down", "hello"]).ok();
    assert_eq!(lab.traces(1), before);
}

/// The short id of the account, as it ends the names of domains.
fn account(shown: &Ran) -> String {
    let value: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    value["account"].as_str().expect("an account").chars().take(8).collect()
}
