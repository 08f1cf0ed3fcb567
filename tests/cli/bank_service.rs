//! A bank on the network, and the commands that talk to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::environment::{Environment, Ran};
use crate::served::{Kind, Served};

/// What is served here.
pub struct BankKind;

impl Kind for BankKind {
    const NAME: &str = "bank";
}

/// A bank that is served from the environment's folder, with a clock that runs.
pub type ServedBank = Served<BankKind>;

impl ServedBank {
    /// Starts a bank whose issuer is the user `issuer`.
    pub fn start(environment: &Environment, folder: &str, more: &[&str]) -> Self {
        Self::found(environment, folder, "127.0.0.1:0", more)
    }

    /// The same at an address of its own.
    pub fn found(environment: &Environment, folder: &str, listen: &str, more: &[&str]) -> Self {
        let issuer = user(environment, "issuer", &["user", "export"]).ok().stdout;
        let store = format!("sled:{}", environment.path().join(folder).display());
        Self::start_listening(environment, &[], &store, listen, &[&["--issuer", issuer.trim()], more].concat())
    }

    /// Starts a bank whose books are in `store`.
    pub fn start_with(environment: &Environment, store: &str, more: &[&str]) -> Self {
        Self::start_listening(environment, &[], store, "127.0.0.1:0", more)
    }

    /// Starts a bank whose books are in `store`, by the command `before`, which must become the bank.
    pub fn start_behind(environment: &Environment, before: &[&str], store: &str, more: &[&str]) -> Self {
        Self::start_listening(environment, before, store, "127.0.0.1:0", more)
    }

    /// Starts a bank again where it was.
    pub fn start_at(environment: &Environment, store: &str, listen: &str) -> Self {
        Self::start_listening(environment, &[], store, listen, &[])
    }

    /// The same, and it ends itself at the `point`th point of its writes as if it were killed.
    pub fn start_to_crash(environment: &Environment, store: &str, listen: &str, point: u64) -> Self {
        let mut command = live(environment, &["bank", "serve", "--store", store, "--listen", listen]);
        command.env("TYCOON_CRASH_AFTER", format!("bank:{point}"));
        Self::open(command)
    }

    fn start_listening(environment: &Environment, before: &[&str], store: &str, listen: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["bank", "serve", "--store", store, "--listen", listen];
        arguments.extend(more);
        Self::open(behind(before, live(environment, &arguments)))
    }

    /// One of its operator's pages: the status, and all that was answered.
    pub fn page(&self, path: &str) -> (u16, String) {
        let address = self.listen();
        let mut stream = TcpStream::connect(address).expect("the bank listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bank\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer)
    }
}

/// A command with a clock that runs.
pub fn live(environment: &Environment, arguments: &[&str]) -> Command {
    let mut command = environment.command(arguments);
    command.env_remove("TYCOON_CLOCK").env_remove("TYCOON_SEED");
    command
}

/// A command that is run by another, `before`.
pub fn behind(before: &[&str], command: Command) -> Command {
    let Some((program, arguments)) = before.split_first() else { return command };
    let mut behind = Command::new(program);
    behind.args(arguments).arg(command.get_program()).args(command.get_args()).env_clear();
    behind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    behind.current_dir(command.get_current_dir().expect("a folder is set")).stdin(Stdio::null());
    behind
}

/// Runs a command as one of several users.
pub fn user(environment: &Environment, name: &str, arguments: &[&str]) -> Ran {
    let mut command = live(environment, arguments);
    command.env("XDG_CONFIG_HOME", environment.path().join(name)).env("XDG_STATE_HOME", environment.path().join(name));
    environment.ran(arguments, command)
}

pub fn json(environment: &Environment, name: &str, arguments: &[&str]) -> Value {
    let mut all = arguments.to_vec();
    all.push("--json");
    let ran = user(environment, name, &all).ok();
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("no JSON ({error}):\n{ran}"))
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is missing in {value}"))
}

