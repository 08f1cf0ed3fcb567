//! What contradicts itself in a pool is an error with all its places.

mod support;

use support::{codes, load_files, messages, refused, resolve};
use tycoon_lang::{MemoryLoader, Options, check};

const WEB: &str = "image \"std:tiny\"; memory \"64MiB\"";

/// A pool of domains, each with what stands behind its name.
fn pool(lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("    {}\n", line.replace("WEB", WEB))).collect();
    format!("pool p {{\n{lines}}}\n")
}

/// The steps of the circle that is found, in order.
#[track_caller]
fn circle(lines: &[&str]) -> Vec<String> {
    let text = pool(lines);
    let found = refused(&text);
    assert_eq!(found.iter().map(|error| error.code).collect::<Vec<_>>(), ["E0508"], "{}", messages(&text));
    found[0].labels.iter().map(|label| label.text.clone()).collect()
}

#[track_caller]
fn sound(lines: &[&str]) {
    resolve(&pool(lines));
}

#[test]
fn a_circle_of_starts_shows_every_step() {
    assert_eq!(
        circle(&[
            "domain a { WEB; start-after b; }",
            "domain b { WEB; start-after c; }",
            "domain c { WEB; start-after a; }",
            "domain outside { WEB; start-after a; }",
        ]),
        ["`a` starts after `b`", "`b` starts after `c`", "`c` starts after `a`"]
    );
}

#[test]
fn a_circle_may_lead_through_groups_and_instances() {
    assert_eq!(
        circle(&["group g { start-after web; domain db { WEB; }; }", "domain web { WEB; start-after g; }"]),
        ["`g.db` starts after `web`", "`web` starts after `g`, of which `g.db` is a part"]
    );
    assert_eq!(
        circle(&["domain web count=2 { WEB; start-after db; }", "domain db { WEB; start-after web.1; }"]),
        ["`web.1` starts after `db`", "`db` starts after `web.1`"]
    );
    // Each of them waits for the other one.
    assert_eq!(
        circle(&["group g { start-after g; domain a { WEB; }; domain b { WEB; }; }"]),
        ["`g.a` starts after `g`, of which `g.b` is a part", "`g.b` starts after `g`, of which `g.a` is a part"]
    );
}

#[test]
fn a_domain_cannot_start_after_itself() {
    assert_eq!(circle(&["domain a { WEB; start-after a; }"]), ["this is the domain itself"]);
}

#[test]
fn no_circle_is_seen_where_there_is_none() {
    sound(&["domain a { WEB; start-after b; }", "domain b { WEB; start-after c; }", "domain c { WEB; }"]);
    // All others after the first.
    sound(&["domain wn count=3 { WEB; start-after wn.0; }"]);
    // What a prototype starts after may extend it.
    sound(&["domain a { WEB; start-after b; }", "domain b extends=a"]);
    // The others of the group after one of it.
    sound(&["group g { start-after g.db; domain db { WEB; }; domain web { WEB; }; }"]);
    // A workflow starts it, whenever that is.
    sound(&[
        "domain a { WEB; start by-workflow; start-after b; }",
        "domain b { WEB; start-after a; }",
        "workflow w { start a; }",
    ]);
    sound(&["domain ab { WEB; start-after a; }", "domain a { WEB; }"]);
}

#[test]
fn several_circles_come_in_one_run() {
    let text = pool(&[
        "domain a { WEB; start-after b; }",
        "domain b { WEB; start-after a; }",
        "domain c { WEB; start-after d; }",
        "domain d { WEB; start-after c; }",
    ]);
    assert_eq!(codes(&text), ["E0508", "E0508"]);
}

#[test]
fn a_long_circle_is_shown_in_part() {
    let lines: Vec<String> =
        (0..200).map(|at| format!("domain d{at} {{ WEB; start-after d{}; }}", (at + 1) % 200)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let found = refused(&pool(&lines));
    assert_eq!(found[0].labels.len(), 12);
    assert!(found[0].notes.iter().any(|note| note.contains("200 domains")), "{:?}", found[0].notes);
}

#[test]
fn an_address_belongs_to_one_interface() {
    for (one, other) in [
        ("eth0 ip=\"192.0.2.7\"", "eth0 ip=\"192.0.2.7\""),
        ("eth0 ip=\"2001:db8::7\"", "nic eth1 ip=\"2001:DB8:0::7\""),
        ("eth0 mac=\"00:16:3e:00:00:01\"", "eth0 mac=\"00:16:3E:00:00:01\""),
    ] {
        let text = pool(&[&format!("domain a {{ WEB; {one}; }}"), &format!("domain b {{ WEB; {other}; }}")]);
        let found = refused(&text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!((found[0].code, found[0].labels.len()), ("E0509", 2), "both places are shown:\n{text}");
        assert!(found[0].message.contains("`a.eth") && found[0].message.contains("`b.eth"), "{}", found[0].message);
    }
    sound(&["domain a { WEB; eth0 ip=\"192.0.2.7\"; }", "domain b { WEB; eth0 ip=\"192.0.2.8\"; }"]);
    sound(&["domain a count=3 { WEB; eth0 ip=($)\"nth-address(192.0.2.7, index)\"; }"]);
}

#[test]
fn the_most_memory_is_not_less_than_the_least() {
    let text = pool(&["domain a count=3 { WEB; memory-max \"32MiB\"; }"]);
    let found = refused(&text);
    assert_eq!((found.len(), found[0].code), (1, "E0403"), "a line is told of once:\n{text}");
    assert!(found[0].message.contains("`a.0`") && found[0].message.contains("32MiB"), "{}", found[0].message);
    sound(&["domain a count=3 { WEB; memory-max \"64MiB\"; }", "domain b { WEB; memory-max \"1GiB\"; }"]);
}

#[test]
fn one_line_for_several_domains_says_how_to_count_up() {
    let text = pool(&["domain a count=3 { WEB; eth0 ip=\"192.0.2.7\"; }"]);
    let found = refused(&text);
    assert!(found[0].help.as_deref().is_some_and(|help| help.contains("nth-address")), "{}", messages(&text));
}

#[test]
fn every_pool_of_a_file_is_looked_at() {
    let twin = "domain a { WEB; start-after b; }\n domain b { WEB; start-after a; }";
    let text = format!("pool q {{ }}\n{}", pool(&[twin]));
    let failure = check("pool.kdl", &MemoryLoader::new().with("pool.kdl", text.as_str()), &Options::default())
        .expect_err("a circle");
    assert_eq!(failure.diagnostics[0].code, "E0508");
    // The other one can be used.
    let options = Options { pool: Some("q".into()), ..Options::default() };
    load_files(&text, &[], &options).map(|_| ()).expect("q is sound");
}
