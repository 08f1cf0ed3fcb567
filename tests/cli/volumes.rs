//! Volumes that outlive their domain: kept at the end, listed, found again, given up.

use crate::environment::Environment;

const POOL: &str = r#"pool shop {
    budget 10 for="1h"
    domain db {
        image "std:tiny"
        memory "128MiB"
        keep-volumes always
        volume data size="2GiB" fs=ext4
    }
    domain web {
        image "std:tiny"
        memory "128MiB"
    }
}
"#;

fn shop() -> Environment {
    let environment = Environment::new();
    environment.write("shop.kdl", POOL);
    environment.run(&["up", "shop.kdl"]).ok();
    environment
}

/// Domains, volumes, hosts and whether they are kept.
fn volumes(environment: &Environment) -> Vec<(String, String, String, bool)> {
    let all = environment.json(&["volumes"]);
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let rows = all.as_array().expect("a list");
    rows.iter()
        .map(|row| {
            let is_kept = !row["kept_until_unix_us"].is_null();
            (text(row, "domain"), text(row, "volume"), text(row, "host"), is_kept)
        })
        .collect()
}

#[test]
fn what_is_to_be_kept_is_kept_found_again_and_given_up() {
    let mut environment = shop();
    let before = volumes(&environment);
    assert_eq!(before.iter().filter(|(.., is_kept)| *is_kept).count(), 0);
    insta::assert_snapshot!("kept_down", environment.run(&["down", "shop"]).ok());
    assert_eq!(environment.audited_balance(), 1_000_000_000, "nothing is paid for what is kept");
    insta::assert_snapshot!("kept_status", environment.run(&["status", "shop"]).ok());
    insta::assert_snapshot!("kept_ls", environment.run(&["ls"]).ok());
    insta::assert_snapshot!("kept_volumes", environment.run(&["volumes"]).ok());
    insta::assert_snapshot!("kept_down_again", environment.run(&["down", "shop"]).ok());

    environment.pass(3_600);
    insta::assert_snapshot!("kept_plan", environment.run(&["plan", "shop.kdl"]).ok());
    environment.run(&["up", "shop.kdl"]).ok();
    let of_db = |all: &[(String, String, String, bool)]| {
        all.iter().filter(|(domain, ..)| domain == "db").cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_db(&volumes(&environment)), of_db(&before), "on the same host, and not kept any more");
    assert!(environment.run(&["up", "shop.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["volumes", "remove", "shop/db"]).ok();
    assert_eq!(of_db(&volumes(&environment)), of_db(&before), "what is in use is not removed");

    environment.run(&["down", "shop"]).ok();
    insta::assert_snapshot!("kept_removed", environment.run(&["volumes", "remove", "shop/db"]).ok());
    assert_eq!(volumes(&environment), []);
    environment.run(&["status", "shop"]).ends_with(1);
    assert_eq!(environment.audited_balance(), 1_000_000_000, "the only time that passed was without domains");
}

#[test]
fn what_is_kept_goes_when_its_time_is_over() {
    let mut environment = shop();
    environment.run(&["down", "shop"]).ok();
    environment.pass(6 * 86_400);
    assert_eq!(volumes(&environment).len(), 2);
    environment.pass(2 * 86_400);
    assert_eq!(volumes(&environment), []);
    let plan = environment.run(&["plan", "shop.kdl"]).ok();
    assert!(!plan.stdout.contains("kept"), "{plan}");
}

#[test]
fn a_domain_that_leaves_its_description_leaves_its_volumes() {
    let environment = shop();
    let without = POOL.replace("domain db {", "domain other {").replace("keep-volumes always", "");
    environment.write("shop.kdl", &without);
    let plan = environment.run(&["plan", "shop.kdl"]).ok();
    assert!(plan.stdout.contains("keep root, data there"), "{plan}");
    environment.run(&["up", "shop.kdl"]).ok();
    let kept: Vec<_> = volumes(&environment).into_iter().filter(|(.., is_kept)| *is_kept).collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    // The pool itself is as described, with something kept beside it.
    assert!(environment.run(&["up", "shop.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["down", "shop"]).ok();
    assert_eq!(volumes(&environment), kept);
}

#[test]
fn what_was_there_before_stays_and_what_was_made_goes() {
    let environment = shop();
    environment.run(&["down", "shop"]).ok();
    let more = POOL
        .replace("keep-volumes always", "keep-volumes if-preexisting")
        .replace("volume data", "volume scratch size=\"1GiB\"\n        volume data");
    environment.write("shop.kdl", &more);
    environment.run(&["up", "shop.kdl"]).ok();
    environment.run(&["down", "shop"]).ok();
    let names: Vec<String> = volumes(&environment).into_iter().map(|(_, volume, ..)| volume).collect();
    assert_eq!(names, ["root", "data"]);
}

#[test]
fn a_larger_disk_grows_and_a_smaller_one_is_refused() {
    let environment = shop();
    let sized = |size: &str| POOL.replace("size=\"2GiB\"", &format!("size=\"{size}\""));
    environment.write("shop.kdl", &sized("3GiB"));
    insta::assert_snapshot!("plan_larger_disk", environment.run(&["plan", "shop.kdl"]).ok());
    environment.run(&["up", "shop.kdl"]).ok();
    let bytes = |environment: &Environment| {
        let all = environment.json(&["volumes", "shop"]);
        let data = all.as_array().expect("a list").iter().find(|row| row["volume"] == "data");
        data.expect("the volume")["bytes"].as_u64().expect("a size")
    };
    assert_eq!(bytes(&environment), 3 << 30);
    environment.write("shop.kdl", &sized("1GiB"));
    insta::assert_snapshot!("plan_smaller_disk", environment.run(&["plan", "shop.kdl"]).ends_with(1));
    environment.run(&["up", "shop.kdl", "--yes"]).ends_with(1);
    environment.run(&["down", "shop"]).ok();
    environment.run(&["up", "shop.kdl"]).ends_with(1);
    assert_eq!(bytes(&environment), 3 << 30, "what is kept does not shrink either");
    environment.write("shop.kdl", &sized("4GiB"));
    insta::assert_snapshot!("plan_larger_kept_disk", environment.run(&["plan", "shop.kdl"]).ok());
    environment.run(&["up", "shop.kdl"]).ok();
    assert_eq!(bytes(&environment), 4 << 30);
}

#[test]
fn an_existing_volume_is_taken_as_it_is_or_not_at_all() {
    let environment = Environment::new();
    let existing = POOL.replace("keep-volumes always", "").replace("size=\"2GiB\" fs=ext4", "existing=#true");
    environment.write("existing.kdl", &existing);
    insta::assert_snapshot!("existing_missing", environment.run(&["plan", "existing.kdl"]).ends_with(1));
    environment.write("shop.kdl", POOL);
    environment.run(&["up", "shop.kdl"]).ok();
    environment.run(&["down", "shop"]).ok();
    environment.run(&["volumes", "remove", "shop/web"]).ok();
    let before = volumes(&environment);
    // Its root disk is kept too and comes along; neither shrinks to the size that is usual, nor loses its file system.
    environment.run(&["up", "existing.kdl"]).ok();
    assert!(environment.run(&["up", "existing.kdl"]).ok().stdout.contains("nothing to do"));
    let all = environment.json(&["volumes", "shop"]);
    let data = all.as_array().expect("a list").iter().find(|row| row["volume"] == "data").expect("the volume");
    assert_eq!(data["bytes"], 2_u64 << 30);
    environment.run(&["down", "shop"]).ok();
    let after: Vec<_> = before.into_iter().filter(|(_, volume, ..)| volume == "data").collect();
    assert_eq!(volumes(&environment), after, "what was taken as existing stays, and what was not goes");
}

/// Whoever is killed while kept volumes are taken up, or volumes are kept, finds them all the same.
#[test]
fn what_is_kept_survives_runs_that_are_killed() {
    let environment = shop();
    environment.run(&["down", "shop"]).ok();
    for record in [4, 8, 10, 12, 14, 18] {
        environment.run_and_crash(&["up", "shop.kdl"], "journal", record);
        environment.run(&["down", "shop"]).ok();
        assert_eq!(volumes(&environment).len(), 2, "`up` was killed at record {record}");
        environment.run(&["up", "shop.kdl"]).ok();
        environment.run_and_crash(&["down", "shop"], "journal", record);
        environment.run(&["down", "shop"]).ok();
        assert_eq!(volumes(&environment).len(), 2, "`down` was killed at record {record}");
    }
    assert_eq!(environment.audited_balance(), 1_000_000_000);
}

#[test]
fn a_pool_that_nobody_has_keeps_nothing() {
    let environment = Environment::new();
    let ran = environment.run(&["volumes", "remove", "nobody"]).ok();
    assert_eq!(ran.stdout, "Nothing is kept of nobody.\n");
    assert_eq!(environment.run(&["volumes"]).ok().stdout, "There are no volumes.\n");
}
