//! A large `count` costs little: what is alike in many instances is made once. (Times are measured elsewhere; here
//! it is checked that nothing is copied.)

mod support;

use std::sync::Arc;

use support::{load_files, resolve};
use tycoon_lang::Options;

const COUNT: usize = 5_000;

fn farm(domain: &str) -> String {
    format!("pool p {{ domain web count={COUNT} {{ image \"a\"; memory \"64MiB\"; {domain}; }}; }}")
}

#[test]
fn instances_share_what_is_alike() {
    let resolved = resolve(&farm("root size=\"2GiB\""));
    let webs = &resolved.loaded.tree.children;
    assert_eq!(webs.len(), COUNT);
    assert!(webs.iter().all(|web| Arc::ptr_eq(&web.children, &webs[0].children)), "volumes and nics are made once");
    assert_eq!(webs[COUNT - 1].value("hostname").to_string(), format!("web-{}", COUNT - 1), "what differs is its own");
}

#[test]
fn instances_that_differ_below_do_not_share() {
    let resolved = resolve(&farm("root size=($)\"(index + 1) * 1MiB\""));
    assert_eq!(resolved.value("p.web.0.root.size"), "1MiB");
    assert_eq!(resolved.value(&format!("p.web.{}.root.size", COUNT - 1)), format!("{COUNT}MiB"));
}

#[test]
fn an_instance_with_amendments_does_not_change_the_others() {
    let resolved =
        resolve(&format!("{}\n", farm("vcpus 2").replace("; }; }", "; }; web.7 { root size=\"9GiB\"; }; }")));
    assert_eq!(resolved.value("p.web.7.root.size"), "9GiB");
    assert_eq!(resolved.value("p.web.8.root.size"), "1GiB");
}

#[test]
fn steps_grow_with_the_number_of_instances_only() {
    // Each instance computes its host name, and the sum reads each once: well below fifty steps for each.
    let text = farm("vcpus 2").replace("; }; }", "; }; assert \"sum(web.*.vcpus) == 10000\"; }");
    let options = Options { max_steps: 50 * COUNT as u64, ..Options::default() };
    assert!(load_files(&text, &[], &options).is_ok());
}
