//! What goes wrong is said plainly: what, where, how to mend it; and nothing is lost.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::Command;

use crate::environment::{Environment, HELLO};

/// Checks that `pool` is refused by `command` with this exit code, as the snapshot says, and that nothing was done.
#[track_caller]
fn refused(name: &str, command: &str, pool: &str, code: i32) {
    let environment = Environment::new();
    environment.write("pool.kdl", pool);
    let ran = environment.run(&[command, "pool.kdl"]).ends_with(code);
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    insta::assert_snapshot!(name, ran);
    assert_eq!(environment.audited_balance(), 1_000_000_000, "nothing was paid");
    assert!(environment.domains("hello").is_empty(), "nothing was made");
}

#[test]
fn a_syntax_error() {
    refused(
        "syntax_error",
        "up",
        "pool hello {\n    budget 10 for=\"1h\"\n    domain web {\n        memory=\"64MiB\"\n    }\n}\n",
        1,
    );
    refused("unclosed_brace", "check", "pool hello {\n    budget 10 for=\"1h\"\n", 1);
}

#[test]
fn an_unknown_attribute() {
    refused("unknown_attribute", "up", &HELLO.replace("memory", "memroy"), 1);
}

#[test]
fn an_unknown_kind() {
    refused("unknown_kind", "up", &HELLO.replace("domain web", "domian web"), 1);
}

#[test]
fn a_wrong_unit() {
    refused("wrong_unit", "up", &HELLO.replace("128MiB", "64 s"), 1);
    refused("no_unit", "up", &HELLO.replace("\"128MiB\"", "64"), 1);
}

#[test]
fn a_missing_value() {
    refused("missing_value", "up", &HELLO.replace("memory \"128MiB\"", ""), 1);
}

#[test]
fn several_errors_come_in_one_run() {
    let pool = HELLO.replace("128MiB", "64 s").replace("image", "imgae").replace("count=3", "count=\"three\"");
    refused("several_errors", "check", &pool, 1);
}

#[test]
fn a_pool_without_a_budget() {
    refused("no_budget", "up", &HELLO.replace("budget 10 for=\"1h\"", ""), 1);
}

#[test]
fn a_pool_that_no_host_can_hold() {
    refused("no_host", "up", &HELLO.replace("128MiB", "100GiB"), 1);
    refused("too_many_domains", "up", &HELLO.replace("128MiB", "30GiB"), 1);
    refused("no_image", "up", &HELLO.replace("std:tiny", "slackware-1"), 1);
}

#[test]
fn a_budget_too_small_says_how_much_would_do() {
    let tiny = HELLO.replace("budget 10", "budget 0.01");
    refused("budget_too_small", "up", &tiny, 5);
    let environment = Environment::new();
    environment.write("pool.kdl", &tiny);
    let help = environment.run(&["plan", "pool.kdl"]).ends_with(5).stderr;
    let proposed =
        help.split("budget ").find_map(|rest| rest.split(' ').next()?.parse::<f64>().ok().filter(|sum| *sum > 0.01));
    let proposed = proposed.unwrap_or_else(|| panic!("no amount is proposed:\n{help}"));
    environment.write("pool.kdl", &HELLO.replace("budget 10", &format!("budget {proposed}")));
    environment.run(&["up", "pool.kdl"]).ok();
}

#[test]
fn a_balance_too_small() {
    refused("balance_too_small", "up", &HELLO.replace("budget 10 for=\"1h\"", "budget 100000 for=\"1000h\""), 5);
}