#[test]
fn a_bank_on_the_network_is_pinned_and_used_by_several_people() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &[]);
    for name in ["issuer", "jane", "joe"] {
        user(&environment, name, &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    }
    let jane_key = user(&environment, "jane", &["user", "export"]).ok().stdout;
    let joe_key = user(&environment, "joe", &["user", "export"]).ok().stdout;
    let jane = json(&environment, "issuer", &["bank", "create-account", jane_key.trim(), "--label", "jane"]);
    let jane = text(&jane, "account");
    let issued = json(&environment, "issuer", &["bank", "issue", jane, "100", "--memo", "welcome"]);
    assert_eq!(issued["transfer"]["balance"], 100_000_000);

    // Jane opens Joe's account, and pays its deposit; then she pays him, twice with one id.
    let joe = json(&environment, "jane", &["bank", "create-account", joe_key.trim(), "--deposit", "5"]);
    let joe = text(&joe, "account");
    let id = "0123456789abcdef0123456789abcdef";
    for _ in 0..2 {
        let paid = json(&environment, "jane", &["bank", "transfer", joe, "10", "--id", id, "--memo", "lunch"]);
        assert_eq!(paid["transfer"]["balance"], 85_000_000);
    }
    assert_eq!(json(&environment, "joe", &["bank", "balance"])["balance_micro"], 15_000_000);
    let history = user(&environment, "joe", &["bank", "history"]).ok();
    assert!(history.stdout.contains("lunch") && history.stdout.contains("deposit"), "{history}");

    // The receipt can be checked without the bank, and shows when it was changed.
    let receipt = user(&environment, "jane", &["bank", "receipt", id]).ok().stdout;
    environment.write("receipt.json", &receipt);
    environment.write("forged.json", &receipt.replace("10000000", "90000000"));
    let reserved = json(&environment, "jane", &["bank", "reserve", joe, "20", "--for", "1h"]);
    let reservation = text(&reserved["order"], "id").to_owned();
    let posted = user(&environment, "jane", &["bank", "post", &reservation, "--amount", "7"]).ok();
    assert!(posted.stdout.contains("posted with 7"), "{posted}");
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["balance_micro"], 78_000_000);
    let voided = user(&environment, "jane", &["bank", "void", &reservation]).ends_with(1);
    assert!(voided.stderr.contains("bank.resolved"), "{voided}");

    let curl = user(&environment, "jane", &["rpc", "curl", "POST", "/v1/transfers", r#"{"memo":"it's"}"#]).ok();
    assert!(curl.stdout.contains("curl") && curl.stdout.contains("signature-input"), "{curl}");
    assert!(curl.stdout.contains(r"it'\''s"), "{curl}");

    // Joe gives back a part of the lunch.
    let jane_party = ["--payer", jane, "--amount", "3", "--memo", "too much"];
    let back = json(&environment, "joe", &[&["bank", "refund", id][..], &jane_party].concat());
    assert_eq!(back["receipt"]["terms"]["refund_of"], id);
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["balance_micro"], 81_000_000);
    let over = user(&environment, "joe", &["bank", "refund", id, "--payer", jane, "--amount", "8"]).ends_with(1);
    assert!(over.stderr.contains("7.00 are left"), "{over}");

    let said = bank.stop();
    assert!(said.contains("the bank is closed"), "{said}");
    let unreachable = user(&environment, "jane", &["bank", "balance"]).ends_with(1);
    assert!(unreachable.stderr.contains("cannot be reached"), "{unreachable}");
    let store = format!("sled:{}", environment.path().join("bank").display());
    let audit = json(&environment, "issuer", &["bank", "audit", "--store", &store]);
    assert_eq!(audit["ok"], true, "{audit}");
    assert_eq!(
        audit["records"].as_u64().unwrap(),
        audit["signed"].as_u64().unwrap() + 1,
        "only the founding is unsigned"
    );
    user(&environment, "jane", &["bank", "receipt", "--check", "receipt.json"]).ok();
    let forged = user(&environment, "jane", &["bank", "receipt", "--check", "forged.json"]).ends_with(1);
    assert!(forged.stderr.contains("is not signed by the bank"), "{forged}");
}

