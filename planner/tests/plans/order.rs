//! In which order domains are made and started, and what they are told of each other.

use std::collections::BTreeMap;

use tycoon_planner::plan::{Action, Plan};
use tycoon_planner::{PlanError, plan_up};
use tycoon_xen::spec::{CloudInit, DomainPath};
use tycoon_xen::status::DomainState;

use crate::{after, number_of, pool, three_hosts};

/// Workers that are told where their head is, by a context parameter, and a file of the head's own address.
const CLUSTER: &str = "template Node extends=domain {\n param head-address type=ip context=#true\n image \"std:tiny\"\n memory \"64MiB\"\n cloud-init {\n file \"/etc/head\" (f)\"at ${head-address}\\n\"\n command join ($)head-address\n }\n}\npool cluster {\n budget 30 for=\"1h\"\n let head-address ($)head.eth0.ip\n domain worker extends=Node count=2\n domain head { image \"std:tiny\"; memory \"64MiB\"; cloud-init { file \"/etc/self\" (f)\"${this.eth0.ip}\"; }; }\n}\n";

#[test]
fn domains_start_after_those_they_wait_for() {
    let text = "pool ordered {\n budget 30 for=\"1h\"\n domain app count=2 { image \"std:tiny\"; memory \"64MiB\"; start-after db; }\n domain db { image \"std:tiny\"; memory \"64MiB\"; }\n}\n";
    let plan = plan_up(&pool(text), &three_hosts()).expect("a plan");
    let start_of = |path: &str| {
        let path: DomainPath = path.parse().expect("a path");
        number_of(&plan, |action| matches!(action, Action::EnsureRunning { path: found } if *found == path))
    };
    let db = plan.steps[start_of("db")].id;
    for app in ["app.0", "app.1"] {
        assert!(plan.steps[start_of(app)].needs.contains(&db), "{app} waits for db");
    }
}

#[test]
fn who_is_told_an_address_is_made_after_the_domain_that_has_it() {
    let plan = plan_up(&pool(CLUSTER), &three_hosts()).expect("a plan");
    assert!(plan.report.notes.is_empty(), "{:?}", plan.report.notes);
    let path = |text: &str| -> DomainPath { text.parse().expect("a path") };
    let (head, worker) = (path("head"), path("worker.0"));
    let start = number_of(&plan, |action| matches!(action, Action::EnsureRunning { path } if *path == head));
    let define = number_of(&plan, |action| matches!(action, Action::EnsureDomain { spec } if spec.path == worker));
    let begin = number_of(&plan, |action| matches!(action, Action::EnsureRunning { path } if *path == worker));
    assert!(plan.steps[define].needs.contains(&plan.steps[start].id) && begin > define);
    let seed = |path: &DomainPath| {
        let found = plan.domains.iter().find(|domain| domain.path == *path).and_then(|domain| domain.spec.as_ref());
        found.expect("a spec").cloud_init.clone()
    };
    let (told, gap) = (seed(&worker), CloudInit::gap("head.eth0.ip"));
    assert_eq!(told.files[0].content, format!("at {gap}\n"));
    assert_eq!(told.commands, [["join", gap.as_str()]]);
    assert_eq!(told.late, BTreeMap::from([("head.eth0.ip".to_owned(), None)]));
    assert_eq!(seed(&head).files[0].content, gap, "its own its host knows");
}

/// The address is no part of what a worker is: another one changes no domain that has started.
#[test]
fn an_address_that_was_told_is_no_difference() {
    let cluster = pool(CLUSTER);
    let first = plan_up(&cluster, &three_hosts()).expect("a plan");
    let mut there = after(&first, three_hosts());
    for domain in there.hosts.iter_mut().flat_map(|host| &mut host.domains) {
        let late = &mut domain.spec.as_mut().expect("a spec").cloud_init.late;
        late.values_mut().for_each(|value| *value = Some("10.0.0.7".into()));
    }
    let again = plan_up(&cluster, &there).expect("a plan");
    assert!(again.is_empty(), "{:?}", again.steps);
}

#[test]
fn domains_that_tell_each_other_their_addresses_are_refused() {
    let one = |name: &str, other: &str| {
        format!(
            "domain {name} {{ image \"std:tiny\"; memory \"64MiB\"; cloud-init {{ file \"/peer\" (f)\"${{{other}.eth0.ip}}\"; }}; }}\n"
        )
    };
    let text = format!("pool ring {{\n budget 30 for=\"1h\"\n {}{} }}\n", one("a", "b"), one("b", "a"));
    match plan_up(&pool(&text), &three_hosts()) {
        Err(PlanError::Unsound { problem, help, .. }) => {
            assert!(
                problem.contains("`a`, `b` start after each other") && help.contains("addresses"),
                "{problem}: {help}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// Where the first runs already, in the plan that follows an interrupted one, it is waited for all the same.
#[test]
fn who_starts_after_a_ready_domain_waits_until_that_listens() {
    let text = "pool ordered {\n budget 30 for=\"1h\"\n domain app { image \"std:tiny\"; memory \"64MiB\"; start-after db state=ready; }\n domain db { image \"std:tiny\"; memory \"64MiB\"; ready tcp=5432 within=\"2m\"; }\n}\n";
    let plan = plan_up(&pool(text), &three_hosts()).expect("a plan");
    let listens = |plan: &Plan| number_of(plan, |action| matches!(action, Action::EnsureListening { port: 5432, .. }));
    let start = |plan: &Plan, name: &str| {
        number_of(plan, |action| matches!(action, Action::EnsureRunning { path } if path.as_str() == name))
    };
    let needs = |plan: &Plan, step: usize| plan.steps[step].needs.clone();
    assert_eq!(needs(&plan, listens(&plan)), [plan.steps[start(&plan, "db")].id]);
    assert!(needs(&plan, start(&plan, "app")).contains(&plan.steps[listens(&plan)].id));

    let mut half = after(&plan, three_hosts());
    for host in &mut half.hosts {
        host.domains.iter_mut().filter(|domain| domain.name == "app").for_each(|app| app.state = DomainState::Stopped);
    }
    let rest = plan_up(&pool(text), &half).expect("a plan");
    assert!(needs(&rest, start(&rest, "app")).contains(&rest.steps[listens(&rest)].id));
    assert_eq!(rest.steps.len(), 2, "{:?}", rest.steps);
}