#[test]
fn files_that_are_none() {
    let environment = Environment::new();
    std::fs::create_dir(environment.path().join("folder.kdl")).expect("a folder");
    let fifo = environment.path().join("fifo.kdl");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    assert!(std::fs::metadata(&fifo).expect("a fifo").file_type().is_fifo());
    environment.write("latin1.kdl", "");
    std::fs::write(environment.path().join("latin1.kdl"), b"pool h\xe9llo {\n}\n").expect("a file");
    std::fs::write(environment.path().join("nul.kdl"), b"pool hello {\0}\n").expect("a file");
    std::fs::write(environment.path().join("empty.kdl"), b"").expect("a file");
    for (name, file) in [
        ("missing_file", "missing.kdl"),
        ("folder", "folder.kdl"),
        ("fifo", "fifo.kdl"),
        ("not_utf8", "latin1.kdl"),
        ("nul", "nul.kdl"),
    ] {
        insta::assert_snapshot!(name, environment.run(&["check", file]).ends_with(1));
    }
    insta::assert_snapshot!("empty", environment.run(&["up", "empty.kdl"]).ends_with(1));
    let crlf = format!("\u{feff}{}", HELLO.replace('\n', "\r\n"));
    environment.write("windows.kdl", &crlf);
    environment.run(&["check", "windows.kdl"]).ok();
}

#[test]
fn deep_nesting_is_refused_and_crashes_nothing() {
    let environment = Environment::new();
    environment.write("deep.kdl", &"a {".repeat(100_000));
    environment.write("comments.kdl", &"/*".repeat(100_000));
    environment.write("slashdash.kdl", &"/- a {".repeat(100_000));
    for file in ["deep.kdl", "comments.kdl", "slashdash.kdl"] {
        let ran = environment.run(&["check", file]).ends_with(1);
        assert!(ran.stderr.contains("deep") || ran.stderr.contains("nest"), "{ran}");
    }
}

#[test]
fn a_pool_that_is_not_there() {
    let environment = Environment::new();
    insta::assert_snapshot!("no_such_pool_status", environment.run(&["status", "nothing"]).ends_with(1));
    insta::assert_snapshot!("no_such_pool_down", environment.run(&["down", "nothing"]).ends_with(1));
    insta::assert_snapshot!("bad_pool_name", environment.run(&["down", "No Such"]).ends_with(2));
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    let database = environment.site().join("database");
    for entry in std::fs::read_dir(&database).expect("the database is a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::write(&path, b"this is no database").expect("a file can be spoilt");
        }
    }
    let ran = environment.run(&["status"]);
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    assert!(ran.stderr.contains("database") && ran.stderr.contains("help"), "{ran}");
}

#[test]
fn damaged_books_are_named_and_never_mended_in_silence() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    let journal = environment.site().join("bank-journal");
    let segment = std::fs::read_dir(&journal)
        .expect("a journal")
        .map(|entry| entry.expect("an entry").path())
        .max_by_key(|path| path.metadata().map_or(0, |metadata| metadata.len()))
        .expect("a segment");
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, &bytes).expect("a segment can be spoilt");
    let ran = environment.run(&["status"]).ends_with(1);
    insta::with_settings!({ filters => vec![(r"offset \d+|byte \d+", "[place]"), (r"[0-9a-f]{64}", "[hash]")] }, {
        insta::assert_snapshot!("damaged_books", ran);
    });
    assert_eq!(std::fs::read(&segment).expect("a segment"), bytes, "nothing was changed");
}

#[test]
fn a_damaged_seed_and_a_foreign_version() {
    let environment = Environment::new();
    environment.run(&["ls"]).ok();
    std::fs::write(environment.site().join("seed"), b"short").expect("the seed can be spoilt");
    insta::assert_snapshot!("damaged_seed", environment.run(&["ls"]).ends_with(1));
    std::fs::write(environment.site().join("version"), b"99\n").expect("the version can be changed");
    insta::assert_snapshot!("foreign_version", environment.run(&["ls"]).ends_with(1));
}

#[test]
fn a_damaged_journal_of_a_pool_is_named() {
    let environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    let path = environment.site().join("pools/hello.journal");
    let text = std::fs::read_to_string(&path).expect("a journal");
    std::fs::write(&path, text.replacen("step-begun", "step-ended", 1)).expect("the journal can be spoilt");
    let ran = environment.run(&["up", "hello.kdl"]).ends_with(1);
    assert!(ran.stderr.contains("line 2"), "{ran}");
    insta::assert_snapshot!("damaged_pool_journal", ran);
    std::fs::remove_file(&path).expect("the journal can be moved aside");
    environment.run(&["up", "hello.kdl"]).ok();
}