#[test]
fn a_bank_with_another_key_is_not_believed() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &[]);
    let other = ServedBank::start(&environment, "other", &[]);
    let wrong = user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &other.key]).ends_with(1);
    assert!(wrong.stderr.contains("nothing was pinned"), "{wrong}");
    let unknown = user(&environment, "jane", &["init", "--bank", &bank.url]).ends_with(2);
    assert!(unknown.stderr.contains("--bank-key"), "{unknown}");
    let unpinned = user(&environment, "jane", &["bank", "info", "--bank", &bank.url]).ends_with(2);
    assert!(unpinned.stderr.contains("tycoon init"), "{unpinned}");
    let untrusted =
        user(&environment, "jane", &["bank", "info", "--bank", &bank.url, "--bank-key", &other.key]).ends_with(1);
    assert!(untrusted.stderr.contains("cannot be trusted"), "{untrusted}");
    let plain = user(&environment, "jane", &["init", "--bank", "http://bank.example.org"]).ends_with(2);
    assert!(plain.stderr.contains("use https://"), "{plain}");
}

#[test]
fn the_printed_curl_command_is_a_call_that_counts_once() {
    let environment = Environment::new();
    let mut bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    user(&environment, "jane", &["bank", "create-account", "--label", "jane"]).ok();
    let shell = |command: &str| {
        let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let page = user(&environment, "jane", &["rpc", "curl", "GET", "/v1/accounts?limit=5"]).ok().stdout;
    assert_eq!(shell(&page)["items"][0]["label"], "jane");
    assert_eq!(shell(&page)["code"], "call.seen");
    bank.kill();
    let restarted = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    let replayed = shell(&page.replace(&bank.url, &restarted.url));
    assert_eq!(replayed["code"], "call.restarting", "what was accepted before a kill is not accepted after it");
    let bank = restarted;
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    // What was signed in the second of the last accepted call is refused; the client waits for the next one.
    user(&environment, "jane", &["bank", "balance"]).ok();
    let key = user(&environment, "joe", &["user", "export"]).ok().stdout;
    let body = format!(r#"{{"key":"{}","kind":"user","label":"it's joe"}}"#, key.trim());
    let open = user(&environment, "jane", &["rpc", "curl", "POST", "/v1/accounts", &body]).ok().stdout;
    assert_eq!(shell(&open)["label"], "it's joe");
    let altered = user(&environment, "jane", &["rpc", "curl", "POST", "/v1/accounts", &body]).ok().stdout;
    assert_eq!(shell(&altered.replace("joe", "jim"))["code"], "call.signature");
}

#[test]
fn the_operator_s_pages_tell_what_the_bank_holds_and_one_account_opens_only_so_many() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &["--registration", "open", "--accounts-per-opener", "1"]);
    for name in ["issuer", "jane", "joe", "mia"] {
        user(&environment, name, &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    }
    let jane = json(&environment, "jane", &["bank", "create-account"]);
    json(&environment, "issuer", &["bank", "issue", text(&jane, "account"), "50"]);
    let key = |name: &str| user(&environment, name, &["user", "export"]).ok().stdout;
    user(&environment, "jane", &["bank", "create-account", key("joe").trim()]).ok();
    let third = user(&environment, "jane", &["bank", "create-account", key("mia").trim()]).ends_with(1);
    assert!(third.stderr.contains("bank.too-many-accounts-opened"), "{third}");
    assert_eq!(bank.page("/healthz").0, 200);
    let (status, metrics) = bank.page("/metrics");
    assert_eq!(status, 200);
    for line in [
        "tycoon_bank_issued_micro_credits 50000000",
        "tycoon_bank_in_accounts_micro_credits 50000000",
        "tycoon_bank_accounts 3",
        "# TYPE tycoon_bank_records gauge",
    ] {
        assert!(metrics.lines().any(|other| other == line), "{line} is missing in\n{metrics}");
    }
    let (status, description) = bank.page("/openapi.json");
    assert_eq!(status, 200);
    let (_, description) = description.split_once("\r\n\r\n").expect("a body");
    let description: Value = serde_json::from_str(description).expect("JSON");
    assert!(description["paths"]["/v1/refunds"]["post"].is_object());
}

#[test]
fn what_is_packaged_starts_a_bank_in_a_tight_sandbox_and_tells_no_secret() {
    let environment = Environment::new();
    environment.write("bank.kdl", include_str!("../../packaging/systemd/bank.kdl"));
    let bank = ServedBank::start(&environment, "bank", &["--settings", "bank.kdl"]);
    let said = bank.stop();
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");

    let away = ["bank", "serve", "--store", "postgres://bank:hunter2@127.0.0.1:1/bank", "--key", "key"];
    let away = user(&environment, "issuer", &away).ends_with(1);
    assert!(away.stderr.contains("database") && !away.stderr.contains("hunter2"), "{away}");

    environment.write("tycoon-bank.service", include_str!("../../packaging/systemd/tycoon-bank.service"));
    // What is closed to the service, from 0 (everything) to 100 (nothing).
    let unit = environment.path().join("tycoon-bank.service");
    let analyzed =
        Command::new("systemd-analyze").args(["--offline=true", "--threshold=15", "security"]).arg(&unit).output();
    match analyzed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("SKIPPED: systemd-analyze is not installed, so that the sandbox is not weighed");
        }
        analyzed => {
            let analyzed = analyzed.expect("systemd-analyze runs");
            assert!(analyzed.status.success(), "{}", String::from_utf8_lossy(&analyzed.stdout));
        }
    }
}

