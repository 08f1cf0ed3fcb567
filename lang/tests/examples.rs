//! Every example of the project resolves.

use std::path::Path;

use tycoon_lang::{LoadError, Loaded, Loader, Options, load};

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
        assert_eq!(domain.memory_bytes, 64 << 20);
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
        resolved(path);
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
