//! Every file under `examples/`: what it resolves to, what is planned for it, and that it comes up on the site of
//! `examples/site.kdl`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::environment::Environment;

/// The workflow of this one is checked and planned, and not run yet.
const NOT_RUN: &str = "release-test.kdl";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The names of the descriptions in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("the examples can be listed");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".kdl")).collect();
    names.sort();
    names
}

/// A home with all examples in it, and the names of those that describe a pool.
fn examples() -> (Environment, Vec<String>) {
    let environment = Environment::new();
    for (folder, prefix) in [(folder(), ""), (folder().join("lib"), "lib/")] {
        for name in names(&folder) {
            let text = std::fs::read_to_string(folder.join(&name)).expect("the example can be read");
            environment.write(&format!("{prefix}{name}"), &text);
        }
    }
    let mut pools = names(&folder());
    pools.retain(|name| environment.json(&["check", name])["pools"] != json!([]));
    (environment, pools)
}

/// Every component, record and item below a tree: its path, and what it holds.
fn components(path: &str, node: &Value, all: &mut Map<String, Value>) {
    let mut object = Map::new();
    object.insert("kind".into(), node["kind"].clone());
    if !node["need"].is_null() {
        object.insert("need".into(), node["need"].clone());
    }
    for attribute in node["attributes"].as_array().into_iter().flatten() {
        let name = attribute["name"].as_str().expect("a name");
        object.insert(name.into(), attribute["value"].clone());
    }
    let mut own = path.to_owned();
    let mut number = 1;
    while all.contains_key(&own) {
        number += 1;
        own = format!("{path}#{number}");
    }
    all.insert(own.clone(), Value::Object(object));
    for child in node["children"].as_array().into_iter().flatten() {
        let name = child["name"].as_str().expect("a name");
        let key = child["key"].as_str().map(|key| format!(".{key}")).unwrap_or_default();
        components(&format!("{own}.{name}{key}"), child, all);
    }
}

/// The resolved tree with a line for every component.
fn golden_tree(resolved: &Value) -> String {
    let mut all = Map::new();
    components(resolved["pool"].as_str().expect("a name"), &resolved["tree"], &mut all);
    let lines: Vec<String> = all.iter().map(|(path, object)| format!("{}: {object}", json!(path))).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

#[test]
fn every_example_resolves_to_what_is_recorded() {
    let (environment, pools) = examples();
    for file in &pools {
        let tree = golden_tree(&environment.json(&["resolve", file]));
        serde_json::from_str::<Value>(&tree).unwrap_or_else(|error| panic!("{file}: {error}"));
        insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{}.resolved", file.trim_end_matches(".kdl")), tree);
        });
    }
}

#[test]
fn every_example_is_planned_as_recorded() {
    let (environment, pools) = examples();
    for file in &pools {
        let plan = environment.run(&["--site", "site.kdl", "plan", file]).ok();
        insta::with_settings!({ snapshot_path => "golden", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{}.plan", file.trim_end_matches(".kdl")), plan);
        });
    }
}

#[test]
fn every_example_comes_up_on_the_example_site() {
    let (environment, pools) = examples();
    let site = ["--site", "site.kdl"];
    for file in pools.iter().filter(|file| *file != NOT_RUN) {
        let resolved = environment.json(&["check", file]);
        let pool = resolved["pools"][0].as_str().expect("a pool").to_owned();
        let up = environment.run(&[&site[..], &["up", file]].concat()).ok();
        assert!(environment.run(&[&site[..], &["up", file]].concat()).ok().stdout.contains("nothing to do"), "{up}");
        let status = environment.json(&[&site[..], &["status", &pool]].concat());
        let domains = status["domains"].as_array().expect("domains");
        assert_eq!(Some(domains.len() as u64), resolved["domains"].as_u64(), "{file}");
        assert!(domains.iter().all(|domain| domain["state"] == "running"), "{status}");
        environment.run(&[&site[..], &["down", &pool]].concat()).ok();
    }
    assert_eq!(environment.json(&["--site", "site.kdl", "bank", "balance"])["balance_micro"], 2_000_000_000_i64);
}

#[test]
fn the_tests_that_examples_have_of_themselves_pass() {
    let (environment, _) = examples();
    let mut passed = 0;
    for file in names(&folder()) {
        let tests = environment.json(&["test", &file]);
        passed += tests.as_array().expect("tests").len();
    }
    assert!(passed > 0, "no example has a test of itself");
}
