//! Memory that follows what is bought, from the description to the running domain.

use crate::environment::Environment;

const ELASTIC: &str = r#"
pool elastic {
    budget 5 for="10h"
    domain web count=2 { image "std:tiny"; memory "256MiB"; memory-max "1GiB"; }
}
"#;

#[test]
fn memory_beyond_the_least_is_planned_bought_and_given() {
    let environment = Environment::new();
    environment.write("elastic.kdl", ELASTIC);
    insta::assert_snapshot!("elastic_plan", environment.run(&["plan", "elastic.kdl"]).ok());
    environment.run(&["up", "elastic.kdl"]).ok();
    let memory = |environment: &Environment| -> Vec<u64> {
        let status = environment.json(&["status", "elastic"]);
        let rows = status["domains"].as_array().expect("domains");
        rows.iter().map(|row| row["memory_bytes"].as_u64().expect("bytes")).collect()
    };
    let given = memory(&environment);
    assert!(given.iter().all(|bytes| (300 << 20..=1 << 30).contains(bytes)), "{given:?}");
    assert!(environment.run(&["up", "elastic.kdl"]).ok().stdout.contains("nothing to do"));

    // What stands still has its own, and what goes on has more again.
    environment.run(&["suspend", "elastic"]).ok();
    assert_eq!(memory(&environment), [256 << 20; 2]);
    environment.run(&["resume", "elastic"]).ok();
    assert_eq!(memory(&environment), given);

    // Without the line it has its own, at once.
    environment.write("elastic.kdl", &ELASTIC.replace(" memory-max \"1GiB\";", ""));
    insta::assert_snapshot!("elastic_no_more", environment.run(&["plan", "elastic.kdl"]).ok());
    environment.run(&["up", "elastic.kdl"]).ok();
    assert_eq!(memory(&environment), [256 << 20; 2]);
    environment.run(&["down", "elastic"]).ok();
    environment.audited_balance();

    environment.write("elastic.kdl", &ELASTIC.replace("\"1GiB\"", "\"128MiB\""));
    insta::assert_snapshot!("elastic_less_than_least", environment.run(&["check", "elastic.kdl"]));
}

/// What a host may draw of earlier escrows is what the budget of then allowed; a larger one is bid as far as that goes, and the
/// plan says why it is no more.
#[test]
fn a_budget_that_is_raised_many_times_over_is_used_as_far_as_earlier_escrows_allow() {
    let environment = Environment::new();
    let pool = |budget: u32| {
        ELASTIC.replace("budget 5 for=\"10h\"", &format!("budget {budget} for=\"10h\"")).replace("1GiB", "4GiB")
    };
    environment.write("elastic.kdl", &pool(3));
    environment.run(&["up", "elastic.kdl"]).ok();
    environment.write("elastic.kdl", &pool(100));
    let plan = environment.run(&["plan", "elastic.kdl"]).ok();
    assert!(plan.stdout.contains("begin anew with all of the budget"), "{plan}");
    environment.run(&["up", "elastic.kdl"]).ok();
    assert!(environment.run(&["up", "elastic.kdl"]).ok().stdout.contains("nothing to do"));
    environment.run(&["down", "elastic"]).ok();
    environment.audited_balance();
}
