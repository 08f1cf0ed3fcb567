//! The house rules that a compiler does not check: which room may use which, what the pure rooms never touch, and what
//! no file contains. ARCHITECTURE.md says why, [`tables`] says what, and a broken rule fails with its name, the place,
//! and what to do. [`proof`] shows that each rule finds what it forbids.
//!
//! The manifests are read through `cargo metadata`, everything else as text.

mod proof;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

use tables::*;

#[test]
fn arrows_between_rooms_are_those_of_the_table() {
    let arrows = arrows(&workspace());
    require("a room uses only what the table of rooms lets it use", forbidden_arrows(&arrows));
}

#[test]
fn there_are_no_circles_between_rooms() {
    let arrows = arrows(&workspace());
    require("rooms do not use each other in circles, not even in tests", circles(&arrows));
}

#[test]
fn every_room_of_the_table_exists_once_and_every_member_is_a_room() {
    let members: BTreeSet<String> = workspace().packages.iter().map(|package| room_of(&package.name)).collect();
    let table: BTreeSet<String> = ROOMS.iter().map(|(room, _)| room.to_string()).collect();
    let missing = table.difference(&members).map(|room| format!("`{room}` stands in the table and is no member"));
    let unknown = members.difference(&table).map(|room| format!("`{room}` is a member and not in the table"));
    require("the table of rooms and the workspace name the same rooms", missing.chain(unknown).collect());
}

#[test]
fn pure_rooms_depend_on_a_short_list_of_crates() {
    let mut complaints = Vec::new();
    for package in pure_packages(&workspace()) {
        let room = room_of(&package.name);
        complaints.extend(
            package
                .dependencies
                .iter()
                .filter(|d| ships(d) && d.path.is_none())
                .filter_map(|d| impurity(&room, &d.name)),
        );
    }
    require("a pure room depends only on crates that are as pure as it is", complaints);
}

#[test]
fn pure_rooms_reach_no_clock_file_network_or_randomness_through_others() {
    let mut complaints = Vec::new();
    for room in PURE_ROOMS {
        complaints.extend(worldly(room, &reached_crates(&format!("tycoon-{room}"))));
    }
    require("a pure room reaches nothing of the world, not even through what it depends on", complaints);
}

#[test]
fn planner_and_executor_take_xens_types_without_the_host() {
    let workspace = workspace();
    let mut complaints = Vec::new();
    for package in workspace.packages.iter() {
        let room = room_of(&package.name);
        if room == "xen" {
            complaints.extend(xen_features(&package.features));
        }
        if ROOMS_WITH_XENS_TYPES_ONLY.contains(&room.as_str()) {
            let on_xen = package.dependencies.iter().filter(|d| ships(d) && room_of(&d.name) == "xen");
            complaints.extend(
                on_xen.filter_map(|d| host_in_the_types(&room, d.uses_default_features, d.features.as_slice())),
            );
        }
    }
    require("planner and executor know what a host is asked, not how it does it", complaints);
}

#[test]
fn every_member_inherits_its_lints_and_edition() {
    let mut complaints = Vec::new();
    for package in &workspace().packages {
        let manifest = fs::read_to_string(&package.manifest_path).expect("cargo has just read this manifest");
        complaints.extend(not_inherited(&room_of(&package.name), &manifest));
    }
    require("every member takes its lints, edition and version from the workspace", complaints);
}

#[test]
fn pure_rooms_refuse_the_world_through_clippy() {
    let everywhere = banned_paths(&read(&root().join("clippy.toml")));
    let mut complaints = Vec::new();
    for package in pure_packages(&workspace()) {
        let file = package.manifest_path.with_file_name("clippy.toml");
        match fs::read_to_string(&file) {
            Ok(text) => complaints.extend(missing_bans(&room_of(&package.name), &text, &everywhere)),
            Err(error) => complaints.push(format!("{file}: {error}; link it to .config/clippy-pure.toml")),
        }
    }
    require("clippy refuses clock, files, network, environment and randomness in the pure rooms", complaints);
}

#[test]
fn every_ban_gives_its_reason() {
    let mut complaints = Vec::new();
    for file in ["clippy.toml", ".config/clippy-pure.toml"] {
        complaints.extend(bans_without_reason(&read(&root().join(file))).map(|line| format!("{file}: {line}")));
    }
    require("whoever meets a ban learns why, and what to do instead", complaints);
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    let mut complaints = Vec::new();
    // Cargo.lock is cargo's own; it holds no paths, and its hashes are not ours to judge.
    for file in project_files().into_iter().filter(|file| file.file_name().is_none_or(|name| name != "Cargo.lock")) {
        // What is not text (an image, a captured disk) says nothing to a reader.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        if !IMAGE_CONTENT.iter().any(|folder| file.to_string_lossy().contains(folder)) {
            complaints.extend(lines_with(&file, &text, machine_path));
        }
    }
    require("no file names a folder of one machine; write a relative path, $HOME, or an XDG directory", complaints);
}

