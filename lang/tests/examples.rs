//! Every example of the project resolves.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "reads the examples in examples/")]

use std::path::Path;

use tycoon_lang::pool::{Address, BidStrategy, KeepVolumes, PriceModel, Step, StepKind, Store, UpState, WhenSpent};
use tycoon_lang::{LoadError, Loaded, Loader, Options, load, run_tests};

/// Reads the examples of the repository.
struct Examples;

impl Loader for Examples {
    fn read(&self, path: &str) -> Result<Vec<u8>, LoadError> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        std::fs::read(root.join(path)).map_err(|error| LoadError::Other(error.to_string()))
    }
}

fn resolved(path: &str) -> Loaded {
    match load(path, &Examples, &Options::default()) {
        Ok(loaded) => loaded,
        Err(failure) => panic!("{path} does not resolve:\n{}", failure.to_text()),
    }
}

#[test]
fn hello_is_three_small_machines() {
    let pool = resolved("hello.kdl").pool;
    assert_eq!(pool.name.as_str(), "hello");
    let paths: Vec<&str> = pool.domains.iter().map(|domain| domain.path.as_str()).collect();
    assert_eq!(paths, ["web.0", "web.1", "web.2"]);
    for (index, domain) in pool.domains.iter().enumerate() {
        assert_eq!(domain.memory_bytes, 128 << 20);
        assert_eq!(domain.hostname, format!("web-{index}"));
        assert_eq!((domain.volumes.len(), domain.nics.len(), domain.vcpus), (1, 1, 1));
    }
    let budget = pool.budget.unwrap();
    assert_eq!(budget.amount.to_string(), "10.00");
    assert_eq!(budget.duration.to_string(), "1h");
}

#[test]
fn every_example_resolves() {
    for path in ["hello.kdl", "batch.kdl", "cluster.kdl", "release-test.kdl", "scheduler.kdl", "smartdomains.kdl"] {
        let loaded = resolved(path);
        let warnings: Vec<String> = loaded.warnings.iter().map(|warning| warning.to_text(&loaded.sources)).collect();
        assert!(warnings.is_empty(), "{path}:\n{}", warnings.join("\n"));
    }
}

#[test]
fn batch_bids_and_places_its_workers() {
    let pool = resolved("batch.kdl").pool;
    assert_eq!(pool.domains.len(), 10);
    assert_eq!((pool.domains[0].memory_bytes, pool.domains[1].memory_bytes), (4 << 30, 2 << 30));
    assert_eq!(pool.domains[3].hostname, "wn-3.batch.example.org");
    assert_eq!((pool.domains[0].volumes[0].size_bytes, pool.domains[0].volumes[0].copy_on_write), (10 << 30, true));
    let budget = pool.budget.unwrap();
    assert_eq!((budget.reserve.to_string().as_str(), budget.when_spent), ("20.00", WhenSpent::Drain));
    let bid = pool.bid.unwrap();
    assert_eq!((bid.strategy, bid.model, bid.confidence), (BidStrategy::BestResponse, PriceModel::Cantelli, 0.9));
    assert_eq!((bid.weight.cpu, bid.weight.memory, bid.weight.disk), (1.0, 0.2, 0.0));
    assert_eq!(bid.re_bid.unwrap().when.unwrap().expression.reads(), ["price", "planned-price"]);
    assert_eq!(pool.placement.max_per_host, Some(2));
    assert_eq!(pool.placement.require[0].to_string(), "host.arch == 'x86_64'");
    assert_eq!(pool.placement.prefer[0].1, 2.0);
    assert_eq!(pool.placement.avoid, ["node13.example.org"]);
    assert_eq!((pool.needs[0].component.as_str(), pool.needs[0].count, pool.needs[0].need), ("wn", 10, 4));
}

#[test]
fn smartdomains_stand_on_two_hosts_that_differ_in_four_things() {
    let pool = resolved("smartdomains.kdl").pool;
    let shown: Vec<String> = pool
        .domains
        .iter()
        .map(|d| format!("{} {} {} {}MiB", d.path, d.hostname, d.host.as_deref().unwrap(), d.memory_bytes >> 20))
        .collect();
    assert_eq!(
        shown,
        [
            "computer1.file-backed node1-dom1 node1.example.org 512MiB",
            "computer1.lvm-backed node1-dom2 node1.example.org 512MiB",
            "computer2.file-backed node2-dom1 node2.example.org 512MiB",
            "computer2.lvm-backed node2-dom2 node2.example.org 1024MiB",
        ]
    );
    let last = &pool.domains[3];
    assert_eq!(last.volumes.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["root", "swap"]);
    assert_eq!(last.volumes[1].store, Some(Store::Lvm { group: "vg1".into() }));
    assert_eq!(pool.domains[2].volumes[0].store, Some(Store::Loopback { directory: "/data/xen".into() }));
    assert_eq!(
        last.nics[0].address,
        Address::Static {
            ip: [192, 0, 2, 22].into(),
            netmask: Some([255, 255, 0, 0].into()),
            gateway: Some([192, 0, 2, 1].into())
        }
    );
    assert_eq!(last.keep_volumes, KeepVolumes::IfPreexisting);
    assert_eq!(last.kernel_args, ["fastboot"]);
    assert_eq!((last.liveness.every.to_string().as_str(), last.liveness.misses), ("2s", 3));
}

