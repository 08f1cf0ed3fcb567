//! Root volumes that are saved: on demand, and before they are removed.

use std::fs;

use serde_json::Value;

use crate::environment::Environment;

const MIB: u64 = 1 << 20;

/// Two domains, of which one is saved in the end.
const POOL: &str = r#"pool shop {
    budget 10 for="1h"
    domain db {
        image "std:tiny"
        memory "128MiB"
        root size="16MiB"
        save-image to="HERE/saved" format=raw
    }
    domain web {
        image "std:tiny"
        memory "128MiB"
        root size="16MiB"
    }
}
"#;

/// A pool that is saved to a folder of the environment.
fn here(environment: &Environment, pool: &str) -> String {
    pool.replace("HERE", &environment.path().display().to_string())
}

fn shop() -> Environment {
    let environment = Environment::new();
    environment.write("shop.kdl", &here(&environment, POOL));
    environment.run(&["up", "shop.kdl"]).ok();
    environment
}

/// The names of the files of a folder, ordered.
fn files(environment: &Environment, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(environment.path().join(folder)).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a text")).collect();
    names.sort();
    names
}

/// What stands beside a saved file, which is what it says.
fn manifest(environment: &Environment, file: &str) -> Value {
    use sha2::Digest as _;
    let path = environment.path().join(file);
    let text = fs::read_to_string(environment.path().join(format!("{file}.json"))).expect("the manifest is there");
    let manifest: Value = serde_json::from_str(&text).expect("it is JSON");
    let content = fs::read(&path).expect("the file is there");
    let digest: String = sha2::Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(manifest["file_sha256"], digest.as_str());
    assert_eq!(manifest["file_bytes"], content.len());
    manifest
}