#[test]
fn no_rust_file_is_too_long() {
    let complaints = rust_files().filter_map(|(file, text)| too_long(&file, &text)).collect();
    require("a Rust file holds one subject; split it by its subjects", complaints);
}

#[test]
fn nothing_is_unfinished_or_left_out() {
    let unfinished = |line: &str| {
        let line = line.replace(RUNS_IN_THE_LAB, "");
        UNFINISHED.iter().copied().find(|word| line.contains(word))
    };
    let complaints = rust_files().flat_map(|(file, text)| lines_with(&file, &text, unfinished)).collect();
    require("what is in the code works, and every test runs: finish it, or take it out and write an issue", complaints);
}

/// Fails with the rule and everything that breaks it, so that one run shows all there is to mend.
fn require(rule: &str, complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\nthe rule: {rule}\nbroken by:\n  {}\n", complaints.join("\n  "));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

/// The members of the workspace as cargo sees them. Nothing is fetched and nothing is resolved anew.
fn workspace() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(["--locked".to_string(), "--offline".to_string()])
        .exec()
        .expect("cargo describes the workspace it has just built")
}

/// The packages of the pure rooms.
fn pure_packages(workspace: &Metadata) -> impl Iterator<Item = &Package> {
    workspace.packages.iter().filter(|package| PURE_ROOMS.contains(&room_of(&package.name).as_str()))
}

/// `tycoon-market` lives in the room `market`; the program itself is `tycoon`.
fn room_of(package: &str) -> String {
    package.strip_prefix("tycoon-").unwrap_or(package).to_string()
}

/// Whether the dependency ends up in the program, unlike those of tests.
fn ships(dependency: &Dependency) -> bool {
    dependency.kind != DependencyKind::Development
}

/// Who uses whom, rooms only, those of tests too.
fn arrows(workspace: &Metadata) -> BTreeSet<(String, String)> {
    let mut arrows = BTreeSet::new();
    for package in &workspace.packages {
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            arrows.insert((room_of(&package.name), room_of(&dependency.name)));
        }
    }
    arrows
}

fn forbidden_arrows(arrows: &BTreeSet<(String, String)>) -> Vec<String> {
    let table: BTreeMap<&str, &[&str]> = ROOMS.iter().copied().collect();
    let complain = |(from, to): &(String, String)| match table.get(from.as_str()) {
        Some(allowed) if allowed.contains(&to.as_str()) => None,
        Some([]) => Some(format!("{from} -> {to}: `{from}` uses no other room")),
        Some(allowed) => Some(format!("{from} -> {to}: `{from}` may use {} only", allowed.join(", "))),
        None => {
            Some(format!("{from} -> {to}: `{from}` is not in the table of rooms; add it there and in ARCHITECTURE.md"))
        }
    };
    arrows.iter().filter_map(complain).collect()
}

/// Every room that can be reached from itself, with the way there.
fn circles(arrows: &BTreeSet<(String, String)>) -> Vec<String> {
    let starts: BTreeSet<&str> = arrows.iter().map(|(from, _)| from.as_str()).collect();
    starts.into_iter().filter_map(|start| way_back(arrows, start)).map(|way| way.join(" -> ")).collect()
}

/// The shortest way from a room back to itself, if there is one.
fn way_back<'a>(arrows: &'a BTreeSet<(String, String)>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let here = *way.last()?;
        for (_, to) in arrows.iter().filter(|(from, _)| from == here) {
            let mut longer = way.clone();
            longer.push(to);
            if to == start {
                return Some(longer);
            }
            if seen.insert(to.as_str()) {
                ways.push_back(longer);
            }
        }
    }
    None
}

fn impurity(room: &str, name: &str) -> Option<String> {
    let known = PURE_CRATES.iter().any(|(pure, _)| *pure == name);
    let advice = "if it has no clock, no I/O, no threads and no randomness, add it to PURE_CRATES with its reason";
    (!known).then(|| format!("{room} -> {name}: not on the list of pure crates; {advice}"))
}

