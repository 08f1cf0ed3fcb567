//! All errors come in one run: what has a wrong name, or a prototype that is not there, is checked all the same, and
//! what follows from that is not said.

mod support;

use support::{load_files, refused};
use tycoon_lang::{Diagnostic, MemoryLoader, Options, check};

/// Code and the text at the primary place of every error.
#[track_caller]
fn found(text: &str) -> Vec<(String, String)> {
    let places = |diagnostics: &[Diagnostic]| {
        diagnostics
            .iter()
            .map(|diagnostic| {
                let span = diagnostic.primary().expect("a place");
                (diagnostic.code.to_owned(), text[span.start..span.end].to_owned())
            })
            .collect()
    };
    places(&refused(text))
}

#[track_caller]
fn says(text: &str, expected: &[(&str, &str)]) {
    let found = found(text);
    let found: Vec<(&str, &str)> = found.iter().map(|(code, place)| (code.as_str(), place.as_str())).collect();
    let shown = load_files(text, &[], &Options::default()).map_or_else(|failure| failure.to_text(), |_| String::new());
    assert_eq!(found, expected, "{text}\n{shown}");
}

const WEB: &str = "image \"std:tiny\"; memory \"64MiB\"";

#[test]
fn a_mistyped_kind_hides_nothing_in_its_block() {
    says(
        "pool p {\n    domian web count=2 { imgae \"a\"; memory \"64 s\"; volum data { size \"1GiB\"; colour 3; }; }\n}",
        &[("E0201", "domian"), ("E0201", "imgae"), ("E0402", "\"64 s\""), ("E0201", "volum"), ("E0201", "colour")],
    );
    says("pool p {\n    gruop g { domain web { memory \"64MiB\"; }; }\n}", &[("E0201", "gruop"), ("E0405", "web")]);
}

#[test]
fn a_mistyped_record_or_item_hides_nothing_in_its_block() {
    says(
        "pool p {\n    bugdet 10 for=\"1 x\" colour=3\n    palce { requir \"host.cpuss > 1\"; }\n}",
        &[
            ("E0201", "bugdet"),
            ("E0402", "\"1 x\""),
            ("E0201", "colour"),
            ("E0201", "palce"),
            ("E0201", "requir"),
            ("E0203", "cpuss"),
        ],
    );
    says(
        "pool p {\n    workflow w { sequnce { dealy \"1 x\"; }; }\n}",
        &[("E0201", "sequnce"), ("E0201", "dealy"), ("E0402", "\"1 x\"")],
    );
    // Two lines for one record would contradict each other only because of the guess.
    says("pool p {\n    budget 1 for=\"1h\"\n    bugdet 2 for=\"1h\"\n}", &[("E0201", "bugdet")]);
}

#[test]
fn what_refers_to_a_mended_component_finds_it() {
    says(
        &format!(
            "pool p {{\n    web.1.memory \"1GiB\"\n    domian web count=2 {{ {WEB}; }}\n    output m ($)web.1.memory\n}}"
        ),
        &[("E0201", "domian")],
    );
    says(&format!("pool p {{\n    domain Web_1 {{ {WEB}; }}\n    output m ($)Web_1.memory\n}}"), &[("E0208", "Web_1")]);
}

#[test]
fn a_wrong_name_hides_nothing() {
    for (name, code, place) in [
        ("domain Web_1", "E0208", "Web_1"),
        ("domain", "E0208", "domain"),
        ("domain volume", "E0208", "volume"),
        ("domain count", "E0208", "count"),
        ("domain web extra", "E0212", "extra"),
        ("(default)domain web", "E0211", "default"),
    ] {
        let text = format!("pool p {{\n    {name} {{ imgae \"a\"; memory \"64MiB\"; }}\n}}");
        says(&text, &[(code, place), ("E0201", "imgae")]);
    }
    says(
        &format!("pool p {{\n    domain web {{ {WEB}; }}\n    domain web {{ image \"a\"; memory \"1 x\"; }}\n}}"),
        &[("E0206", "web"), ("E0402", "\"1 x\"")],
    );
}

