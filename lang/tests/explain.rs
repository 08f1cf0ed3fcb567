//! Why a value is what it is, and what tests find.

mod support;

use tycoon_lang::{MemoryLoader, Options, explain, inspect, load, run_tests};

fn explained(text: &str, path: &str) -> String {
    let loader = MemoryLoader::new().with("pool.kdl", text);
    match explain("pool.kdl", &loader, &Options::default(), path) {
        Ok(explanation) => explanation.to_text(),
        Err(failure) => failure.to_text(),
    }
}

const BATCH: &str = "\
template Worker extends=domain {
    image \"debian-12\"
    memory \"2GiB\"
    (default)vcpus 2
}
pool batch {
    domain wn extends=Worker count=2 { memory \"3GiB\"; vcpus 4; }
    wn.0.memory \"4GiB\"
    domain head extends=Worker { cloud-init { file \"/a\" (f)\"${wn.0.eth0.ip}\"; }; }
    output first ($)wn.0.eth0.ip
}
";

#[test]
fn every_write_is_shown_nearest_first_with_what_became_of_it() {
    insta::assert_snapshot!("explain-batch-wn-0-memory", explained(BATCH, "batch.wn.0.memory"));
    insta::assert_snapshot!("explain-wn-1-vcpus", explained(BATCH, "wn.1.vcpus"));
    insta::assert_snapshot!("explain-wn-1-root-size", explained(BATCH, "wn.1.root.size"));
}

#[test]
fn the_way_of_a_live_value_is_shown() {
    insta::assert_snapshot!("explain-first", explained(BATCH, "first"));
}

#[test]
fn a_wrong_path_is_explained() {
    insta::assert_snapshot!("explain-wn-0-memmory", explained(BATCH, "wn.0.memmory"));
    insta::assert_snapshot!("explain-wn-7-memory", explained(BATCH, "wn.7.memory"));
    insta::assert_snapshot!("explain-head", explained(BATCH, "head"));
}

#[test]
fn a_value_is_explained_where_an_assertion_does_not_hold() {
    let text = BATCH.replace("    output first", "    assert \"wn.0.memory <= 1GiB\"\n    output first");
    let loader = MemoryLoader::new().with("pool.kdl", text.as_str());
    let explained = explain("pool.kdl", &loader, &Options::default(), "wn.0.memory").unwrap();
    assert!(explained.to_text().starts_with("batch.wn.0.memory = 4GiB"), "{}", explained.to_text());
    assert_eq!(explained.broken.iter().map(|error| error.code).collect::<Vec<_>>(), ["E0501"]);
    let (looked_at, broken) = inspect("pool.kdl", &loader, &Options::default()).unwrap();
    assert_eq!((looked_at.pool.domains.len(), broken.len()), (3, 1));
    assert!(load("pool.kdl", &loader, &Options::default()).is_err(), "nobody brings it up");
    // What else is wrong is an error as ever.
    let loader = MemoryLoader::new().with("pool.kdl", text.replace("vcpus 4", "vcpus many"));
    assert!(explain("pool.kdl", &loader, &Options::default(), "wn.0.memory").is_err());
}

#[test]
fn what_contradicts_itself_can_be_looked_at() {
    let text = "pool p { domain a { image \"x\"; memory \"1GiB\"; start-after b; }; \
                domain b { image \"x\"; memory \"1GiB\"; start-after a; }; }";
    let loader = MemoryLoader::new().with("pool.kdl", text);
    let (looked_at, broken) = inspect("pool.kdl", &loader, &Options::default()).unwrap();
    assert_eq!((looked_at.pool.domains.len(), broken.len()), (2, 1));
}

#[test]
fn tests_of_a_description_run_with_what_is_given() {
    let text = "\
param workers type=integer default=2 max=10
pool p {
    domain wn count=($)workers { image \"a\"; memory \"1GiB\"; }
    assert \"sum(wn.*.memory) <= 8GiB\" else=\"too much\"
}
test \"as it stands\" { expect \"len(p.wn) == 2\"; expect \"p.wn.0.memory == 1GiB\"; }
test \"with more\" { given { workers 5; p.wn.3.memory \"2GiB\"; }; expect \"sum(p.wn.*.memory) == 6GiB\"; }
test \"too many\" { given { workers 9; }; expect-error E0501; }
test \"wrong\" { expect \"len(p.wn) == 3\"; }
test \"unexpected\" { given { workers 99; }; expect \"true\"; }
";
    let loader = MemoryLoader::new().with("pool.kdl", text);
    let reports = run_tests("pool.kdl", &loader, &Options::default()).unwrap();
    let found: Vec<(&str, Vec<&str>)> =
        reports.iter().map(|r| (r.name.as_str(), r.failures.iter().map(|d| d.code).collect())).collect();
    assert_eq!(
        found,
        [
            ("as it stands", vec![]),
            ("with more", vec![]),
            ("too many", vec![]),
            ("wrong", vec!["E0502"]),
            ("unexpected", vec!["E0403"]),
        ]
    );
}

#[test]
fn a_test_that_is_not_well_formed_is_refused() {
    for (text, code) in [
        ("test { }", "E0208"),
        ("test \"a\" { expct \"true\"; }", "E0201"),
        ("test \"a\" { expect; }", "E0212"),
        ("test \"a\" { expect-error E9999; }", "E0404"),
    ] {
        let loader = MemoryLoader::new().with("pool.kdl", text);
        let failure = run_tests("pool.kdl", &loader, &Options::default()).unwrap_err();
        assert_eq!(failure.diagnostics[0].code, code, "{text}");
    }
}