#[test]
fn a_key_in_an_ssh_agent_signs_calls() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    let socket = environment.path().join("agent");
    let mut agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
    let with_agent = |command: &mut Command| {
        command.env("SSH_AUTH_SOCK", &socket);
        command.output().expect("it runs")
    };
    let file = environment.path().join("key");
    let made =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "jane", "-f"]).arg(&file).status();
    assert!(made.expect("ssh-keygen runs").success());
    // The agent listens a moment after it was started.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !with_agent(Command::new("ssh-add").arg(&file)).status.success() {
        assert!(std::time::Instant::now() < deadline, "the agent takes no key");
        std::thread::yield_now();
    }
    std::fs::remove_file(&file).expect("the agent alone has the key now");
    let tycoon = |arguments: &[&str]| {
        let mut command = live(&environment, arguments);
        command.env("SSH_AUTH_SOCK", &socket);
        environment.ran(arguments, command)
    };
    let public = std::fs::read_to_string(environment.path().join("key.pub")).unwrap();
    let shown = tycoon(&["user", "setup", "--agent", "jane"]).ok();
    assert!(shown.stdout.contains(public.split(' ').nth(1).unwrap()), "{shown}");
    assert!(shown.stdout.contains("ssh-agent    HOME/agent"), "{shown}");
    tycoon(&["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    tycoon(&["bank", "create-account", "--label", "by agent"]).ok();
    let balance = tycoon(&["bank", "balance"]).ok();
    assert!(balance.stdout.contains("by agent"), "{balance}");
    agent.kill().expect("the agent can be stopped");
    agent.wait().expect("it ends");
    let gone = tycoon(&["bank", "balance"]).ends_with(1);
    assert!(gone.stderr.contains("agent"), "{gone}");
}

#[test]
fn a_key_is_rotated_and_the_old_one_can_do_nothing_more() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    let old = user(&environment, "jane", &["user", "export"]).ok().stdout;
    let account = json(&environment, "jane", &["bank", "create-account"]);
    let rotated = json(&environment, "jane", &["bank", "rotate-key"]);
    assert_eq!(rotated["account"], account["account"], "the account stays");
    assert_ne!(user(&environment, "jane", &["user", "export"]).ok().stdout, old);
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["account"], account["account"]);
    user(&environment, "jane", &["user", "setup", "--key", "jane/tycoon/id_ed25519"]).ok();
    let refused = user(&environment, "jane", &["bank", "balance"]).ends_with(1);
    assert!(refused.stderr.contains("bank.no-account"), "{refused}");
}

