//! Hosts on the network: a bank, three hosts and a user, each a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bank_service::{ServedBank, json, live, text, user};
use crate::environment::Environment;
use crate::sls::ServedSls;

/// A host that is served from the environment's folder.
pub struct ServedHost {
    child: Child,
    stderr: Option<BufReader<std::process::ChildStderr>>,
    /// Its address.
    pub url: String,
    /// What a site says of it.
    pub line: String,
}

impl ServedHost {
    /// Starts the host `name` of the user `owner`, paid by a bank.
    pub fn start(environment: &Environment, name: &str, bank: &ServedBank, more: &[&str]) -> Self {
        Self::start_with(environment, name, bank, "127.0.0.1:0", more, &[])
    }

    /// The same at an address of its own, with variables of the environment.
    pub fn start_with(
        environment: &Environment,
        name: &str,
        bank: &ServedBank,
        listen: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let owner = user(environment, "owner", &["user", "export"]).ok().stdout;
        let store = environment.path().join(name).display().to_string();
        let mut arguments = vec!["host", "serve", "--store", &store, "--name", name, "--listen", listen];
        arguments.extend(["--owner", owner.trim(), "--bank", &bank.url, "--bank-key", &bank.key]);
        if !more.contains(&"--driver") {
            arguments.extend(["--driver", "memory"]);
        }
        arguments.extend(more);
        let mut command = live(environment, &arguments);
        command.envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the host starts");
        let stderr = BufReader::new(child.stderr.take().expect("its messages"));
        // From here on it is ended with the test, however that ends.
        let mut host = Self { child, stderr: Some(stderr), url: String::new(), line: String::new() };
        let mut seen = String::new();
        while let Some(stderr) = &mut host.stderr {
            let mut line = String::new();
            let read = stderr.read_line(&mut line).expect("its messages can be read");
            seen.push_str(&line);
            assert!(read > 0, "the host did not open:\n{seen}");
            if let Some(said) = line.trim().strip_prefix("network-host ") {
                host.line = format!("    network-host {said}\n");
                host.url = said.split('"').nth(1).expect("an address").to_owned();
                break;
            }
        }
        // Nobody reads what it says while it runs: a full pipe would hold it up.
        if let Some(mut stderr) = host.stderr.take() {
            std::thread::spawn(move || {
                let mut rest = Vec::new();
                let _ = stderr.read_to_end(&mut rest);
            });
        }
        host
    }

