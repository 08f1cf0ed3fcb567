//! The SSH sessions of strangers: users who try what is not theirs, on a host with a real sshd ([`crate::door`]).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bank_service::{text, user};
use crate::door::{Going, IMAGE, PATIENCE, PREAMBLE, Raw, Scene, file, frame, manifest};

/// Both have a domain on the host; their names there.
fn both_up(scene: &Scene) -> (String, String) {
    let name_of = |user: &str| {
        scene.run(user, &["up", "one.kdl", "--yes"]).ok();
        let mut session = scene.greeted(user);
        let listed = session.call(&json!({ "domains": { "now": 0 } }));
        let domains = listed["Ok"]["domains"].as_array().unwrap_or_else(|| panic!("{listed}: {}", scene.log())).clone();
        assert_eq!(domains.len(), 1, "each sees her own: {listed}");
        text(&domains[0], "name").to_owned()
    };
    (name_of("jane"), name_of("bob"))
}

#[test]
fn a_user_of_a_host_on_the_network_has_consoles_and_brings_images() {
    let Some(scene) = Scene::new(&[]) else { return };
    let pool = crate::environment::HELLO.replace("count=3", "count=1").replace("std:tiny", "lab:web");
    scene.environment.write("web.kdl", &pool);
    if !scene.asks {
        // So that sshd can be told of Jane before she brings her image.
        scene.run("jane", &["host", "create-account", "host1", "--pool", "hello", "--amount", "1"]).ok();
    }
    let up = scene.run("jane", &["up", "web.kdl", "--yes"]);
    assert_eq!(up.code, Some(0), "{up}\n{}", scene.log());
    assert!(up.stderr.contains("bringing the image lab:web"), "{up}");
    assert!(scene.run("jane", &["status"]).ok().stdout.contains("running"));
    // Once is enough.
    let again = scene.run("jane", &["up", "web.kdl", "--yes"]).ok();
    assert!(!again.stderr.contains("bringing"), "{again}");
    assert!(!again.stdout.contains("lab:web"), "nothing is to be changed: {again}");
    // To Bob there is no such image: he has no file of it.
    let without = fs::read_to_string(scene.environment.path().join("hosts.kdl")).expect("the site").replace(IMAGE, "");
    scene.environment.write("bare.kdl", &without);
    let refused = user(&scene.environment, "bob", &["--site", "bare.kdl", "up", "web.kdl", "--yes"]);
    assert!(refused.stderr.contains("lab:web"), "{refused}");
    assert_ne!(refused.code, Some(0), "{refused}");

    let mut console = scene.start_console("jane", "hello/web.0");
    let mut shown = console.read_line();
    assert!(shown.contains("hello.web.0-"), "{shown}");
    console.child.0.stdin.as_mut().expect("its input").write_all(b"good morning\n").expect("it reads");
    shown = console.read_line();
    assert_eq!(shown.trim(), "good morning");
    // Where nobody types any more, the console ends, and well.
    drop(console.child.0.stdin.take());
    assert!(console.child.0.wait().expect("it ends").success());
    let none = scene.run("bob", &["console", "hello/web.0"]).ends_with(1);
    assert!(none.stderr.contains("no domain"), "{none}");

    // Somebody else answers at the host's address: nothing is said to him.
    let site = fs::read_to_string(scene.environment.path().join("hosts.kdl")).expect("the site");
    let other = scene.public_key("bob");
    let (before, after) = site.split_once("ssh-key \"").expect("the site has the key");
    let after = after.split_once('"').expect("its end").1;
    scene.environment.write("changed.kdl", &format!("{before}ssh-key \"{other}\"{after}"));
    let changed = user(&scene.environment, "jane", &["--site", "changed.kdl", "console", "hello/web.0"]).ends_with(1);
    assert!(changed.stderr.contains("HAS CHANGED"), "{changed}");

    scene.run("jane", &["down", "hello", "--yes"]).ok();
    scene.end();
}