#[test]
fn a_rotation_that_fails_leaves_no_key_that_nobody_knows_of() {
    let environment = Environment::new();
    let keys = |user: &str| {
        let files = std::fs::read_dir(environment.path().join(user).join("tycoon")).expect("a folder");
        files.filter(|file| file.as_ref().expect("a file").file_name().to_string_lossy().starts_with("id_")).count()
    };
    let refused = user(&environment, "joe", &["bank", "--embedded", "rotate-key"]).ends_with(1);
    assert!(refused.stderr.contains("by your first key"), "{refused}");
    assert_eq!(keys("joe"), 1, "no key is made where none is of use");

    let mut bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    let account = json(&environment, "jane", &["bank", "create-account"]);
    bank.kill();
    let lost = user(&environment, "jane", &["bank", "rotate-key"]).ends_with(1);
    let new = lost.stderr.split("--new ").nth(1).expect("how to go on").trim().replace("HOME", ".");
    assert_eq!(keys("jane"), 2);
    let listen = bank.url.trim_start_matches("http://").to_owned();
    let store = format!("sled:{}", environment.path().join("bank").display());
    let _bank = ServedBank::start_at(&environment, &store, &listen);
    let rotated = json(&environment, "jane", &["bank", "rotate-key", "--new", &new]);
    assert_eq!(rotated["account"], account["account"]);
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["account"], account["account"]);
}

#[test]
fn a_protected_key_needs_its_passphrase() {
    let environment = Environment::new();
    environment.write("passphrase", "correct horse\n");
    environment.write("wrong", "battery staple\n");
    let with = |file: Option<&str>, arguments: &[&str]| {
        let mut command = live(&environment, arguments);
        if let Some(file) = file {
            command.env("TYCOON_PASSPHRASE_FILE", environment.path().join(file));
        }
        environment.ran(arguments, command)
    };
    with(Some("passphrase"), &["user", "setup", "--passphrase"]).ok();
    let public = with(Some("passphrase"), &["user", "export"]).ok().stdout;
    let refused = with(Some("wrong"), &["user", "export"]).ends_with(1);
    assert!(refused.stderr.contains("passphrase is not that of the key"), "{refused}");
    let unasked = with(None, &["user", "export"]).ends_with(1);
    assert!(unasked.stderr.contains("ssh-add"), "{unasked}");
    for ran in [refused, unasked] {
        assert!(!ran.stderr.contains("restore"), "the key is sound:\n{ran}");
    }
    with(Some("passphrase"), &["user", "export", "--protected", "copy"]).ok();
    with(Some("passphrase"), &["user", "setup", "--key", "copy"]).ok();
    assert_eq!(with(Some("passphrase"), &["user", "export"]).ok().stdout, public);
    // A passphrase from a pipe can be read once, and is asked for once.
    let arguments = ["user", "setup", "--key", "copy"];
    let mut command = live(&environment, &arguments);
    let (from, mut into) = std::io::pipe().expect("a pipe");
    command.env("TYCOON_PASSPHRASE_FILE", "/dev/stdin").stdin(from);
    into.write_all(b"correct horse\n").expect("a pipe takes a line");
    drop(into);
    environment.ran(&arguments, command).ok();
}

