//! The outputs of a pool: what its description gives back, with what is known only while it runs.

use serde_json::json;

use crate::environment::Environment;

const POOL: &str = r#"pool farm {
    budget 10 for="1h"
    domain web count=2 { image "std:tiny"; memory "64MiB"; }
    group inner {
        domain head { image "std:tiny"; memory "64MiB"; }
        output address ($)head.eth0.ip
    }
    output addresses ($)web.*.eth0.ip
    output url (f)"http://${web.0.eth0.ip}/"
    output states ($)web.*.state
    output total ($)"sum(web.*.memory)"
}
"#;

#[test]
fn outputs_are_shown_by_up_and_by_the_status_of_a_description() {
    let environment = Environment::new();
    environment.write("farm.kdl", POOL);
    let up = environment.run(&["up", "farm.kdl"]).ok();
    insta::assert_snapshot!("outputs_up", up);
    insta::assert_snapshot!("outputs_status", environment.run(&["status", "farm.kdl"]).ok());
    let status = environment.json(&["status", "farm.kdl"]);
    let address = |path: &str| {
        let domains = status["domains"].as_array().expect("domains");
        domains.iter().find(|domain| domain["domain"] == path).expect("the domain")["address"].clone()
    };
    let first = address("web.0");
    let url = format!("http://{}/", first.as_str().expect("an address"));
    let wanted = json!({
        "addresses": [first, address("web.1")],
        "inner.address": address("inner.head"),
        "states": ["running", "running"],
        "total": "128MiB",
        "url": url,
    });
    assert_eq!(status["outputs"], wanted);
    assert_eq!(environment.json(&["up", "farm.kdl"])["outputs"], wanted);
    environment.run(&["down", "farm"]).ok();
}

#[test]
fn what_is_not_known_yet_is_said_and_is_null() {
    let environment = Environment::new();
    environment.write("farm.kdl", POOL);
    // Another pool of the same name is up: none of these domains is.
    environment.write(
        "small.kdl",
        "pool farm {\n    budget 10 for=\"1h\"\n    domain other { image \"std:tiny\"; memory \"64MiB\"; }\n}\n",
    );
    environment.run(&["up", "small.kdl"]).ok();
    let status = environment.json(&["status", "farm.kdl"]);
    assert_eq!(status["outputs"]["addresses"], json!([null, null]));
    assert_eq!(status["outputs"]["url"], json!(null));
    assert_eq!(status["outputs"]["total"], "128MiB");
    assert!(environment.run(&["status", "farm.kdl"]).ok().stdout.contains("not known yet"));
}
