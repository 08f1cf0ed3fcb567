//! How long resolving takes. Ignored by default: run with
//! `cargo test --release -p tycoon-lang --test speed -- --ignored --nocapture`.

mod support;

use std::time::Instant;

use support::resolve;

fn timed(name: &str, text: &str) {
    let start = Instant::now();
    let resolved = resolve(text);
    println!("{name}: {} domains in {:?}", resolved.loaded.pool.domains.len(), start.elapsed());
}

#[test]
#[ignore = "measures time"]
fn resolving_is_quick_and_linear() {
    let hello = include_str!("../../examples/hello.kdl");
    for _ in 0..3 {
        timed("hello", hello);
    }
    for count in [1_000, 10_000, 100_000] {
        timed("count", &hello.replace("count=3", &format!("count={count}")));
    }
    let mut spelled = String::from("pool p {\n");
    for number in 0..10_000 {
        spelled.push_str(&format!("    domain d{number} {{ image \"std:tiny\"; memory \"64MiB\"; }}\n"));
    }
    spelled.push('}');
    timed("spelled out", &spelled);
}
