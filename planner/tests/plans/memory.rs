//! The memory of domains: what changes it while they run, and what is bid for more of it than they need.

use tycoon_lang::pool::Pool;
use tycoon_market::bid::Amount;
use tycoon_market::{Quantity, Rate, ResourceKind};
use tycoon_planner::plan::Change;
use tycoon_planner::{World, plan_up};

use super::{after, host, pool, three_hosts, world};

#[test]
fn memory_beyond_what_a_domain_can_take_needs_a_restart() {
    let small = pool("pool hello { budget 10 for=\"1h\"; domain web { image \"std:tiny\"; memory \"128MiB\"; } }");
    let large = pool("pool hello { budget 10 for=\"1h\"; domain web { image \"std:tiny\"; memory \"160MiB\"; } }");
    let plan = plan_up(&small, &three_hosts()).expect("a plan");
    let mut world = after(&plan, three_hosts());
    let restarts = |world: &World| match &plan_up(&large, world).expect("a plan").domains[0].change {
        Change::Update { restart, .. } => *restart,
        other => panic!("{other:?}"),
    };
    assert!(!restarts(&world), "where nothing limits it, it grows while it runs");
    for host in &mut world.hosts {
        host.domains.iter_mut().for_each(|domain| domain.memory_max_bytes = Some(128 << 20));
    }
    assert!(restarts(&world));
    // Defined with more, and not restarted yet: it is still to be done.
    for domain in world.hosts.iter_mut().flat_map(|host| &mut host.domains) {
        domain.spec.as_mut().expect("a spec").memory_bytes = 160 << 20;
    }
    assert!(restarts(&world));
}

#[test]
fn memory_beyond_what_a_domain_needs_is_bought_with_what_cpu_does_not_need() {
    let hello = |budget: &str, memory: &str| {
        pool(&format!(
            "pool hello {{ budget {budget} for=\"1h\"; domain web {{ image \"std:tiny\"; memory {memory}; }} }}"
        ))
    };
    let bid_of = |pool: &Pool| {
        let plan = plan_up(pool, &world(vec![host(1, 4, 16, 1.0)])).expect("a plan");
        let bid = plan.hosts[0].bid.clone().and_then(|planned| planned.bid).expect("a bid");
        let of = |kind| bid.preferences()[&kind];
        (plan.hosts[0].expected.clone(), of(ResourceKind::Memory), plan.money.rate)
    };
    let (fixed, preference, _) = bid_of(&hello("10", "\"1GiB\""));
    assert_eq!(fixed[&ResourceKind::Memory], Quantity::from_bytes(1 << 30));
    assert_eq!(preference.min, preference.max);

    let elastic = "\"1GiB\"; memory-max \"4GiB\"";
    let (rich, preference, rate) = bid_of(&hello("10", elastic));
    assert_eq!(rich[&ResourceKind::Memory], Quantity::from_bytes(4 << 30), "all that it can take");
    let (least, most) =
        (Amount::Quantity(Quantity::from_bytes(1 << 30)), Amount::Quantity(Quantity::from_bytes(4 << 30)));
    assert_eq!((preference.min, preference.max), (least, most));
    assert!(rate < Rate::from_credits_per_hour(10.0), "what nothing has a use for is not spent: {rate:?}");
    let (tight, _, rate) = bid_of(&hello("0.6", elastic));
    let between = tight[&ResourceKind::Memory];
    assert!(between > Quantity::from_bytes(1 << 30) && between < Quantity::from_bytes(4 << 30), "{between:?}");
    assert!(tight[&ResourceKind::Cpu] < rich[&ResourceKind::Cpu], "and CPU competes with it");
    assert!(rate <= Rate::from_credits_per_hour(0.6));
    let (poor, ..) = bid_of(&hello("0.25", elastic));
    assert_eq!(poor[&ResourceKind::Memory], Quantity::from_bytes(1 << 30), "its own stays its own");
}

#[test]
fn another_most_of_memory_changes_the_running_domain_as_far_as_it_can_take_it() {
    let hello = |most: &str| {
        pool(&format!(
            "pool hello {{ budget 10 for=\"1h\"; domain web {{ image \"std:tiny\"; memory \"128MiB\"; {most}; }} }}"
        ))
    };
    let plan = plan_up(&hello("memory-max \"256MiB\""), &three_hosts()).expect("a plan");
    let mut world = after(&plan, three_hosts());
    for host in &mut world.hosts {
        host.domains.iter_mut().for_each(|domain| domain.memory_max_bytes = Some(256 << 20));
    }
    let change = |most: &str| match plan_up(&hello(most), &world).expect("a plan").domains[0].change.clone() {
        Change::Update { fields, restart } => (fields[0].to.clone(), restart),
        other => panic!("{other:?}"),
    };
    assert_eq!(change("memory-max \"192MiB\""), ("192 MiB".into(), false));
    assert_eq!(change("vcpus 1"), ("none".into(), false));
    assert_eq!(change("memory-max \"512MiB\""), ("512 MiB".into(), true));
}
