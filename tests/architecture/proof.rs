//! The rules are held to account: each is shown what it forbids, and has to find it.

use super::*;

fn pairs(arrows: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    arrows.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect()
}

#[test]
fn an_arrow_against_the_table() {
    let complaints =
        forbidden_arrows(&pairs(&[("bank", "rpc"), ("lang", "xen"), ("market", "lang"), ("shed", "bank")]));
    assert_eq!(
        complaints,
        [
            "lang -> xen: `lang` may use market only",
            "market -> lang: `market` uses no other room",
            "shed -> bank: `shed` is not in the table of rooms; add it there and in ARCHITECTURE.md",
        ]
    );
}

#[test]
fn a_circle() {
    let complaints = circles(&pairs(&[("bank", "rpc"), ("rpc", "sls"), ("sls", "bank"), ("xen", "bank")]));
    assert_eq!(complaints, ["bank -> rpc -> sls -> bank", "rpc -> sls -> bank -> rpc", "sls -> bank -> rpc -> sls"]);
}

#[test]
fn the_table_itself_has_no_circles() {
    let table = ROOMS.iter().flat_map(|(from, allowed)| allowed.iter().map(move |to| (*from, *to)));
    assert_eq!(circles(&pairs(&table.collect::<Vec<_>>())), Vec::<String>::new());
}

#[test]
fn a_worldly_crate_near_and_far() {
    assert!(impurity("market", "serde").is_none());
    assert!(impurity("market", "tokio").expect("tokio is not pure").starts_with("market -> tokio: "));
    let reached = ["serde", "sled"].map(str::to_string).into();
    assert_eq!(worldly("planner", &reached).len(), 1, "sled writes files, serde does not");
    let both = PURE_CRATES.iter().filter(|(pure, _)| WORLDLY_CRATES.iter().any(|(_, names)| names.contains(pure)));
    assert_eq!(both.count(), 0, "no crate is pure and worldly");
}

#[test]
fn the_host_among_xens_types() {
    let features = |pairs: &[(&str, &[&str])]| {
        pairs.iter().map(|(k, v)| (k.to_string(), v.iter().map(|f| f.to_string()).collect())).collect()
    };
    assert!(xen_features(&features(&[])).is_some());
    assert!(xen_features(&features(&[("default", &["host"]), ("host", &[])])).is_some());
    assert!(xen_features(&features(&[("default", &[]), ("host", &["dep:sled"])])).is_none());
    assert!(host_in_the_types("planner", true, &[]).is_some());
    assert!(host_in_the_types("planner", false, &["host".to_string()]).is_some());
    assert!(host_in_the_types("planner", false, &[]).is_none());
}

#[test]
fn a_manifest_of_its_own_mind() {
    let manifest = "[package]\nname = \"tycoon-shed\"\nversion.workspace = true\nedition = \"2021\"\n\
                    rust-version = { workspace = true }\nlicense.workspace = true\npublish.workspace = true\n";
    let complaints = not_inherited("shed", manifest);
    assert_eq!(complaints.len(), 2, "edition and lints: {complaints:?}");
}

#[test]
fn a_ban_that_was_taken_away_or_has_no_reason() {
    let clippy = read(&root().join(".config/clippy-pure.toml"));
    let weaker: String = clippy.lines().filter(|line| !line.contains("SystemTime::now")).collect::<Vec<_>>().join("\n");
    let complaints = missing_bans("market", &weaker, &BTreeSet::from(["std::elsewhere".to_string()]));
    assert_eq!(complaints.len(), 2, "the clock and the ban of all rooms: {complaints:?}");
    let silent = "    { path = \"std::fs::read\" },\n    \"std::fs::write\",\n    { path = \"a\", reason = \"b\" },";
    assert_eq!(bans_without_reason(silent).count(), 2);
}

#[test]
fn a_place_on_one_machine() {
    for named in ["cd @work/tycoon", "\"@root/.cache\"", "in @home/alice/pools", "(@work/"] {
        assert!(machine_path(&named.replace('@', "/")).is_some(), "{named}");
    }
    for free in
        ["$HOME@work/x", "~@work/x", "src@root/x", "framework@root/", "@home/$USER", "@home/<name>", "@workers/"]
    {
        assert!(machine_path(&free.replace('@', "/")).is_none(), "{free}");
    }
}

#[test]
fn a_long_file_and_an_unfinished_line() {
    let file = root().join("src/long.rs");
    assert!(too_long(&file, &"\n".repeat(RUST_FILE_LINES_MAX)).is_none());
    let complaint = too_long(&file, &"\n".repeat(RUST_FILE_LINES_MAX + 1));
    assert_eq!(complaint.as_deref(), Some("src/long.rs: 801 lines, at most 800 are allowed"));
    let text = format!("fn f() {{\n    {})\n}}", UNFINISHED[0]);
    let found = lines_with(&file, &text, |line| UNFINISHED.iter().copied().find(|word| line.contains(word)));
    assert_eq!(found, [format!("src/long.rs:2: `{}`", UNFINISHED[0])]);
}
