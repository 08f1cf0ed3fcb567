//! The advice of an error is what the writer meant: applied as it stands, it mends the text.

mod support;

use support::{load_files, refused};
use tycoon_lang::{Diagnostic, MemoryLoader, Options, check};

/// The text after the edit that its first error proposes.
#[track_caller]
fn mended(text: &str) -> String {
    let found = refused(text);
    let edit = found[0].suggestion.as_ref().unwrap_or_else(|| panic!("no edit: {:?}", found[0]));
    format!("{}{}{}", &text[..edit.span.start], edit.replacement, &text[edit.span.end..])
}

/// Checks that `wrong` is turned into `right` by the advice, and that this is sound.
#[track_caller]
fn turns_into(around: &str, wrong: &str, right: &str) {
    let fixed = mended(&around.replace("HERE", wrong));
    assert_eq!(fixed, around.replace("HERE", right));
    if let Err(failure) = load_files(&fixed, &[], &Options::default()) {
        panic!("{}", failure.to_text());
    }
}

const DOMAIN: &str = "param n type=integer default=2\nparam size type=bytes default=\"64MiB\"\nparam name default=\"web\"\n\
                      assert \"n > 0 && size > 0B && len(name) > 0\"\n\
                      pool p {\n    domain web count=2 {\n        image \"std:tiny\"\n        HERE\n    }\n}\n";
const MEMORY: &str = "param n type=integer default=2\nassert \"n > 0\"\n\
                      pool p {\n    domain web count=2 image=\"std:tiny\" memory=\"64MiB\" {\n        HERE\n    }\n}\n";

const ONE: &str = "pool p {\n    domain web image=\"std:tiny\" memory=\"64MiB\" {\n        HERE\n    }\n}\n";

#[test]
fn a_text_to_be_filled_in_gets_its_annotation() {
    turns_into(MEMORY, "hostname \"web-${index}\"", "hostname (f)\"web-${index}\"");
    turns_into(MEMORY, "hostname web-${index}", "hostname (f)\"web-${index}\"");
    turns_into(MEMORY, "hostname web-${index}.example.org;", "hostname (f)\"web-${index}.example.org\";");
    turns_into(DOMAIN, "memory \"${n * 64}MiB\"", "memory (f)\"${n * 64}MiB\"");
    turns_into(MEMORY, "hostname \"web-$index.example.org\"", "hostname (f)\"web-${index}.example.org\"");
    turns_into(MEMORY, "hostname (f)\"web-${i}\"", "hostname (f)\"web-${index}\"");
    // A number is never read from text.
    turns_into(MEMORY, "vcpus \"${n}\"", "vcpus ($)\"n\"");
}

#[test]
fn the_number_of_an_instance_is_told_by_its_name() {
    let found = refused(&MEMORY.replace("HERE", "hostname \"web-${i}\""));
    assert!(found[0].help.as_deref().is_some_and(|help| help.contains("`index`")), "{:?}", found[0].help);
}

#[test]
fn a_name_or_an_expression_gets_its_annotation() {
    turns_into(DOMAIN, "memory size", "memory ($)size");
    turns_into(DOMAIN, "memory \"2 * size\"", "memory ($)\"2 * size\"");
    turns_into(MEMORY, "vcpus n", "vcpus ($)n");
    turns_into(MEMORY, "vcpus \"index + 1\"", "vcpus ($)\"index + 1\"");
    let count =
        "param n type=integer default=2\npool p {\n    domain web HERE image=\"std:tiny\" memory=\"64MiB\"\n}\n";
    turns_into(count, "count=n", "count=($)n");
    turns_into(count, "count=\"n + 1\"", "count=($)\"n + 1\"");
    turns_into(count, "count=\"${n}\"", "count=($)\"n\"");
}