#[test]
fn settings_come_from_a_file_where_the_command_line_says_nothing() {
    let environment = Environment::new();
    environment.write("bank.kdl", "registration \"open\"\nlog \"json\"\n");
    let bank = ServedBank::start(&environment, "bank", &["--settings", "bank.kdl"]);
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    user(&environment, "jane", &["bank", "create-account"]).ok();
    let said = bank.stop();
    assert!(said.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{said}");
    environment.write("wrong.kdl", "registrations \"open\"\n");
    let wrong = user(&environment, "jane", &["bank", "serve", "--settings", "wrong.kdl"]).ends_with(2);
    assert!(wrong.stderr.contains("did you mean `registration`?"), "{wrong}");
    let nowhere = user(&environment, "jane", &["bank", "serve"]).ends_with(2);
    assert!(nowhere.stderr.contains("--store"), "{nowhere}");
    let unfounded = user(&environment, "jane", &["bank", "serve", "--store", "sled:new"]).ends_with(2);
    assert!(unfounded.stderr.contains("--issuer"), "{unfounded}");
    let store = format!("sled:{}", environment.path().join("bank").display());
    let open = ["bank", "serve", "--store", &store, "--listen", "0.0.0.0:0"];
    let open = user(&environment, "jane", &open).ends_with(1);
    assert!(open.stderr.contains("has no TLS certificate"), "{open}");
}

#[test]
fn a_bank_is_backed_up_while_it_runs_and_restored_in_a_new_epoch() {
    let environment = Environment::new();
    let mut bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    user(&environment, "jane", &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    user(&environment, "jane", &["bank", "create-account"]).ok();
    let store = |folder: &str| format!("sled:{}", environment.path().join(folder).display());
    user(&environment, "issuer", &["bank", "backup", "--store", &store("bank"), "--to", "backup"]).ok();
    assert_eq!(json(&environment, "issuer", &["bank", "audit", "--store", &store("backup")])["ok"], true);
    user(&environment, "issuer", &["bank", "export", "--store", &store("bank"), "--to", "export"]).ok();
    bank.kill();

    let keyless = user(&environment, "issuer", &["bank", "restore", "--store", &store("second"), "--from", "backup"])
        .ends_with(1);
    assert!(keyless.stderr.contains("a bank is its key"), "{keyless}");
    std::fs::copy(environment.path().join("bank/bank_key"), environment.path().join("second/bank_key")).unwrap();
    let restored =
        user(&environment, "issuer", &["bank", "restore", "--store", &store("second"), "--from", "backup"]).ok();
    assert!(restored.stderr.contains("epoch 2 has begun"), "{restored}");
    let audit = json(&environment, "issuer", &["bank", "audit", "--store", &store("second")]);
    assert_eq!(audit["ok"], true, "{audit}");

    user(&environment, "issuer", &["bank", "import", "--store", &store("third"), "--from", "export"]).ok();
    let again =
        user(&environment, "issuer", &["bank", "import", "--store", &store("third"), "--from", "export"]).ends_with(1);
    assert!(again.stderr.contains("there is a journal in it"), "{again}");
    std::fs::copy(environment.path().join("bank/bank_key"), environment.path().join("third/bank_key")).unwrap();
    let moved = ServedBank::start(&environment, "third", &[]);
    let moved_balance = ["bank", "balance", "--bank", &moved.url, "--bank-key", &moved.key];
    // It has moved to another machine, which does not know what the old one accepted: it waits for a while.
    assert_eq!(moved.key.split(' ').next(), Some("ssh-ed25519"));
    let early = user(&environment, "jane", &moved_balance);
    assert!(early.code == Some(0) || early.stderr.contains("call.restarting"), "{early}");
}

#[test]
fn two_processes_serve_one_bank_from_postgresql() {
    let environment = Environment::new();
    let cluster = Cluster::start();
    let store = cluster.database();
    let issuer = user(&environment, "issuer", &["user", "export"]).ok().stdout;
    let keyless = ["bank", "serve", "--store", &store];
    let keyless = user(&environment, "issuer", &keyless).ends_with(2);
    assert!(keyless.stderr.contains("--key FILE"), "{keyless}");
    let more = ["--key", "bank_key", "--issuer", issuer.trim(), "--registration", "open"];
    let first = ServedBank::start_with(&environment, &store, &more);
    let second = ServedBank::start_with(&environment, &store, &more);
    assert_eq!(first.key, second.key);
    let at = |bank: &ServedBank, name: &str, arguments: &[&str]| {
        let which = ["--bank", &bank.url, "--bank-key", &bank.key];
        json(&environment, name, &[arguments, &which].concat())
    };
    let jane = at(&first, "jane", &["bank", "create-account"]);
    at(&second, "issuer", &["bank", "issue", text(&jane, "account"), "50"]);
    assert_eq!(at(&first, "jane", &["bank", "balance"])["balance_micro"], 50_000_000);
    first.stop();
    assert_eq!(at(&second, "jane", &["bank", "balance"])["balance_micro"], 50_000_000);
    let audit = json(&environment, "issuer", &["bank", "audit", "--store", &store]);
    assert_eq!((&audit["ok"], &audit["issued_micro"]), (&Value::Bool(true), &50_000_000.into()), "{audit}");

    // To a folder, and into another database.
    user(&environment, "issuer", &["bank", "export", "--store", &store, "--to", "export"]).ok();
    user(&environment, "issuer", &["bank", "import", "--store", "sled:moved", "--from", "export"]).ok();
    let elsewhere = cluster.database();
    user(&environment, "issuer", &["bank", "import", "--store", &elsewhere, "--from", "export"]).ok();
    let occupied =
        user(&environment, "issuer", &["bank", "import", "--store", &elsewhere, "--from", "export"]).ends_with(1);
    assert!(occupied.stderr.contains("needs an empty database"), "{occupied}");
    let files = user(&environment, "issuer", &["bank", "backup", "--store", &store, "--to", "x"]).ends_with(2);
    assert!(files.stderr.contains("pg_dump"), "{files}");
}

#[test]
fn a_group_shares_an_account_with_sub_accounts_and_allowances() {
    let environment = Environment::new();
    let bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
    for name in ["issuer", "jane", "mia"] {
        user(&environment, name, &["init", "--bank", &bank.url, "--bank-key", &bank.key]).ok();
    }
    let jane = json(&environment, "jane", &["bank", "create-account", "--label", "lab"]);
    json(&environment, "issuer", &["bank", "issue", text(&jane, "account"), "100"]);
    let mia_key = user(&environment, "mia", &["user", "export"]).ok().stdout;
    environment.write("mia.pub", &mia_key);
    let mia = json(&environment, "jane", &["bank", "create-account", "mia.pub", "--sub", "--label", "mia"]);
    let mia = text(&mia, "account").to_owned();
    let granted = json(&environment, "jane", &["bank", "allowance", &mia, "10", "--every", "7d"]);
    assert_eq!(granted["balance_micro"], 10_000_000);
    let nobody = "0".repeat(text(&jane, "account").len());
    let refused = user(&environment, "mia", &["bank", "transfer", &nobody, "1"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    json(&environment, "mia", &["bank", "transfer", text(&jane, "account"), "4"]);
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["balance_micro"], 94_000_000);
    assert_eq!(json(&environment, "jane", &["bank", "accounts"]).as_array().unwrap().len(), 2);
    let history = user(&environment, "jane", &["bank", "history", "--account", &mia, "--kind", "allowance"]).ok();
    assert!(history.stdout.contains("allowance"), "{history}");
    let keys = user(&environment, "jane", &["bank", "keys", "put", "mia.pub", "--role", "reader"]).ends_with(1);
    assert!(keys.stderr.contains("bank.key-taken"), "{keys}");
    json(&environment, "jane", &["bank", "allowance", &mia, "--end"]);
    let closed = json(&environment, "jane", &["bank", "close", "--account", &mia, "--to", text(&jane, "account")]);
    assert!(closed["closed_at"].is_i64(), "{closed}");
    assert_eq!(json(&environment, "jane", &["bank", "balance"])["balance_micro"], 100_000_000);
}

#[test]
fn old_segments_are_put_away_and_still_read() {
    let environment = Environment::new();
    let store = format!("sled:{}", environment.path().join("bank").display());
    for round in 0..2 {
        let bank = ServedBank::start(&environment, "bank", &["--registration", "open"]);
        let name = format!("user{round}");
        let which = ["--bank", &bank.url, "--bank-key", &bank.key];
        user(&environment, &name, &[&["bank", "create-account"][..], &which].concat());
        bank.stop();
        let put =
            user(&environment, "issuer", &["bank", "archive", "--store", &store, "--to", "old", "--keep", "1"]).ok();
        assert!(put.stdout.contains("put 0 segments away"), "one segment always stays: {put}");
    }
    let audit = json(&environment, "issuer", &["bank", "audit", "--store", &store]);
    assert_eq!(audit["ok"], true, "{audit}");
    let other = user(&environment, "issuer", &["bank", "archive", "--store", &store, "--to", "elsewhere"]).ends_with(1);
    assert!(other.stderr.contains("all must be in one folder"), "{other}");
}
