//! What a seed disk says, and what the guest image `std:tiny` makes of it.

use std::fs;
use std::path::Path;
use std::process::Command;

use tycoon_xen::spec::{CloudInit, DomainSpec, SeedFile};
use tycoon_xen::storage::Storage as _;

use crate::bench::{Bench, has_loop_devices, owner, spec};

fn file(path: &Path, content: &str) -> SeedFile {
    let path = path.to_str().unwrap().to_owned();
    SeedFile { path, content: content.to_owned(), mode: "0600".into(), owner: "root:root".into() }
}

/// The user-data on the seed disk of a domain.
fn user_data(bench: &Bench, spec: &DomainSpec) -> String {
    let storage = bench.open();
    let ownership = owner(spec, 1);
    let name = ownership.hypervisor_name();
    storage.note(spec, &ownership).unwrap();
    storage.ensure_volumes(spec, &ownership).unwrap();
    let disks = storage.attach(&name).unwrap();
    let seed = fs::read(&disks.last().unwrap().device).unwrap();
    storage.detach(&name).unwrap();
    let seed = String::from_utf8_lossy(&seed).into_owned();
    let begin = seed.find("#cloud-config").unwrap();
    seed[begin..].split('\0').next().unwrap().to_owned()
}

#[test]
fn gaps_are_filled_with_what_is_known_when_the_domain_is_made() {
    if !has_loop_devices() {
        return;
    }
    let bench = Bench::new();
    let mut spec = spec("worker.0");
    let gap = CloudInit::gap;
    let content =
        format!("{} {{{{head.eth0.ip}}}} {}{}\u{e000}", gap("head.eth0.ip"), gap("worker.0.eth0.ip"), gap("other"));
    let odd = gap("worker.0.eth0.ip");
    let late = [("head.eth0.ip", Some(odd.as_str())), ("worker.0.eth0.ip", None)];
    spec.cloud_init = CloudInit {
        files: vec![file(Path::new("/f"), &content)],
        commands: vec![vec!["join".into(), gap("head.eth0.ip")]],
        late: late.map(|(path, value)| (path.to_owned(), value.map(str::to_owned))).into(),
        ..CloudInit::default()
    };
    let told = user_data(&bench, &spec);
    let own = "192.0.2.10";
    let other = gap("other");
    assert!(told.contains(&format!("\"{odd} {{{{head.eth0.ip}}}} {own}{other}\u{e000}\"")), "{told}");
    assert!(told.contains(&format!("[[\"join\",\"{odd}\"]]")), "{told}");

    spec.cloud_init.late.insert("head.eth0.ip".into(), None);
    let error = bench.open().note(&spec, &owner(&spec, 1)).unwrap_err().to_string();
    assert!(error.contains("`head.eth0.ip`, which its files or commands need, is not known"), "{error}");
}

#[test]
fn std_tiny_writes_its_files_and_runs_its_commands() {
    if !has_loop_devices() {
        return;
    }
    let bench = Bench::new();
    let place = tempfile::tempdir().unwrap();
    let odd = place.path().join("it's a/file");
    let content = "a \"quoted\", {text}\nwith # and 'it' \\ and \u{e9}\u{7f}\n\ttab";
    let mark = place.path().join("mark");
    let mut spec = spec("web");
    spec.cloud_init = CloudInit {
        files: vec![file(&odd, content), file(&place.path().join("second"), "2")],
        commands: vec![
            vec!["cp".into(), odd.to_str().unwrap().into(), mark.to_str().unwrap().into()],
            vec!["touch".into(), format!("{}.done", mark.display())],
        ],
        ..CloudInit::default()
    };
    fs::write(place.path().join("user-data"), user_data(&bench, &spec)).unwrap();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/tiny");
    let script = format!(
        "awk -f {tiny}/flatten.awk user-data >flat && awk -F '\\t' -f {tiny}/first-start.awk flat >commands && sh commands"
    );
    let ran = Command::new("sh").arg("-c").arg(script).current_dir(place.path()).status().unwrap();
    assert!(ran.success());
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(
        (read(&odd), read(&mark), read(&place.path().join("second"))),
        (content.into(), content.into(), "2".into())
    );
    assert!(place.path().join("mark.done").exists());
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&odd).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