    /// Asks it to stop, and waits until it has.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
        assert!(self.child.wait().expect("it ends").success());
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Where it listens.
    pub fn listen(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for ServedHost {
    fn drop(&mut self) {
        // It has ended already where the test stopped it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bank with the accounts of the issuer, of `jane`, who has 1000 credits, and of the hosts' `owner`.
pub fn town(environment: &Environment) -> ServedBank {
    let bank = ServedBank::start(environment, "bank", &[]);
    settle(environment, &bank);
    bank
}

/// Opens these accounts at a bank that is new.
pub fn settle(environment: &Environment, bank: &ServedBank) {
    for name in ["issuer", "jane", "owner"] {
        user(environment, name, &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    }
    for name in ["jane", "owner"] {
        let key = user(environment, name, &["user", "export"]).ok().stdout;
        let account = json(environment, "issuer", &["bank", "create-account", key.trim()]);
        if name == "jane" {
            json(environment, "issuer", &["bank", "issue", text(&account, "account"), "1000"]);
        }
    }
}

/// Writes the site of some hosts.
pub fn write_site(environment: &Environment, hosts: &[&ServedHost]) {
    let lines: String = hosts.iter().map(|host| host.line.as_str()).collect();
    environment.write("hosts.kdl", &format!("site real {{\n{lines}}}\n"));
}

/// The balance of a user in micro-credits.
pub fn balance(environment: &Environment, name: &str) -> i64 {
    json(environment, name, &["bank", "balance"])["balance_micro"].as_i64().expect("a balance")
}

/// Stops the bank and counts all its money anew: what is in accounts and in escrow.
pub fn audited(environment: &Environment, bank: ServedBank) -> (i64, i64) {
    bank.stop();
    let store = format!("sled:{}", environment.path().join("bank").display());
    let audit = json(environment, "issuer", &["bank", "audit", "--store", &store]);
    let micros = |name: &str| audit[name].as_i64().expect("an amount");
    assert_eq!(audit["ok"], true, "{audit}");
    let (accounts, escrow) = (micros("in_accounts_micro"), micros("in_escrow_micro"));
    assert_eq!(accounts + escrow, micros("issued_micro"), "credits were lost or made: {audit}");
    (accounts, escrow)
}

#[test]
fn a_pool_comes_up_on_hosts_of_the_network_and_goes_again_and_every_credit_is_accounted_for() {
    let environment = Environment::new();
    let bank = town(&environment);
    let hosts: Vec<ServedHost> =
        ["host1", "host2", "host3"].map(|name| ServedHost::start(&environment, name, &bank, &[])).into();
    write_site(&environment, &hosts.iter().collect::<Vec<_>>());
    let jane = |arguments: &[&str]| user(&environment, "jane", &[&["--site", "hosts.kdl"], arguments].concat());

    let listed = json(&environment, "jane", &["--site", "hosts.kdl", "hosts"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    jane(&["up", "hello.kdl", "--yes"]).ok();
    let status = json(&environment, "jane", &["--site", "hosts.kdl", "status"]);
    let running = |status: &Value| {
        let domains = status[0]["domains"].as_array().expect("domains").clone();
        domains.iter().filter(|domain| domain["state"] == "running").count()
    };
    assert!(running(&status) >= 3, "{status}");
    let again = jane(&["up", "hello.kdl", "--yes"]).ok();
    assert!(!again.stdout.contains("cannot"), "{again}");
    assert!(balance(&environment, "jane") < 1_000_000_000, "what is set aside is not in the account");

    jane(&["down", "hello", "--yes"]).ok();
    let (paid, left) = (balance(&environment, "owner"), balance(&environment, "jane"));
    assert_eq!(paid + left, 1_000_000_000, "what Jane has paid, the owner has, and the rest is back");
    for host in hosts {
        host.stop();
    }
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}

/// Has Jane and the operator know the service of a site, and the operator admit hosts as soon as they have registered.
pub fn admit(environment: &Environment, of_sls: &[&str], site: &str, hosts: &[&str]) {
    for name in ["jane", "operator"] {
        user(environment, name, &[&["init"], of_sls, &["--site-key", site]].concat()).ok();
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    while user(environment, "operator", &[&["site", "admit"], hosts].concat()).code != Some(0) {
        assert!(std::time::Instant::now() < deadline, "the hosts do not register");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// Waits until the services list so many hosts, by name.
pub fn find_hosts(environment: &Environment, count: usize) -> Vec<String> {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let ran = user(environment, "jane", &["hosts", "--json"]);
        let listed: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        let hosts = listed.as_array().cloned().unwrap_or_default();
        let good = hosts.iter().filter(|host| host["error"].is_null());
        let names: Vec<String> = good.map(|host| text(host, "host").to_owned()).collect();
        if names.len() == count {
            return names;
        }
        assert!(std::time::Instant::now() < deadline, "only {names:?} are found: {ran}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn hosts_are_found_by_the_service_and_again_after_every_party_was_stopped_in_every_order() {
    let environment = Environment::new();
    let mut bank = town(&environment);
    let site = user(&environment, "operator", &["site", "init"]).ok().stdout.trim().to_owned();
    let mut sls = ServedSls::of_site(&environment, "127.0.0.1:0", &site, &[]);
    let (sls_url, sls_key) = (sls.url.clone(), sls.key.clone());
    let of_sls = ["--sls", &sls_url, "--sls-key", &sls_key];
    let mut hosts: Vec<ServedHost> =
        ["host1", "host2", "host3"].map(|name| ServedHost::start(&environment, name, &bank, &of_sls)).into();
    admit(&environment, &of_sls, &site, &["host1", "host2", "host3"]);
    write_site(&environment, &hosts.iter().collect::<Vec<_>>());
    assert_eq!(find_hosts(&environment, 3), ["host1", "host2", "host3"]);
    user(&environment, "jane", &["up", "hello.kdl", "--yes"]).ok();

    user(&environment, "jane", &["--site", "hosts.kdl", "host", "create-account", "host2", "--amount", "10"]).ok();
    let mut rounds = 0;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for party in order {
            match party {
                0 => sls.kill(),
                1 => bank.kill(),
                _ => hosts[0].kill(),
            }
            // Nobody needs them for a bid on another host; a different one every time.
            rounds += 1;
            let cpus = format!("CPU:1,0.{:03}CPU,2CPU", 100 + rounds);
            let bid = ["--site", "hosts.kdl", "host", "bid", "host2", "30d", &cpus];
            let ran = user(&environment, "jane", &bid).ok();
            assert!(ran.stdout.contains("active"), "{ran}");
        }
        for party in order {
            match party {
                0 => sls = ServedSls::of_site(&environment, sls_url.trim_start_matches("http://"), &site, &[]),
                1 => {
                    let listen = bank.listen().to_owned();
                    let store = format!("sled:{}", environment.path().join("bank").display());
                    bank = ServedBank::start_at(&environment, &store, &listen);
                }
                _ => {
                    let listen = hosts[0].listen().to_owned();
                    hosts[0] = ServedHost::start_with(&environment, "host1", &bank, &listen, &of_sls, &[]);
                }
            }
        }
    }
    assert_eq!(find_hosts(&environment, 3), ["host1", "host2", "host3"], "everything is found again");
    let status = json(&environment, "jane", &["status"]);
    let hello = status.as_array().and_then(|pools| pools.iter().find(|pool| pool["pool"] == "hello"));
    let domains = hello.and_then(|pool| pool["domains"].as_array()).map(Vec::len);
    assert!(domains >= Some(3), "{status}");
    user(&environment, "jane", &["--site", "hosts.kdl", "host", "close-account", "host2", "--yes"]).ok();
    user(&environment, "jane", &["down", "hello", "--yes"]).ok();
    assert_eq!(balance(&environment, "owner") + balance(&environment, "jane"), 1_000_000_000);
    for host in hosts {
        host.stop();
    }
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}

#[test]
fn a_host_whose_domains_the_enforcer_has_works_like_any_other() {
    let environment = Environment::new();
    let bank = town(&environment);
    let socket = environment.path().join("enforce.sock");
    let store = environment.path().join("machine").display().to_string();
    let me = std::fs::metadata(environment.path())
        .map(|found| std::os::unix::fs::MetadataExt::uid(&found))
        .expect("a folder");
    let path = socket.display().to_string();
    let users = me.to_string();
    let arguments = ["host", "enforce", "--driver", "memory", "--store", &store, "--socket", &path, "--user", &users];
    let start = || {
        let mut child = live(&environment, &arguments).stderr(Stdio::piped()).spawn().expect("the enforcer starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("its messages"));
        let mut line = String::new();
        while !line.contains("ready at") {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("its messages can be read") > 0, "it did not start");
        }
        (child, stderr)
    };
    let (mut enforcer, said) = start();
    let driver = format!("enforce:{path}");
    let host = ServedHost::start(&environment, "host1", &bank, &["--driver", &driver]);
    write_site(&environment, &[&host]);
    environment.write("one.kdl", &crate::environment::HELLO.replace("count=3", "count=1"));
    let jane = |arguments: &[&str]| user(&environment, "jane", &[&["--site", "hosts.kdl"], arguments].concat());
    jane(&["up", "one.kdl", "--yes"]).ok();
    // The enforcer is ended and started again; the market finds it.
    drop(said);
    enforcer.kill().expect("it can be killed");
    enforcer.wait().expect("it ends");
    let (mut enforcer, _said) = start();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !jane(&["status"]).stdout.contains("running") {
        assert!(std::time::Instant::now() < deadline, "the market does not find the enforcer again");
    }
    jane(&["down", "hello", "--yes"]).ok();
    host.stop();
    let pid = enforcer.id().to_string();
    assert!(Command::new("kill").arg(&pid).status().expect("kill runs").success());
    assert!(enforcer.wait().expect("it ends").success());
    assert!(!socket.exists(), "it takes its socket away");
    assert_eq!(audited(&environment, bank), (1_000_000_000, 0));
}
