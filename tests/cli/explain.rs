//! `tycoon explain`: kinds, types and values.

use crate::environment::Environment;

#[test]
fn a_kind_is_explained_with_all_it_has() {
    let environment = Environment::new();
    insta::assert_snapshot!("domain", environment.run(&["explain", "domain"]).ok());
    insta::assert_snapshot!("workflow", environment.run(&["explain", "workflow"]).ok());
    insta::assert_snapshot!("memory", environment.run(&["explain", "domain.memory"]).ok());
    insta::assert_snapshot!("require", environment.run(&["explain", "pool.place.require"]).ok());
    insta::assert_snapshot!("bytes", environment.run(&["explain", "bytes"]).ok());
    assert_eq!(environment.json(&["explain", "host-facts"])["schema"]["name"], "host-facts");
    assert_eq!(environment.json(&["explain", "domain.memory"])["attribute"]["max"], "64TiB");
}

#[test]
fn what_is_not_there_is_answered_with_what_is_near() {
    let environment = Environment::new();
    insta::assert_snapshot!("domian", environment.run(&["explain", "domian"]).ends_with(1));
    insta::assert_snapshot!("memroy", environment.run(&["explain", "domain.memroy"]).ends_with(1));
    insta::assert_snapshot!("nothing_near", environment.run(&["explain", "quux"]).ends_with(1));
    insta::assert_snapshot!("no_path", environment.run(&["explain", "hello.kdl"]).ends_with(2));
}

#[test]
fn a_live_value_is_explained_hop_by_hop() {
    let environment = Environment::new();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for file in ["cluster.kdl", "lib/cluster.kdl"] {
        environment.write(file, &std::fs::read_to_string(examples.join(file)).expect("the example can be read"));
    }
    let path = "edge.cern.worker.0.head-address";
    insta::assert_snapshot!("live", environment.run(&["explain", "cluster.kdl", path]).ok());
}

#[test]
fn a_word_of_the_language_is_explained_with_an_example() {
    let environment = Environment::new();
    for word in ["count", "param", "let", "assert", "(f)"] {
        let ran = environment.run(&["explain", word]).ok();
        assert!(ran.stdout.contains("Example:"), "{ran}");
    }
    insta::assert_snapshot!("param", environment.run(&["explain", "param"]).ok());
    insta::assert_snapshot!("count", environment.run(&["explain", "count"]).ok());
}

#[test]
fn what_a_kind_has_is_found_without_naming_the_kind() {
    let environment = Environment::new();
    insta::assert_snapshot!("budget", environment.run(&["explain", "budget"]).ok());
    insta::assert_snapshot!("ready", environment.run(&["explain", "ready"]).ok());
    insta::assert_snapshot!("several_places", environment.run(&["explain", "memory"]).ok());
    assert_eq!(environment.json(&["explain", "budget"])["at"]["path"], "pool.budget");
    assert_eq!(environment.json(&["explain", "let"])["word"]["word"], "let");
}
