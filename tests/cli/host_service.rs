//! Hosts on the network: a bank, three hosts and a user, each a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::bank_service::{ServedBank, json, live, text, user};
use crate::environment::Environment;

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
    bank
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