#[test]
fn a_cluster_is_one_component_with_its_deep_parts_in_reach() {
    let pool = resolved("cluster.kdl").pool;
    assert_eq!(pool.domains.len(), 17 + 5 + 3);
    let find = |path: &str| pool.domains.iter().find(|domain| domain.path == path).unwrap();
    assert_eq!(find("analysis.worker.15").memory_bytes, 8 << 30);
    assert_eq!(find("analysis.head").volumes[0].size_bytes, 100 << 30);
    assert_eq!(find("edge.cern.worker.3").memory_bytes, 2 << 30);
    assert_eq!(find("edge.clemson.head").placement.require[0].to_string(), "host.labels.site == 'clemson'");
    let worker = find("edge.cern.worker.0");
    assert_eq!((worker.start_after[0].path.as_str(), worker.start_after[0].state), ("edge.cern.head", UpState::Ready));
    assert_eq!(
        worker.cloud_init.as_ref().unwrap().files[0].content.to_string(),
        "(f)'${physics.edge.cern.head.eth0.ip}\\n'"
    );
    assert_eq!(pool.outputs.len(), 3);
    assert_eq!(pool.groups.len(), 2, "the two edges have placements");
}

#[test]
fn a_scheduler_chooses_where_machines_run() {
    let pool = resolved("scheduler.kdl").pool;
    assert_eq!(pool.schedulers[0].hosts, ["host1", "host2", "host3"]);
    assert_eq!(pool.placement.by.as_deref(), Some("simple"));
}

/// The words of steps, with what is inside them.
fn outline(steps: &[Step]) -> String {
    let words: Vec<String> = steps
        .iter()
        .map(|step| match &step.kind {
            StepKind::Start(paths) => format!("start {}", paths.join(" ")),
            StepKind::Stop(paths) => format!("stop {}", paths.join(" ")),
            StepKind::EnsureImage(image) => format!("ensure-image {image}"),
            StepKind::Run { domain, command, .. } => {
                let words: Vec<String> = command.iter().map(ToString::to_string).collect();
                format!("run {domain} {}", words.join(" "))
            }
            StepKind::SaveImage { domain, to, .. } => format!("save-image {domain} {to}"),
            StepKind::WaitFor { condition, within, .. } => format!("wait-for {condition} {within}"),
            StepKind::Parallel { steps, stop_on_failure } => format!("parallel {stop_on_failure} [{}]", outline(steps)),
            StepKind::Repeat { times, steps } => format!("repeat {times} [{}]", outline(steps)),
            StepKind::Retry { times, backoff, max_backoff, steps } => {
                format!("retry {times} {backoff} {max_backoff} [{}]", outline(steps))
            }
            StepKind::Timeout { within, steps } => format!("timeout {within} [{}]", outline(steps)),
            StepKind::Try { steps, on_failure } => {
                format!("try [{}] or [{}]", outline(steps), outline(on_failure.as_deref().unwrap_or_default()))
            }
            StepKind::Finally(steps) => format!("finally [{}]", outline(steps)),
            other => format!("{other:?}"),
        })
        .collect();
    words.join("; ")
}

#[test]
fn a_workflow_keeps_the_order_of_its_steps() {
    let pool = resolved("release-test.kdl").pool;
    insta::assert_snapshot!("release-test-workflow", outline(&pool.workflows[0].steps).replace("; ", "\n"));
    let by_workflow: Vec<&str> =
        pool.domains.iter().filter(|domain| domain.starts_by_workflow).map(|domain| domain.path.as_str()).collect();
    assert_eq!(by_workflow, ["sut.head", "sut.worker.0", "sut.worker.1", "client"]);
}

#[test]
fn the_examples_own_tests_pass() {
    for path in ["release-test.kdl"] {
        let reports = run_tests(path, &Examples, &Options::default()).unwrap();
        assert!(!reports.is_empty());
        for report in reports {
            let failures: Vec<String> = report.failures.iter().map(|d| d.to_text(&report.sources)).collect();
            assert!(report.passed(), "{}:\n{}", report.name, failures.join("\n"));
        }
    }
}

#[test]
fn examples_and_the_standard_library_are_formatted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["../examples", "../examples/lib", "std"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "kdl") {
                let text = std::fs::read_to_string(&path).unwrap();
                let formatted = tycoon_lang::syntax::format::format("x.kdl", &text, &Options::default()).unwrap();
                if std::env::var_os("UPDATE_DOCS").is_some() {
                    std::fs::write(&path, &formatted).unwrap();
                    continue;
                }
                assert_eq!(text, formatted, "{}", path.display());
            }
        }
    }
}
