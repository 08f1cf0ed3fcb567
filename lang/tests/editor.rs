//! What an editor is told: the place is marked with `|` in the text.

use tycoon_lang::editor::{complete, definition, diagnose, hover};
use tycoon_lang::{MemoryLoader, Options};

const LIBRARY: &str = "\
template Node extends=domain {
    param head-address type=ip context=#true doc=\"where the head is\"
    image \"a\"
    memory \"1GiB\"
}
";

const POOL: &str = "\
import \"./lib.kdl\" as=lib
param workers type=integer default=2 doc=\"how many workers\"
let base \"2GiB\"
template Big extends=domain { image \"a\"; memory ($)base; }
pool p {
    budget 10 for=\"1h\"
    let head-address ($)head.eth0.ip
    domain head extends=Big
    domain wn extends=lib.Node count=($)workers {
        vcpus ($)\"head.vcpus + 1\"
        place { require \"host.cpus >= 2\"; }
    }
    wn.0.memory \"4GiB\"
    assert \"sum(wn.*.memory) < 64GiB\"
}
";

/// A text without its mark, the place of the mark, and a loader of it.
fn marked(text: &str) -> (String, usize, MemoryLoader) {
    let at = text.find('|').expect("a mark");
    let text = text.replacen('|', "", 1);
    let loader = MemoryLoader::new().with("pool.kdl", text.as_str()).with("lib.kdl", LIBRARY);
    (text, at, loader)
}

/// The pool with a mark after the given piece of it.
fn pool_at(piece: &str) -> String {
    let at = POOL.find(piece).unwrap_or_else(|| panic!("no `{piece}`")) + piece.len();
    format!("{}|{}", &POOL[..at], &POOL[at..])
}

#[track_caller]
fn hovered(piece: &str) -> String {
    let (_, at, loader) = marked(&pool_at(piece));
    let found = hover("pool.kdl", &loader, &Options::default(), at).unwrap_or_else(|| panic!("nothing at `{piece}`"));
    found.markdown
}

#[track_caller]
fn defined(piece: &str) -> Option<String> {
    let (_, at, loader) = marked(&pool_at(piece));
    let found = definition("pool.kdl", &loader, &Options::default(), at)?;
    Some(format!("{} {}", found.sources.describe(found.span), found.sources.text(found.span)))
}

#[track_caller]
fn completed(text: &str) -> Vec<String> {
    let (text, at, loader) = marked(text);
    let found = complete("pool.kdl", &text, &loader, &Options::default(), at);
    assert!(found.range.end == at && found.range.start <= at);
    found.list.into_iter().map(|proposal| proposal.text).collect()
}

#[test]
fn hovering_tells_what_a_thing_is_and_what_it_is_worth() {
    let mut all = String::new();
    for piece in [
        "budg",
        "domain h",
        "domai",
        "vcp",
        "wn.0.mem",
        "($)work",
        "head.vcp",
        "host.cp",
        "extends=B",
        "lib.No",
        "let",
        "requ",
        "count",
        "wn.*.mem",
        "domain w",
        "4Gi",
        "par",
        "workers type=int",
    ] {
        all.push_str(&format!("--- {piece}\n{}\n", hovered(piece)));
    }
    insta::assert_snapshot!("hover", all);
}

#[test]
fn definitions_lead_to_templates_names_and_imports() {
    for (piece, wanted) in [
        ("extends=B", "pool.kdl:4:10 Big"),
        ("lib.No", "lib.kdl:1:10 Node"),
        ("./lib", "lib.kdl:1:1 "),
        ("($)work", "pool.kdl:2:7 workers"),
        ("($)ba", "pool.kdl:3:5 base"),
        ("\"hea", "pool.kdl:8:12 head"),
        ("    w", "pool.kdl:9:12 wn"),
        ("sum(w", "pool.kdl:9:12 wn"),
    ] {
        assert_eq!(defined(piece).as_deref(), Some(wanted), "{piece}");
    }
    assert_eq!(defined("budg"), None, "the standard library is no file of the user's");
}

#[test]
fn names_are_completed_from_schemas_and_from_what_exists() {
    let has = |text: &str, wanted: &[&str], not: &[&str]| {
        let found = completed(text);
        for name in wanted {
            assert!(found.iter().any(|known| known == name), "no {name} among {found:?} for {text}");
        }
        for name in not {
            assert!(!found.iter().any(|known| known == name), "{name} among {found:?} for {text}");
        }
    };
    has("pool p {\n    |\n}", &["budget", "domain", "group", "let", "place"], &["memory", "template"]);
    has("pool p {\n    bu|\n}", &["budget"], &["domain"]);
    has("|", &["pool", "template", "import", "param"], &["memory"]);
    has("pool p { domain web { |", &["memory", "image", "root", "eth0", "cloud-init", "volume"], &["budget"]);
    has("pool p { domain web { place { |", &["require", "max-per-host"], &["memory"]);
    has("pool p { domain web { keep-volumes | } }", &["always", "never", "if-preexisting"], &["memory"]);
    has("pool p { domain web { keep-volumes al|", &["always"], &["never"]);
    has("pool p { domain web { burst |", &["#true", "#false"], &[]);
    has("template T extends=|", &["domain", "group"], &[]);
    has("template T extends=domain { }\npool p { domain web extends=|", &["T", "domain"], &[]);
    has("import \"./lib.kdl\" as=lib\npool p { domain web extends=lib.|", &["lib.Node"], &["domain"]);
    has("pool p { domain web |", &["memory=", "count=", "extends="], &[]);
    has("pool p { domain |", &[], &["memory=", "count="]);
    has("pool p { domain web count=2\n wn.| }", &[], &["memory"]);
    has("pool p { domain web count=2\n web.| }", &["0", "memory"], &[]);
    has("pool p { domain web count=2\n web.0.| }", &["memory", "root"], &["0"]);
    has("pool p { domain web\n web.root.| }", &["size", "fs"], &["memory"]);
    has("param n |", &["type=", "default="], &[]);
    has("param n type=|", &["bytes", "integer", "domain"], &[]);
    has("test \"a\" {\n |", &["expect", "given"], &["memory"]);
    has("let base 1\npool p { domain web { vcpus ($)|", &["base", "web", "sum", "this"], &[]);
    has("pool p { domain web { vcpus 1; hostname (f)\"a-${this.| } }", &["vcpus", "memory"], &["sum"]);
    has("pool p { domain web { place { require \"host.|", &["cpus", "labels"], &["max-per-host"]);
    has("pool p { domain a { }\n domain web { start-after |", &["a", "web"], &[]);
    has("pool p { domain web count=2\n assert \"sum(web.|", &["*", "0", "memory"], &[]);
    has("pool p { budget 10 |", &["for=", "reserve="], &[]);
    has("pool p { a=1\n domain web { mem|\n x 10g } }", &["memory"], &[]);
}

#[test]
fn every_place_of_every_prefix_has_an_answer() {
    let options = Options::default();
    for end in (0..POOL.len()).step_by(11) {
        let text = &POOL[..end];
        let loader = MemoryLoader::new().with("pool.kdl", text).with("lib.kdl", LIBRARY);
        complete("pool.kdl", text, &loader, &options, end);
        hover("pool.kdl", &loader, &options, end);
        definition("pool.kdl", &loader, &options, end / 2);
    }
    for at in (0..POOL.len()).step_by(7) {
        let loader = MemoryLoader::new().with("pool.kdl", POOL).with("lib.kdl", LIBRARY);
        complete("pool.kdl", POOL, &loader, &options, at);
        hover("pool.kdl", &loader, &options, at);
        definition("pool.kdl", &loader, &options, at);
    }
}

#[test]
fn findings_are_errors_or_warnings_of_pools_and_of_libraries() {
    let codes = |text: &str| -> Vec<&'static str> {
        let loader = MemoryLoader::new().with("pool.kdl", text).with("lib.kdl", LIBRARY);
        diagnose("pool.kdl", &loader, &Options::default()).diagnostics.iter().map(|found| found.code).collect()
    };
    assert_eq!(codes(POOL), Vec::<&str>::new());
    assert_eq!(codes(LIBRARY), Vec::<&str>::new());
    assert_eq!(codes("let a 1\npool p { }"), ["W0002"]);
    assert_eq!(codes("pool p { memroy 1; domain a { }; }"), ["E0201", "E0405", "E0405"]);
    assert_eq!(codes("pool p {"), ["E0105"]);
}
