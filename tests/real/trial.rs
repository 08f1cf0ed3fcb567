//! The rules that every hypervisor driver keeps, on Xen.

use crate::lab::Lab;

#[test]
#[ignore = "needs the lab: `make test`"]
fn libvirt_on_xen_keeps_the_rules_of_a_hypervisor() {
    let lab = Lab::prepared(1, "fast");
    let before = lab.traces(1);
    let trial = lab.try_on(1, "tycoon host trial").ok();
    println!("{}", trial.stdout);
    assert!(!trial.stdout.contains('✗'), "{trial}");
    assert_eq!(lab.traces(1), before, "the trial removes what it made");
}
