//! Files that are no descriptions, wherever a file is named: as the description, as an import, as a file of params, to
//! `fmt`. Each is refused at once, with its name and without a panic.

use std::fs::{self, File};
use std::process::Command;

use crate::environment::{Environment, HELLO, Ran};

/// A home with every sort of bad file in it, and for each what the refusal must say.
fn bad_files() -> (Environment, Vec<(&'static str, &'static str)>) {
    let environment = Environment::new();
    let path = |name: &str| environment.path().join(name);
    fs::create_dir(path("folder.kdl")).expect("a folder");
    assert!(Command::new("mkfifo").arg(path("fifo.kdl")).status().expect("mkfifo runs").success());
    File::create(path("huge.kdl")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file of 1 GiB");
    fs::write(path("latin1.kdl"), b"template T\xe9st extends=domain { }\n").expect("a file");
    fs::write(path("nul.kdl"), b"template T extends=domain {\0}\n").expect("a file");
    environment.write("backwards.kdl", "template T extends=domain { \u{202e}memory 1; }\n");
    environment.write("deep.kdl", &"a {".repeat(100_000));
    environment.write("comments.kdl", &"/*".repeat(100_000));
    environment.write("slashdash.kdl", &"/- a {".repeat(100_000));
    environment.write("hashes.kdl", &"#".repeat(4 << 20));
    environment.write("raw.kdl", &format!("a {}\"x\"\n", "#".repeat(4 << 20)));
    std::os::unix::fs::symlink("loop.kdl", path("loop.kdl")).expect("a link to itself");
    let says = vec![
        ("folder.kdl", "it is a directory"),
        ("fifo.kdl", "it is not a regular file"),
        ("huge.kdl", "is larger than"),
        ("latin1.kdl", "is not UTF-8"),
        ("nul.kdl", "E0106"),
        ("backwards.kdl", "E0106"),
        ("deep.kdl", "deep"),
        ("comments.kdl", "deep"),
        ("slashdash.kdl", "deep"),
        ("hashes.kdl", "E0105"),
        ("raw.kdl", "E0105"),
        ("loop.kdl", "cannot be read"),
        ("missing.kdl", "no such file"),
        ("/dev/zero", "it is not a regular file"),
    ];
    (environment, says)
}

#[track_caller]
fn refused(ran: Ran, file: &str, says: &str) {
    let ran = ran.ends_with(1);
    assert!(ran.stderr.contains(file) && ran.stderr.contains(says), "`{says}` is not said:\n{ran}");
    assert!(!ran.stderr.contains("panicked"), "{ran}");
    assert!(ran.stderr.len() < 10_000, "the message is short");
}

#[test]
fn as_descriptions() {
    let (environment, files) = bad_files();
    for (file, says) in files {
        refused(environment.run(&["check", file]), file, says);
    }
}

#[test]
fn as_imports() {
    let (environment, files) = bad_files();
    for (file, says) in files {
        environment.write("pool.kdl", &format!("import \"{file}\" as=lib\n{HELLO}"));
        refused(environment.run(&["check", "pool.kdl", "--allow-outside-imports"]), file, says);
    }
}

#[test]
fn as_files_of_params() {
    let (environment, files) = bad_files();
    for (file, says) in files {
        refused(environment.run(&["check", "hello.kdl", "--params", file]), file, says);
    }
}

#[test]
fn as_files_to_format() {
    let (environment, files) = bad_files();
    for (file, _) in files {
        let ran = environment.run(&["fmt", file]).ends_with(1);
        assert!(ran.stderr.contains(file) && !ran.stderr.contains("panicked"), "{ran}");
    }
}

#[test]
fn windows_line_ends_and_byte_order_marks_are_no_fault() {
    let environment = Environment::new();
    let windows = format!("\u{feff}{}", HELLO.replace('\n', "\r\n"));
    environment.write("windows.kdl", &windows);
    environment.run(&["check", "windows.kdl"]).ok();
    environment.write("params.kdl", "\u{feff}size \"96MiB\"\r\n");
    let sized =
        format!("\u{feff}param size type=bytes default=\"64MiB\"\r\n{}", windows.trim_start_matches('\u{feff}'));
    environment.write("sized.kdl", &sized.replace("\"64MiB\"\r\n    }", "($)size\r\n    }"));
    environment.run(&["check", "sized.kdl", "--params", "params.kdl"]).ok();
    // Columns are those that an editor shows.
    environment.write("wrong.kdl", &windows.replace("memory", "memroy"));
    let ran = environment.run(&["check", "wrong.kdl", "--json"]).ends_with(1);
    let value: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{ran}"));
    let label = &value["error"]["diagnostics"][0]["labels"][0];
    let line = HELLO.lines().position(|line| line.contains("memory")).expect("the line") + 1;
    assert_eq!((label["line"].as_u64(), label["column"].as_u64()), (Some(line as u64), Some(9)), "{label}");
}