#[test]
fn a_domain_that_asks_for_it_is_saved_before_it_is_removed() {
    let environment = shop();
    let plan = environment.run(&["plan", "shop.kdl"]).ok();
    assert!(!plan.stdout.contains("not carried out"), "{plan}");
    insta::assert_snapshot!("saved_down", environment.run(&["down", "shop"]).ok());
    assert_eq!(files(&environment, "saved"), ["shop.db.raw", "shop.db.raw.json"]);
    let manifest = manifest(&environment, "saved/shop.db.raw");
    assert_eq!((manifest["domain"].as_str(), manifest["volume_bytes"].as_u64()), (Some("db"), Some(16 * MIB)));
    assert_eq!(manifest["image"], "std:tiny");
    let content = fs::read(environment.path().join("saved/shop.db.raw")).expect("the file is there");
    assert!(content.starts_with(b"volume root of shop.db-"));
    assert_eq!(environment.json(&["volumes"]), Value::Array(Vec::new()), "nothing is left of it");
    // What was saved before stays.
    environment.run(&["up", "shop.kdl"]).ok();
    let down = environment.json(&["down", "shop"]);
    assert_eq!(down["saved"][0]["file"], "shop.db-2.raw", "{down}");
    assert_eq!(files(&environment, "saved").len(), 4);
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn what_cannot_be_saved_is_not_removed_and_the_rest_is() {
    let environment = shop();
    // Where a file is, no folder can be.
    environment.write("saved", "in the way");
    let down = environment.run(&["down", "shop"]).ends_with(4);
    assert!(down.stderr.contains("saving the root volume of db"), "{down}");
    assert!(down.stderr.contains("cannot be written"), "{down}");
    assert!(down.stderr.contains("nothing of it is removed") && down.stderr.contains("--save-to"), "{down}");
    let left = environment.json(&["volumes"]);
    let left: Vec<&str> = left.as_array().expect("a list").iter().filter_map(|row| row["domain"].as_str()).collect();
    assert_eq!(left, ["db"], "web is gone, and db is not");
    fs::remove_file(environment.path().join("saved")).expect("it can be removed");
    environment.run(&["down", "shop"]).ok();
    assert_eq!(files(&environment, "saved"), ["shop.db.raw", "shop.db.raw.json"]);
    assert_eq!(environment.json(&["volumes"]), Value::Array(Vec::new()));
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn a_host_alone_does_not_say_where_files_are_written() {
    let environment = shop();
    // Another machine of the same user, or this one after all local state was lost.
    fs::remove_file(environment.site().join("pools/shop.journal")).expect("the journal is there");
    insta::assert_snapshot!("saved_down_elsewhere", environment.run(&["down", "shop"]).ends_with(1));
    assert_eq!(files(&environment, "saved"), [] as [String; 0]);
    assert_eq!(environment.domains("shop").len(), 2, "nothing was done");
    environment.run(&["down", "shop", "--save-to", "elsewhere"]).ok();
    assert_eq!(files(&environment, "elsewhere"), ["shop.db.raw", "shop.db.raw.json"]);

    environment.run(&["up", "shop.kdl"]).ok();
    environment.run(&["down", "shop", "--no-save", "--save-to", "x"]).ends_with(2);
    let down = environment.run(&["down", "shop", "--no-save"]).ok();
    assert!(!down.stdout.contains("saved"), "{down}");
    assert_eq!(files(&environment, "saved"), [] as [String; 0]);
}

#[test]
fn what_a_description_removes_or_makes_anew_is_saved_too() {
    let environment = shop();
    let other_image = POOL.replacen("root size=\"16MiB\"", "root size=\"16MiB\" fs=ext4", 1);
    assert_ne!(other_image, POOL);
    environment.write("shop.kdl", &here(&environment, &other_image));
    insta::assert_snapshot!("saved_plan_replace", environment.run(&["plan", "shop.kdl"]).ok());
    environment.run(&["up", "shop.kdl", "--yes"]).ok();
    assert_eq!(files(&environment, "saved"), ["shop.db.raw", "shop.db.raw.json"]);
    let without = &other_image[..other_image.find("    domain db").expect("it is there")].to_owned();
    let rest = &other_image[other_image.find("    domain web").expect("it is there")..];
    environment.write("shop.kdl", &here(&environment, &format!("{without}{rest}")));
    insta::assert_snapshot!("saved_plan_remove", environment.run(&["plan", "shop.kdl"]).ok());
    environment.run(&["up", "shop.kdl", "--yes"]).ok();
    assert_eq!(files(&environment, "saved").len(), 4);
    assert_eq!(environment.domains("shop").len(), 1);
}

#[test]
fn what_is_kept_is_saved_all_the_same() {
    let environment = Environment::new();
    let keeping = POOL.replace("save-image", "keep-volumes always\n        save-image");
    environment.write("shop.kdl", &here(&environment, &keeping));
    environment.run(&["up", "shop.kdl"]).ok();
    environment.run(&["down", "shop"]).ok();
    assert_eq!(files(&environment, "saved").len(), 2);
    // What is kept can be saved on demand, and is not saved a second time by taking nothing down.
    environment.run(&["down", "shop"]).ok();
    assert_eq!(files(&environment, "saved").len(), 2);
    environment.run(&["save-image", "shop/db", "--to", "again"]).ok();
    assert_eq!(files(&environment, "again"), ["shop.db.raw", "shop.db.raw.json"]);
}

#[test]
fn a_domain_is_saved_on_demand() {
    let mut environment = shop();
    environment.pass(60);
    insta::assert_snapshot!("saved_running", environment.run(&["save-image", "shop/web"]).ends_with(1));
    insta::assert_snapshot!("saved_on_demand", environment.run(&["save-image", "shop/web", "--suspend"]).ok());
    assert_eq!(environment.domains("shop")[1], ("web".into(), "running".into()), "it goes on");
    assert_eq!(manifest(&environment, "shop.web.raw")["domain"], "web");
    environment.run(&["suspend", "shop/web"]).ok();
    let saved = environment.json(&["save-image", "shop/web", "--to", "a/b", "--name", "mine"]);
    assert_eq!(saved["path"], "a/b/mine.raw");
    assert_eq!(environment.domains("shop")[1].1, "paused", "who suspended it has it go on");
    for bad in ["../x", "/etc/x", "a/b", "-rf"] {
        let refused = environment.run(&["save-image", "shop/web", &format!("--name={bad}")]).ends_with(1);
        assert!(refused.stderr.contains("cannot be the name of a file"), "{refused}");
    }
    // A simulated disk has no files; its blocks are kept, and it is said.
    let tar = environment.run(&["save-image", "shop/web", "--format", "tar.zst", "--name", "tar"]).ends_with(1);
    assert!(tar.stderr.contains("there is no ext2, ext3 or ext4 file system on the volume"), "{tar}");
    assert_eq!(manifest(&environment, "tar.raw")["format"], "raw");
    let both = environment.run(&["save-image", "shop/web", "--format", "tar", "--name", "t", "--json"]).ends_with(1);
    let told: Value = serde_json::from_str(&both.stdout).expect("one JSON document");
    assert!(told["path"] == "./t.raw" && told["instead"].is_string(), "{both}");
    environment.run(&["save-image", "shop/none"]).ends_with(1);
    environment.run(&["save-image", "shop"]).ends_with(1);
    environment.run(&["save-image", "shop/web", "--format", "zip"]).ends_with(2);
}

#[test]
fn a_saved_image_is_what_another_domain_begins_with() {
    let mut environment = shop();
    environment.pass(60);
    environment.run(&["suspend", "shop/web"]).ok();
    insta::assert_snapshot!(
        "saved_as_image",
        environment.run(&["save-image", "shop/web", "--as-image", "my:web"]).ok()
    );
    let again = environment.run(&["save-image", "shop/web", "--as-image", "my:web"]).ok();
    assert!(again.stdout.contains("was already"), "{again}");
    let refused = environment.run(&["save-image", "shop/web", "--as-image", "../web"]).ends_with(1);
    assert!(refused.stderr.contains("cannot name an image"), "{refused}");
    let refused = environment.run(&["save-image", "shop/web", "--as-image", "std:tiny"]).ends_with(1);
    assert!(refused.stderr.contains("choose another name"), "{refused}");
    let copy = POOL.replace("pool shop", "pool copy").replace("std:tiny", "my:web");
    environment.write("copy.kdl", &here(&environment, &copy));
    environment.run(&["up", "copy.kdl"]).ok();
    environment.run(&["down", "copy"]).ok();
    // It begins as the volume that it was made from.
    let content = fs::read(environment.path().join("saved/copy.db.raw")).expect("it is saved");
    assert!(content.starts_with(b"volume root of shop.web-"), "{:?}", String::from_utf8_lossy(&content[..60]));
}

/// Whoever is killed on the way has lost nothing, and the next run goes on.
#[test]
fn a_run_that_is_killed_loses_nothing() {
    for record in [2, 4, 6, 8, 10, 12] {
        let environment = shop();
        environment.run_and_crash(&["down", "shop"], "journal", record);
        environment.run(&["down", "shop"]).ok();
        let saved = files(&environment, "saved");
        assert!(saved.contains(&"shop.db.raw".to_owned()), "killed at record {record}: {saved:?}");
        let whole = saved.iter().filter(|name| !name.starts_with('.'));
        assert!(whole.clone().all(|name| name.ends_with(".raw") || name.ends_with(".json")), "{saved:?}");
        for name in whole.filter(|name| name.ends_with(".raw")) {
            let length = fs::metadata(environment.path().join("saved").join(name)).expect("it is there").len();
            assert_eq!(length, 16 * MIB, "killed at record {record}: {name} is not whole");
        }
        assert_eq!(environment.json(&["volumes"]), Value::Array(Vec::new()));
    }
}

#[test]
fn what_no_file_can_be_named_is_found_before_there_is_a_plan() {
    let environment = Environment::new();
    environment.write("shop.kdl", &here(&environment, &POOL.replace("format=raw", "format=raw name=\"-x\"")));
    let checked = environment.run(&["check", "shop.kdl"]).ends_with(1);
    assert!(checked.stderr.contains("cannot be the name of a saved image"), "{checked}");
}