#[test]
fn where_a_host_is_and_which_key_it_shows_its_record_says() {
    let Some(scene) = Scene::open(&[], true) else { return };
    let jane = |arguments: &[&str]| {
        scene.refresh();
        user(&scene.environment, "jane", arguments)
    };
    jane(&["up", "one.kdl", "--yes"]).ok();
    let shown = jane(&["sls", "show", "host1"]).ok();
    assert!(shown.stdout.contains(&format!("127.0.0.1:{}", scene.port)), "{shown}");
    // The input is at its end at once, and so is the console: that is no fault.
    let console = jane(&["console", "hello/web.0"]).ok();
    assert!(console.stderr.is_empty(), "{console}");
    jane(&["down", "hello", "--yes"]).ok();
    scene.end();
}

/// The way of the blocks: the host's disk, its enforcer, sshd, the user's machine. And back, as an image of hers.
#[test]
fn a_user_saves_her_volumes_and_nobody_elses() {
    let Some(scene) = Scene::new(&[]) else { return };
    let saving = crate::environment::HELLO.replace("count=3", "count=1").replace(
        "memory",
        &format!(
            "root size=\"8MiB\"\n        save-image to=\"{}/saved\" format=raw\n        memory",
            scene.environment.path().display()
        ),
    );
    scene.environment.write("one.kdl", &saving);
    let (of_jane, of_bob) = both_up(&scene);
    let refused = scene.run("jane", &["save-image", "hello/web.0"]).ends_with(1);
    assert!(refused.stderr.contains("--suspend"), "{refused}");
    let saved = scene.run("jane", &["save-image", "hello/web.0", "--suspend", "--name", "first"]);
    assert_eq!(saved.code, Some(0), "{saved}\n{}", scene.log());
    let content = fs::read(scene.environment.path().join("first.raw")).expect("the file is there");
    assert_eq!(content.len(), 8 << 20);
    assert!(content.starts_with(format!("volume root of {of_jane},").as_bytes()));
    assert!(scene.run("jane", &["status"]).ok().stdout.contains("running"), "it goes on");

    // Bob, whose own stands still, says Jane's name instead.
    scene.run("jane", &["suspend", "hello/web.0"]).ok();
    scene.run("bob", &["suspend", "hello/web.0"]).ok();
    for (name, is_his) in [(of_bob.as_str(), true), (&of_jane, false), ("../web", false), (&"x".repeat(9_000), false)] {
        let mut session = scene.greeted("bob");
        session.say(&json!({ "volume": { "name": name, "volume": "root", "offset": 0 } }));
        let answer = session.hear().expect("an answer");
        assert_eq!(answer["blocks"]["bytes"] == 8 << 20, is_his, "{answer}");
        assert_eq!(answer["refused"].is_object(), !is_his, "{answer}");
        let mut session = scene.greeted("bob");
        session.say(&json!({ "keep-as-image": { "name": name, "volume": "root", "image": "loot" } }));
        let answer = session.hear().expect("an answer");
        assert_eq!(answer["refused"].is_object(), !is_his, "{answer}");
    }
    for volume in ["../root", "seed.iso", "", "data"] {
        let mut session = scene.greeted("bob");
        session.say(&json!({ "volume": { "name": of_bob, "volume": volume, "offset": 0 } }));
        assert!(session.hear().expect("an answer")["refused"].is_object(), "{volume}");
    }
    let none = scene.run("bob", &["save-image", "hello/web.1"]).ends_with(1);
    assert!(none.stderr.contains("no domain"), "{none}");

    // An image of hers, from her own volume; to Bob there is no such image.
    let kept = scene.run("jane", &["save-image", "hello/web.0", "--as-image", "my:web"]);
    assert_eq!(kept.code, Some(0), "{kept}\n{}", scene.log());
    scene.environment.write("copy.kdl", &saving.replace("pool hello", "pool copy").replace("std:tiny", "my:web"));
    scene.run("jane", &["up", "copy.kdl", "--yes"]).ok();
    let refused = scene.run("bob", &["up", "copy.kdl", "--yes"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    scene.run("jane", &["down", "copy", "--yes"]).ok();
    let content = fs::read(scene.environment.path().join("saved/copy.web.0.raw")).expect("it is saved");
    assert!(content.starts_with(format!("volume root of {of_jane},").as_bytes()));

    scene.run("jane", &["down", "hello", "--yes"]).ok();
    assert!(scene.environment.path().join("saved/hello.web.0.raw.json").exists());
    scene.end();
}

#[test]
fn nobody_reaches_what_is_anothers() {
    let Some(scene) = Scene::new(&[]) else { return };
    let (of_jane, of_bob) = both_up(&scene);
    assert_ne!(of_jane, of_bob);

    let mut session = scene.greeted("bob");
    let facts = session.call(&json!("facts"));
    assert_eq!(facts["Ok"]["facts"]["architecture"], "x86_64", "{facts}");
    let own = session.call(&json!({ "domain": { "name": of_bob, "now": 0 } }));
    assert_eq!(own["Ok"]["domain"]["name"], of_bob.as_str(), "{own}");
    let others = [
        of_jane.as_str(),
        "mail",
        "Domain-0",
        "../machine",
        "/etc/passwd",
        "hello.web.0-",
        "",
        "hello.web.0",
        "*",
        "hello.web.0-0000\n",
        &"x".repeat(9_000),
    ];
    for name in others {
        let found = session.call(&json!({ "domain": { "name": name, "now": 0 } }));
        assert_eq!(found, json!({ "Ok": { "domain": null } }), "{name:?}");
    }
    // What a time far ahead would do to everybody's clock, it does not do.
    session.call(&json!({ "domains": { "now": i64::MAX } }));

    // Domains are made, started and removed through the market: here not even one's own.
    let full = session.call(&json!({ "domain": { "name": of_bob, "now": 0 } }));
    let spec = full["Ok"]["domain"]["spec"].clone();
    let ownership = full["Ok"]["domain"]["ownership"].clone();
    assert!(spec.is_object() && ownership.is_object(), "{full}");
    for name in [&of_jane, &of_bob] {
        for call in [
            json!({ "ensure-image": { "image": "std:tiny" } }),
            json!({ "ensure-volumes": { "spec": spec, "ownership": ownership } }),
            json!({ "define": { "spec": spec, "ownership": ownership, "now": 0 } }),
            json!({ "start": { "name": name, "now": 0 } }),
            json!({ "stop": { "name": name, "grace_ms": 0, "now": 0 } }),
            json!({ "remove": { "name": name, "now": 0 } }),
            json!({ "set-cpu": { "name": name, "weight": 65_535, "cap_percent": 0, "now": 0 } }),
            json!({ "set-memory": { "name": name, "memory_bytes": 1, "now": 0 } }),
        ] {
            let refused = session.call(&call);
            assert!(
                refused["Err"]["refused"]["reason"].as_str().is_some_and(|why| why.contains("market")),
                "{refused}"
            );
        }
    }
    assert!(session.rest().is_empty());

    for name in others {
        let mut session = scene.greeted("bob");
        session.say(&json!({ "console": { "name": name } }));
        let refused = session.hear().expect("an answer");
        let why = refused["refused"]["error"]["refused"]["reason"].as_str().unwrap_or_default();
        assert!(why.contains("has no domain"), "{name:?}: {refused}");
    }
    let mut session = scene.greeted("bob");
    session.say(&json!({ "console": { "name": of_bob } }));
    assert_eq!(session.hear(), Some(json!("opened")));

    for (name, why) in [
        ("../web", "cannot name an image"),
        ("/etc/passwd", "cannot name an image"),
        ("std:tiny", "choose another name"),
        (&"x".repeat(100), "95 are possible"),
        (&"x".repeat(10_000), "cannot name an image"),
    ] {
        let refused = scene.upload("bob", &manifest(name, b"a disk", json!({})), &[]);
        assert!(refused.to_string().contains(why), "{name}: {refused}");
    }
    let with_kernel = json!({ "kernel": file(b"a kernel") });
    for (more, why) in [
        (with_kernel, "kernel of its own"),
        (json!({ "kernel_args": ["init=/bin/sh"] }), "kernel of its own"),
        (json!({ "format": "qcow2" }), "only raw ones"),
        (json!({ "disk": { "bytes": 1_u64 << 40, "sha256": "0".repeat(64) } }), "bid for more disk"),
    ] {
        let refused = scene.upload("bob", &manifest("web", b"a disk", more), &[]);
        assert!(refused.to_string().contains(why), "{refused}");
    }
    // Jane's image is hers alone: whoever knows its digest has not got it, and its name is free to others.
    let secret = manifest("secret", b"what only Jane has", json!({}));
    assert_eq!(scene.upload("jane", &secret, b"what only Jane has")["stored"]["is_new"], true);
    assert_eq!(scene.upload("jane", &secret, b"")["stored"]["is_new"], false, "she has it");
    let half = scene.upload("bob", &secret, b"");
    assert_eq!(half["have"]["state"]["offsets"][0][1], 0, "he has nothing of it: {half}");
    let wrong = scene.upload("bob", &secret, b"what Bob thinks of");
    assert!(wrong.to_string().contains("SHA-256"), "{wrong}");
    let images = |name: &str| scene.greeted(name).call(&json!("facts"))["Ok"]["facts"]["images"].clone();
    assert!(images("jane").as_array().expect("images").contains(&json!("secret")));
    assert!(!images("bob").to_string().contains("secret"));
    let offers = scene.json("bob", &["hosts"]);
    assert!(!offers.to_string().contains("secret"), "{offers}");

    for name in ["jane", "bob"] {
        let status = scene.run(name, &["status"]).ok();
        assert!(status.stdout.contains("running"), "nothing has happened to anybody: {status}");
        scene.run(name, &["down", "hello", "--yes"]).ok();
    }
    scene.end();
}

#[test]
fn what_makes_no_sense_ends_the_session_and_nothing_else() {
    let Some(scene) = Scene::new(&[]) else { return };
    let (of_jane, _) = both_up(&scene);
    let hello = frame(b'm', br#"{"protocol":1,"oldest_protocol":1,"program":"a test"}"#);
    let begun = |more: &[u8]| [PREAMBLE, &hello, more].concat();
    let long = |kind: u8, length: u32| [&[kind][..], &length.to_be_bytes()].concat();
    let deep = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("another program", b"SSH-2.0-x\r\n".to_vec(), "instead it says"),
        // The first line of the socket is the relay's alone.
        ("another account", b"tycoon account 00000000000000000000000000000000 9\n".to_vec(), "instead it says"),
        ("a greeting that is too long", [PREAMBLE, &long(b'm', u32::MAX)].concat(), "are allowed"),
        ("data for a greeting", [PREAMBLE, &frame(b'd', b"x")].concat(), "before the first message"),
        ("a message that is too long", begun(&long(b'm', 17 << 10)), "are allowed"),
        ("data that is too long", begun(&long(b'd', (256 << 10) + 1)), "are allowed"),
        ("a frame of no kind", begun(&frame(b'x', b"")), "unknown kind"),
        ("no JSON", begun(&frame(b'm', b"\xff{")), "makes no sense"),
        ("deep JSON", begun(&frame(b'm', deep.as_bytes())), "makes no sense"),
        ("a call that is none", begun(&frame(b'm', br#"{"call":{"id":1,"call":"shell"}}"#)), "makes no sense"),
        ("one field more", begun(&frame(b'm', br#"{"console":{"name":"x","account":"y"}}"#)), "makes no sense"),
        ("data without a console", begun(&frame(b'd', b"ls\n")), "data came"),
        ("a piece of nothing", begun(&frame(b'm', br#"{"file":{"part":"disk","offset":0}}"#)), "before its manifest"),
        ("half a frame", begun(&long(b'm', 100)), "in the middle of a frame"),
        ("half a greeting", PREAMBLE[..5].to_vec(), "no session began"),
    ];
    for (what, bytes, why) in cases {
        let mut session = scene.raw("bob");
        session.write(&bytes);
        let said = session.rest();
        assert!(said.contains("fault") && said.contains(why), "{what}: {said}");
    }
    // More calls at once than anybody needs.
    let mut session = scene.greeted("bob");
    let call = frame(b'm', br#"{"call":{"id":1,"call":{"domains":{"now":0}}}}"#);
    session.write(&call.repeat(5_000));
    let said = session.rest();
    assert!(said.contains("calls at once") || said.matches("\"domains\"").count() == 5_000, "{}", said.len());
    // An unfinished frame takes nothing from anybody while it is waited for, and one account cannot take all places.
    let mut waiting: Vec<Raw> = Vec::new();
    let refused = loop {
        let mut session = scene.raw("bob");
        session.write(&begun(&long(b'm', 100)));
        session.hear_greeting();
        session.write(b"{");
        if waiting.len() == 6 {
            break session.hear();
        }
        waiting.push(session);
    };
    let refused = refused.expect("an answer").to_string();
    assert!(refused.contains("of this account"), "{refused}");
    let mut console = scene.greeted("jane");
    console.say(&json!({ "console": { "name": of_jane } }));
    assert_eq!(console.hear(), Some(json!("opened")), "others are served meanwhile");
    let status = scene.run("jane", &["status"]).ok();
    assert!(status.stdout.contains("running"), "the market has not noticed: {status}");
    drop(waiting);
    drop(console);
    for name in ["jane", "bob"] {
        scene.run(name, &["down", "hello", "--yes"]).ok();
    }
    scene.end();
}

#[test]
fn there_is_a_session_and_no_shell_no_forwarding_no_agent_and_no_terminal() {
    let Some(scene) = Scene::new(&[]) else { return };
    both_up(&scene);
    for command in [&["ls", "/"][..], &["sh", "-c", "id"], &["tycoon", "host", "session"], &["-s", "sftp"]] {
        let output = scene.ssh("jane", &[], command).output().expect("ssh runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with("tycoon session\n"), "{command:?}: {said}\n{}", scene.log());
        assert!(!said.contains("uid=") && !said.contains("usr"), "{command:?}: {said}");
    }
    // A terminal is asked for and not given; what is typed is no command.
    let mut typed = scene.ssh("jane", &["-tt"], &[]).stdin(Stdio::piped()).spawn().expect("ssh starts");
    typed.stdin.take().expect("its input").write_all(b"id\nexit\n").expect("it reads");
    let output = typed.wait_with_output().expect("ssh ends");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains("uid="), "{said}");

    // No way through the host: not to its own ports, not back to the client's, not to its sockets.
    let listens = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number").port();
    let target = format!("127.0.0.1:{}", scene.port);
    let output = scene.ssh("jane", &["-W", &target], &[]).output().expect("ssh runs");
    assert!(output.stdout.is_empty(), "nothing comes through");
    assert_ne!(output.status.code(), Some(0));
    for forward in [
        vec![
            "-o".to_owned(),
            "ExitOnForwardFailure=yes".into(),
            "-N".into(),
            "-R".into(),
            format!("{listens}:{target}"),
        ],
        vec!["-w".into(), "any".into(), "-o".into(), "ExitOnForwardFailure=yes".into(), "-N".into()],
    ] {
        let options: Vec<&str> = forward.iter().map(String::as_str).collect();
        let output = scene.ssh("jane", &options, &[]).output().expect("ssh runs");
        assert_ne!(output.status.code(), Some(0), "{forward:?}");
    }
    // OpenSSH's client listens for -L at once, and hears no when somebody comes.
    let local = format!("{listens}:{target}");
    let mut through = Going(scene.ssh("jane", &["-N", "-L", &local], &[]).spawn().expect("ssh starts"));
    let deadline = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", listens)) {
            Ok(stream) => break stream,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        assert_eq!(through.0.try_wait().expect("it can be looked at"), None);
    };
    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came);
    assert!(came.is_empty(), "sshd itself would have said its name: {}", String::from_utf8_lossy(&came));
    drop(through);

    // An agent that is offered is not taken: what runs there has none.
    let mut agent = Command::new("ssh-agent");
    agent.args(["-D", "-a"]).arg(scene.environment.path().join("agent.sock")).stdout(Stdio::null());
    let mut agent = agent.spawn().map(Going).expect("an agent starts");
    let deadline = Instant::now() + PATIENCE;
    while !scene.environment.path().join("agent.sock").exists() {
        assert!(Instant::now() < deadline && agent.0.try_wait().expect("it can be looked at").is_none());
    }
    let mut with_agent = scene.ssh("jane", &["-A"], &["env"]);
    with_agent.env("SSH_AUTH_SOCK", scene.environment.path().join("agent.sock"));
    let said = with_agent.output().expect("ssh runs").stdout;
    assert!(String::from_utf8_lossy(&said).starts_with("tycoon session\n"));
    let log = scene.log();
    assert!(!log.contains("Agent forwarding enabled"), "{log}");
    for name in ["jane", "bob"] {
        scene.run(name, &["down", "hello", "--yes"]).ok();
    }
    scene.end();
}

#[test]
fn who_has_an_account_here_gets_in_also_when_it_ran_dry_and_nobody_else() {
    // A long warning: who ran dry keeps her domain for that time.
    let policy = "warning-grace \"1h\"\ninterval \"1s\"\n";
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("policy.kdl").display().to_string();
    fs::write(&path, policy).expect("it can be written");
    let Some(scene) = Scene::new(&["--policy", &path]) else { return };
    // Nobody knows Jane before she has an account here.
    let before = scene.line_of(&scene.public_key("jane")).ok();
    assert_eq!(before.stdout, "", "a key that nobody knows opens nothing");
    let closed = |name: &str| {
        let output = scene.ssh(name, &[], &[]).output().expect("ssh runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(255) && said.contains("Permission denied"), "{name}: {said}");
    };
    closed("jane");
    user(&scene.environment, "stranger", &["init", "--bank", &scene.bank.url, "--bank-key", &scene.bank.key]).ok();
    let (of_jane, _) = both_up(&scene);
    closed("stranger");
    let line = scene.line_of(&scene.public_key("jane")).ok().stdout;
    let account = text(&scene.json("jane", &["user", "show"]), "account").to_owned();
    assert!(line.starts_with("restrict,command=\""), "{line}");
    assert!(line.contains(&format!("host session --account {account} ")), "{line}");
    assert!(line.trim_end().ends_with(&scene.public_key("jane")), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    for kind in ["ssh-rsa AAAAB3NzaC1yc2E=", "sk-ssh-ed25519@openssh.com AAAA", "ssh-ed25519 AAAA", "x $(id)"] {
        assert_eq!(scene.line_of(kind).ok().stdout, "", "{kind}");
    }

    // A second key of the account, which is taken away again.
    user(&scene.environment, "spare", &["init", "--bank", &scene.bank.url, "--bank-key", &scene.bank.key]).ok();
    let spare = scene.public_key("spare");
    closed("spare");
    scene.run("jane", &["bank", "keys", "put", &spare]).ok();
    scene.run("jane", &["host", "fund", "host1", "--pool", "hello", "--amount", "1"]).ok();
    let mut session = scene.greeted("spare");
    let listed = session.call(&json!({ "domains": { "now": 0 } }));
    assert_eq!(listed["Ok"]["domains"][0]["name"], of_jane.as_str(), "{listed}");
    drop(session);
    scene.run("jane", &["bank", "keys", "remove", &spare]).ok();
    scene.run("jane", &["host", "fund", "host1", "--pool", "hello", "--amount", "1"]).ok();
    closed("spare");

    // Memory becomes so dear that what Jane has does not pay for her domain any more: it is warned, and she still gets at
    // what she has. Those who have nothing left at all, and nothing that runs, are in the tests of the host's market.
    let dear = ["--site", "hosts.kdl", "host", "set", "host1", "memory-price=100000"];
    user(&scene.environment, "owner", &dear).ok();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = scene.run("jane", &["host", "status", "host1", "--pool", "hello"]);
        if shown.stdout.contains("stops at") {
            break;
        }
        assert!(Instant::now() < deadline, "the account does not run dry: {shown}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut console = scene.greeted("jane");
    console.say(&json!({ "console": { "name": of_jane } }));
    assert_eq!(console.hear(), Some(json!("opened")));
    drop(console);
    scene.end();
}