#[test]
fn what_stands_in_the_wrong_place_is_shown_its_own() {
    turns_into(ONE, "ip \"10.0.0.1\"", "eth0 ip=\"10.0.0.1\"");
    turns_into(MEMORY, "size \"10GiB\"", "root size=\"10GiB\"");
    turns_into(MEMORY, "disk \"10GiB\"", "root size=\"10GiB\"");
    turns_into(MEMORY, "tcp 80", "ready tcp=80");
    turns_into(MEMORY, "cpu 2", "vcpus 2");
    turns_into(MEMORY, "require \"host.cpus > 2\"", "place { require \"host.cpus > 2\"; }");
    turns_into(DOMAIN, "ram \"1GiB\"", "memory \"1GiB\"");
    // Several parts have one, and two have the same.
    let found = refused(&MEMORY.replace("HERE", "backoff \"1s\"; within \"1m\"; misses 2"));
    let help: Vec<&str> = found.iter().filter_map(|error| error.help.as_deref()).collect();
    assert_eq!(
        help,
        ["write `restart backoff=…`", "`within` belongs to `restart` or `ready`", "write `liveness misses=…`"]
    );
}

#[test]
fn a_value_without_the_name_of_its_attribute_gets_it() {
    turns_into(ONE, "eth0 \"10.0.0.1\"", "eth0 ip=\"10.0.0.1\"");
    turns_into(MEMORY, "volume data \"1GiB\"", "volume data size=\"1GiB\"");
    turns_into("pool p {\n    budget 10 HERE\n}\n", "for \"1h\"", "for=\"1h\"");
}

#[test]
fn habits_of_other_languages_are_turned_into_ours() {
    let count = "HERE\npool p {\n    domain web count=($)n image=\"std:tiny\" memory=\"64MiB\"\n}\n";
    turns_into(count, "let n = 2", "let n 2");
    turns_into(count, "param n = 2", "param n type=integer default=2");
    turns_into(count, "param n=2 type=integer", "param n default=2 type=integer");
    turns_into(count, "param n type=int default=2", "param n type=integer default=2");
    for wrong in ["let n = 2", "param n type=int default=2", "param n type=foo default=2"] {
        assert_eq!(refused(&count.replace("HERE", wrong)).len(), 1, "nothing follows from `{wrong}`");
    }
    let count =
        "param n type=integer default=2\npool p {\n    domain web HERE image=\"std:tiny\" memory=\"64MiB\"\n}\n";
    for wrong in ["count=$n", "count=(n)", "count=${n}"] {
        turns_into(count, wrong, "count=($)n");
    }
    turns_into(count, "count=n+1", "count=($)n+1");
    let after = "pool p {\n    domain a image=\"a\" memory=\"1GiB\"\n    domain b extends=a\n    domain c extends=a {\n        HERE\n    }\n}\n";
    turns_into(after, "start-after a b", "start-after a; start-after b");
}

#[test]
fn a_comment_of_a_shell_is_turned_into_ours() {
    turns_into("HERE the first\npool p {\n}\n", "#", "//");
    turns_into("HERE the first\npool p {\n}\n", "##", "//");
}

#[test]
fn single_quotes_are_for_expressions() {
    turns_into(DOMAIN, "memory '64MiB'", "memory \"64MiB\"");
    turns_into(MEMORY, "vcpus '2'", "vcpus 2");
}

#[test]
fn a_template_in_the_wrong_place_is_found_all_the_same() {
    let text = "pool p {\n    template W extends=domain { image \"a\"; memory \"1GiB\"; }\n    domain web extends=W { vcpus 0; }\n}\n";
    assert_eq!(refused(text).iter().map(|error| error.code).collect::<Vec<_>>(), ["E0207", "E0403"]);
}