#[test]
fn a_kind_in_the_wrong_place_hides_nothing() {
    says("domain web { imgae \"a\"; memory \"64MiB\"; }\npool p { }", &[("E0201", "domain"), ("E0201", "imgae")]);
    says("pool p {\n    volume data { sizee \"1GiB\"; }\n}", &[("E0201", "volume"), ("E0201", "sizee")]);
}

#[test]
fn a_foreign_word_for_a_kind_is_known_by_what_stands_in_its_block() {
    let text = "pool p {\n    vm web { image \"std:tiny\"; memory \"64 s\"; }\n}";
    says(text, &[("E0201", "vm"), ("E0402", "\"64 s\"")]);
    assert!(refused(text)[0].help.as_deref().is_some_and(|help| help.contains("did you mean `domain`?")));
    // Nothing is guessed where nothing speaks for it.
    says("pool p {\n    thing web { colour 3; size 4; }\n}", &[("E0201", "thing")]);
}

#[test]
fn an_unknown_prototype_hides_nothing_and_what_it_may_have_brought_is_not_missed() {
    says(
        "pool p {\n    domain web extends=Nothing { memroy \"1GiB\"; vcpus 0; site \"cern\"; nic eth1 ipp=\"a\"; }\n    \
         assert \"web.vcpus == 2 && web.site == 'x'\"\n}",
        &[("E0204", "Nothing"), ("E0201", "memroy"), ("E0403", "0"), ("E0201", "ipp")],
    );
    says(
        "template T extends=Nothing { imgae \"a\"; memory \"1 x\"; }\npool p {\n    domain web extends=T { vcpus \"x\"; }\n}",
        &[("E0204", "Nothing"), ("E0201", "imgae"), ("E0402", "\"1 x\""), ("E0401", "\"x\"")],
    );
    says(
        "template T { param size type=bytes; image \"a\"; memory ($)size; vcpus -1; }\npool p {\n    domain web extends=T { colour 3; }\n}",
        &[("E0306", "T"), ("E0403", "-1")],
    );
    says("pool p {\n    domain web extends=group { memory \"1 x\"; }\n}", &[("E0306", "group"), ("E0402", "\"1 x\"")]);
}

#[test]
fn the_errors_of_all_files_come_in_one_run() {
    let mut loader = MemoryLoader::new().with(
        "pool.kdl",
        "import \"a.kdl\" as=a\nimport \"b.kdl\" as=b\npool p {\n    domain web extends=a.Web { memroy \"1GiB\"; }\n}\n",
    );
    loader.insert("a.kdl", "template Web extends=domain { imgae \"a\"; memory \"1GiB\"; }\n");
    loader.insert("b.kdl", "template Unused extends=domain { vcpus \"x\"; }\n");
    let failure = check("pool.kdl", &loader, &Options::default()).expect_err("three errors");
    let files: Vec<String> = failure
        .diagnostics
        .iter()
        .map(|error| failure.sources.get(error.primary().expect("a place").file).name.to_string())
        .collect();
    assert_eq!(files, ["pool.kdl", "a.kdl", "b.kdl"], "{}", failure.to_text());
}

/// Whoever speaks of a name that two things want may mean either.
#[test]
fn of_a_name_that_is_wanted_twice_only_that_is_said() {
    for value in ["output web ($)web.0.eth0.ip", "output web \"x\"", "let web 4"] {
        let text = format!(
            "pool p {{\n    domain web count=2 {{ {WEB}; }}\n    {value}\n    web.0.memory \"256MiB\"\n    \
             domain db {{ {WEB}; start-after web; }}\n    output other ($)web.0.memory\n}}"
        );
        says(&text, &[("E0206", "web")]);
    }
    // What stands in the second one is checked under its own name.
    let twice = refused(&format!("pool p {{ domain web {{ {WEB}; }}; domain web {{ image \"std:tiny\"; }}; }}"));
    assert!(twice.iter().all(|error| !error.message.contains("web-2")), "{twice:?}");
}