#[test]
fn a_key_that_others_can_read() {
    let environment = Environment::new();
    environment.run(&["ls"]).ok();
    let key = environment.path().join(".config/tycoon/id_ed25519");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).expect("the mode can be changed");
    let ran = environment.run(&["up", "hello.kdl"]).ends_with(1);
    assert!(!ran.stderr.contains("restore") && !ran.stderr.contains("new account"), "the key is sound:\n{ran}");
    insta::assert_snapshot!("open_key", ran);
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("the mode can be changed");
    environment.run(&["up", "hello.kdl"]).ok();
}

#[test]
fn a_wrong_key_file() {
    let environment = Environment::new();
    environment.run(&["ls"]).ok();
    std::fs::write(environment.path().join(".config/tycoon/id_ed25519"), "no key\n").expect("the key can be spoilt");
    insta::assert_snapshot!("no_key", environment.run(&["up", "hello.kdl"]).ends_with(1));
}

#[test]
fn a_key_that_is_lost_is_missed_and_no_other_is_made_in_its_place() {
    let mut environment = Environment::new();
    environment.run(&["up", "hello.kdl"]).ok();
    let (config, aside) = (environment.path().join(".config/tycoon"), environment.path().join("aside"));
    std::fs::rename(config.join("id_ed25519"), &aside).expect("the key can be moved");
    insta::assert_snapshot!("lost_key", environment.run(&["status"]).ends_with(1));
    environment.run(&["user", "setup"]).ends_with(1);
    assert!(!config.join("id_ed25519").exists(), "nothing was made");
    std::fs::rename(&aside, config.join("id_ed25519")).expect("the key can be restored");
    assert_eq!(environment.domains("hello").len(), 3, "everything is as before");

    // Who begins anew says so, and hears that it is another account.
    std::fs::remove_file(config.join("id_ed25519")).expect("the key can be removed");
    std::fs::remove_file(config.join("identity.kdl")).expect("the choice can be removed");
    environment.pass(1);
    let mut command = environment.command(&["bank", "balance"]);
    command.env("TYCOON_SEED", "8");
    let anew = environment.ran(&["bank", "balance"], command).ok();
    assert!(anew.stderr.contains("made your key") && anew.stderr.contains("stays with that key"), "{anew}");
    environment.audited_balance();
}

/// A small file system of its own needs a mount, and that needs root.
#[test]
fn a_full_disk_loses_nothing() {
    let environment = Environment::new();
    let script = "mount -t tmpfs -o size=24m tycoon-test \"$HOME/.local/state\" 2>/dev/null || exit 77
        \"$0\" up hello.kdl >/dev/null 2>&1 || exit 1
        head -c 100m /dev/zero >\"$HOME/.local/state/filler\" 2>/dev/null
        \"$0\" down hello
        code=$?
        rm \"$HOME/.local/state/filler\"
        \"$0\" down hello || exit 3
        \"$0\" bank audit || exit 4
        exit $((10 + code))";
    std::fs::create_dir_all(environment.path().join(".local/state")).expect("a folder");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_tycoon")]);
    for (name, value) in environment.command(&[]).get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    command.current_dir(environment.path());
    let ran = environment.ran(&["down", "hello"], command);
    if ran.code == Some(77) || ran.stderr.contains("unshare") {
        eprintln!("SKIPPED: a file system of its own needs root");
        return;
    }
    assert_eq!(ran.code, Some(11), "the full disk is told (10 + exit code 1), and down works after that:\n{ran}");
    assert!(ran.stderr.contains("disk is full") || ran.stderr.contains("No space left"), "{ran}");
}