#[test]
fn attributes_on_one_line_are_put_apart() {
    let pool = "pool p {\n    domain web { HERE; }\n}\n";
    turns_into(pool, "image \"std:tiny\" memory \"64MiB\"", "image \"std:tiny\"; memory \"64MiB\"");
    let around = "template T extends=domain { HERE; }\npool p {\n    domain web extends=T\n}\n";
    turns_into(around, "memory \"64MiB\"   image \"std:tiny\"", "memory \"64MiB\"; image \"std:tiny\"");
    // Nothing is said to be missing that stands there.
    let text = around.replace("HERE", "image \"a\" memory \"64MiB\"");
    assert_eq!(refused(&text).iter().map(|error| error.code).collect::<Vec<_>>(), ["E0212"]);
}

#[test]
fn a_count_below_zero_is_told_what_there_is_for_none() {
    let found = refused("pool p {\n    domain web count=-1 image=\"std:tiny\" memory=\"64MiB\"\n}\n");
    let help = found[0].help.as_deref().expect("help");
    assert!(help.contains("if=#false") && !help.contains("smaller"), "{help}");
}

/// What is said of a file of params.
#[track_caller]
fn params(text: &str) -> Vec<Diagnostic> {
    let description = "param workers type=integer default=2\nparam size type=bytes\nparam key\n\
                       pool p {\n    domain wn count=($)workers image=\"std:tiny\" memory=($)size hostname=($)key\n}\n";
    let loader = MemoryLoader::new().with("pool.kdl", description).with("params.kdl", text);
    let options = Options {
        params_files: vec!["params.kdl".into()],
        params: vec![("size".into(), "64MiB".into()), ("key".into(), "a".into())],
        ..Options::default()
    };
    check("pool.kdl", &loader, &options).map_or_else(|failure| failure.diagnostics, |checked| checked.warnings)
}

#[test]
fn a_file_of_params_in_another_form_is_shown_the_right_one() {
    for text in ["{\"workers\": 3}\n", "param workers 3 {\n", "params { workers 3; }\n", "[workers]\n"] {
        let found = params(text);
        let help = found[0].help.as_deref().unwrap_or_else(|| panic!("{found:?}"));
        assert!(
            help.contains("`workers 2` and, on a line of its own, `size \"2GiB\"`, `key \"text\"`"),
            "{text}: {help}"
        );
    }
    let found = params("workers\nsize { a; }\n");
    let help: Vec<&str> = found.iter().filter_map(|error| error.help.as_deref()).collect();
    assert!(help[0].starts_with("write for example `workers 2`"), "{help:?}");
    assert!(help[1].starts_with("write for example `size \"2GiB\"`"), "{help:?}");
}

/// The codes of the warnings of a sound description.
#[track_caller]
fn warnings(text: &str) -> Vec<&'static str> {
    let resolved = load_files(text, &[], &Options::default()).unwrap_or_else(|failure| panic!("{}", failure.to_text()));
    resolved.loaded.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn a_plain_text_with_a_name_of_the_description_is_told_and_one_for_a_shell_is_not() {
    let with = |text: &str| {
        format!(
            "param key default=\"a\"\npool p {{\n    domain web image=\"std:tiny\" memory=\"64MiB\"\n    output o {text}\n    \
             assert \"key != ''\"\n}}\n"
        )
    };
    for told in ["\"${key}\"", "\"x ${HOME} ${ key } y\"", "\"${web.memory}\"", "\"${pool.name}\"", "\"${each.key}\""] {
        assert_eq!(warnings(&with(told)), ["W0005"], "{told}");
    }
    for told in ["web.eth0.ip", "web.memory", "pool.budget.amount"] {
        assert_eq!(warnings(&with(told)), ["W0005"], "{told}");
    }
    for fine in ["\"web.eth0.ip\"", "www.example.org", "web", "($)web.memory"] {
        assert!(warnings(&with(fine)).is_empty(), "{fine}");
    }
    for fine in ["\"${HOME}\"", "(f)\"${key}\"", "(f)\"$${key}\"", "\"$key {key}\"", "\"${\"", "\"${#}\""] {
        assert!(warnings(&with(fine)).is_empty(), "{fine}");
    }
}