/// The names of all crates that are built into a package when it is built alone, with the features it asks for.
fn reached_crates(package: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--locked", "--offline", "--package", package])
        .args(["--edges", "normal", "--prefix", "none", "--no-dedupe", "--format", "{p}"])
        .current_dir(root())
        .output()
        .expect("cargo runs these tests, so it can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "cargo tree --package {package} failed:\n{stderr}");
    stdout.lines().filter_map(|line| line.split(' ').next()).map(str::to_string).collect()
}

fn worldly(room: &str, reached: &BTreeSet<String>) -> Vec<String> {
    let pairs = WORLDLY_CRATES.iter().flat_map(|(what, names)| names.iter().map(move |name| (what, name)));
    pairs
        .filter(|(_, name)| reached.contains(**name))
        .map(|(what, name)| {
            format!("{room} -> ... -> {name}, which {what}; see `cargo tree -p tycoon-{room} -e normal -i {name}`")
        })
        .collect()
}

fn xen_features(features: &BTreeMap<String, Vec<String>>) -> Option<String> {
    if !features.contains_key("host") {
        return Some("xen: has no feature `host`; drivers, storage and the host daemon belong behind it".to_string());
    }
    let default = features.get("default").map(Vec::as_slice).unwrap_or_default();
    let hidden = default.iter().any(|feature| feature == "host");
    hidden.then(|| "xen: `host` is on by default; the client is built without it".to_string())
}

fn host_in_the_types(room: &str, uses_default_features: bool, features: &[String]) -> Option<String> {
    let advice = format!("`{room}` needs tycoon-xen with default-features = false and without `host`");
    if uses_default_features {
        return Some(format!("{room} -> xen: takes its default features; {advice}"));
    }
    features
        .iter()
        .any(|feature| feature == "host")
        .then(|| format!("{room} -> xen: takes its feature `host`; {advice}"))
}

fn not_inherited(room: &str, manifest: &str) -> Vec<String> {
    let squeezed: String = manifest.chars().filter(|c| !matches!(c, ' ' | '\t')).collect();
    let has = |line: &str| squeezed.lines().any(|other| other == line);
    let keys = INHERITED_KEYS
        .iter()
        .filter(|key| !has(&format!("{key}.workspace=true")) && !has(&format!("{key}={{workspace=true}}")));
    let mut complaints: Vec<String> =
        keys.map(|key| format!("{room}: write `{key}.workspace = true` under [package]")).collect();
    if !has("lints.workspace=true") && !squeezed.contains("[lints]\nworkspace=true") {
        complaints.push(format!("{room}: write `workspace = true` under [lints]"));
    }
    complaints
}

/// The paths that a clippy.toml refuses: `{ path = "std::env::var", reason = "..." }`, one a line.
fn banned_paths(clippy: &str) -> BTreeSet<String> {
    let path = |line: &str| Some(line.trim_start().strip_prefix("{ path = \"")?.split('"').next()?.to_string());
    clippy.lines().filter_map(path).collect()
}

fn missing_bans(room: &str, clippy: &str, everywhere: &BTreeSet<String>) -> Vec<String> {
    let banned = banned_paths(clippy);
    let required = PURE_BANS.iter().flat_map(|(what, paths)| paths.iter().map(move |path| (*what, *path)));
    let repeated = everywhere.iter().map(|path| ("everywhere", path.as_str()));
    let missing = required.chain(repeated).filter(|(_, path)| !banned.contains(*path));
    missing.map(|(what, path)| format!("{room}/clippy.toml: does not refuse `{path}` ({what})")).collect()
}

fn bans_without_reason(clippy: &str) -> impl Iterator<Item = &str> {
    let ban = |line: &&str| line.contains("path = \"") || (line.starts_with('"') && line.contains("::"));
    clippy.lines().map(str::trim).filter(ban).filter(|line| !line.contains("reason = \""))
}

/// The place on one machine that a line names, if it names one: a home directory or a workplace, as a whole path.
fn machine_path(line: &str) -> Option<&'static str> {
    let places = [concat!("/", "work/"), concat!("/", "root/"), concat!("/", "home/")];
    let named = |place: &str| {
        line.match_indices(place).any(|(at, _)| {
            // `$HOME/work/` and `src/root/` are parts of other paths, `/home/$USER` and `/home/<name>` are placeholders.
            let inside = line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-.~}".contains(c));
            let placeholder = place.ends_with("home/") && !line[at + place.len()..].starts_with(char::is_alphanumeric);
            !inside && !placeholder
        })
    };
    places.into_iter().find(|place| named(place))
}

/// A complaint for every line in which the search finds something.
fn lines_with<'a>(file: &Path, text: &str, search: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let name = file.strip_prefix(root()).unwrap_or(file).display();
    let found = text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, search(line)?)));
    found.map(|(number, what)| format!("{name}:{number}: `{what}`")).collect()
}

fn too_long(file: &Path, text: &str) -> Option<String> {
    let (name, lines) = (file.strip_prefix(root()).unwrap_or(file).display(), text.lines().count());
    (lines > RUST_FILE_LINES_MAX).then(|| format!("{name}: {lines} lines, at most {RUST_FILE_LINES_MAX} are allowed"))
}

/// The Rust files of the project and their text.
fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    let rust = project_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|file| (file.clone(), read(&file)))
}

/// Every file of the project, links not followed.
fn project_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("cannot list {}: {error}", folder.display()));
        for entry in entries.map(|entry| entry.expect("the folder stays while the tests run")) {
            let kind = entry.file_type().expect("a folder's entry has a type");
            if FOREIGN_FOLDERS.iter().any(|foreign| entry.file_name() == *foreign) {
                continue;
            } else if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}
