//! Whatever is read, nothing panics and every limit holds.

mod support;

use proptest::prelude::*;
use support::{codes, load_files, resolve};
use tycoon_lang::{MemoryLoader, Options, load};

fn load_bytes(bytes: &[u8]) -> Vec<&'static str> {
    let loader = MemoryLoader::new().with("pool.kdl", bytes);
    match load("pool.kdl", &loader, &Options::default()) {
        Ok(_) => Vec::new(),
        Err(failure) => {
            // Rendering must not panic either.
            let _ = failure.to_text();
            for diagnostic in &failure.diagnostics {
                let _ = tycoon_lang::report::report(diagnostic, &failure.sources).to_string();
            }
            let codes: Vec<&'static str> = failure.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
            assert!(!codes.is_empty(), "refused without a reason:\n{}", String::from_utf8_lossy(bytes));
            assert!(!codes.contains(&"E0604"), "refused without a reason:\n{}", String::from_utf8_lossy(bytes));
            codes
        }
    }
}

const POOL: &str = "pool p { domain a { image \"a\"; memory \"1GiB\"; }; }";

#[test]
fn line_ends_and_byte_order_marks_of_all_sorts_are_read() {
    for text in [
        format!("\u{feff}{POOL}"),
        POOL.replace("; ", "\r\n"),
        POOL.replace("; ", "\r"),
        POOL.replace("; ", "\u{85}"),
        format!("/* é */ {POOL} // 日本\u{2028}"),
    ] {
        assert_eq!(load_bytes(text.as_bytes()), Vec::<&str>::new(), "{text:?}");
    }
}

#[test]
fn odd_bytes_are_refused_with_their_place() {
    assert_eq!(load_bytes(b""), ["E0504"]);
    assert_eq!(load_bytes(b"\xff\xfepool"), ["E0102"]);
    assert_eq!(load_bytes(b"pool p {\0}"), ["E0106"]);
    assert_eq!(load_bytes("pool p { \u{202e} }".as_bytes()), ["E0106"], "text that runs backwards");
    assert_eq!(load_bytes(b"pool p {"), ["E0105"]);
    assert_eq!(load_bytes(b"pool p \"abc"), ["E0105"]);
}

#[test]
fn nesting_never_overflows_the_stack() {
    for (open, close) in [("g {", "}"), ("/-g {", "}"), ("/*", "*/"), ("g a={", "")] {
        for depth in [127, 129, 3_000, 100_000] {
            load_bytes(format!("pool p {{ {}{} }}", open.repeat(depth), close.repeat(depth)).as_bytes());
        }
    }
    let groups = |depth: usize| format!("pool p {{ {} {} }}", "group g {".repeat(depth), "}".repeat(depth));
    assert_eq!(load_bytes(groups(126).as_bytes()), Vec::<&str>::new());
    assert_eq!(load_bytes(groups(200).as_bytes()), ["E0104"]);
    for expression in
        ["(".repeat(5_000), "-".repeat(5_000), "1+".repeat(50_000), "if a then ".repeat(2_000), "[".repeat(5_000)]
    {
        assert_eq!(load_bytes(format!("let a ($)\"{expression}\"\n{POOL}").as_bytes()), ["E0409"]);
    }
    let nested = format!("let a ($)\"{}1{}\"\n{POOL}", "(".repeat(90), ")".repeat(90));
    assert_eq!(load_bytes(nested.as_bytes()), Vec::<&str>::new());
}

#[test]
fn long_chains_of_values_and_of_prototypes_end() {
    let chain = |length: usize| {
        let lets: String = (0..length).map(|n| format!("let a{n} ($)a{}\n", n + 1)).collect();
        format!("{lets}let a{length} ($)\"1 + 1\"\n{POOL}")
    };
    assert_eq!(load_bytes(chain(900).as_bytes()), Vec::<&str>::new());
    assert_eq!(load_bytes(chain(3_000).as_bytes()), ["E0603"]);
    let templates: String = (1..300).map(|n| format!("template T{n} extends=T{} {{ vcpus {n}; }}\n", n - 1)).collect();
    let text = format!(
        "{templates}template T0 extends=domain {{ image \"a\"; memory \"1GiB\"; }}\npool p {{ domain a extends=T299; }}"
    );
    assert_eq!(resolve(&text).value("p.a.vcpus"), "299");
}

#[test]
fn limits_are_errors() {
    let instances = Options { max_instances: 100, ..Options::default() };
    let text = "pool p { group g count=20 { domain a count=20 image=(f)\"x${index}\" memory=\"1GiB\"; }; }";
    let Err(failure) = load_files(text, &[], &instances) else { panic!("sound, against expectation") };
    assert_eq!(failure.diagnostics[0].code, "E0601");
    assert_eq!(codes("let a ($)\"range(10000000)\"\npool p { }"), ["E0411"]);
    let files: Vec<(String, String)> =
        (0..20).map(|n| (format!("f{n}.kdl"), format!("import \"./f{}.kdl\" as=n\n", n + 1))).collect();
    let mut files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    files.push(("f20.kdl", ""));
    let few = Options { max_imports: 10, ..Options::default() };
    let Err(failure) = load_files("import \"./f0.kdl\" as=f\npool p { }", &files, &few) else { panic!("sound") };
    assert_eq!(failure.diagnostics[0].code, "E0111");
}

#[test]
fn every_prefix_of_the_examples_is_read_without_a_panic() {
    let text = include_str!("../../examples/batch.kdl");
    for end in (0..text.len()).step_by(7).filter(|end| text.is_char_boundary(*end)) {
        load_bytes(&text.as_bytes()[..end]);
    }
}

/// Words that make descriptions, thrown together.
fn soup() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "pool",
        "p",
        "domain",
        "web",
        "group",
        "template",
        "T",
        "extends=",
        "count=",
        "each=",
        "need=",
        "if=",
        "param",
        "let",
        "x",
        "{",
        "}",
        "{",
        "}",
        ";",
        "\n",
        "\"1GiB\"",
        "($)",
        "(f)",
        "\"${x}\"",
        "\"a + b\"",
        "memory",
        "image",
        "root",
        "size=",
        "eth0",
        "ip",
        "budget",
        "10",
        "for=\"1h\"",
        "#true",
        "#null",
        "(default)",
        "(final)",
        "(replace)",
        "assert",
        "\"x > 1\"",
        "output",
        "place",
        "require",
        "\"host.cpus > 1\"",
        "web.0.memory",
        "web.0",
        "import",
        "\"./lib.kdl\"",
        "as=l",
        "type=integer",
        "default=",
        "context=#true",
        "test",
        "given",
        "workflow",
        "w",
        "start",
        "cloud-init",
        "file",
        "this",
        "=",
        "-",
        "/-",
        "//",
        "one-of",
        "host",
        "kind",
        "record",
        "item",
    ]);
    prop::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

/// One of the examples with a few of its tokens exchanged.
fn shuffled() -> impl Strategy<Value = String> {
    let texts = vec![
        include_str!("../../examples/batch.kdl"),
        include_str!("../../examples/smartdomains.kdl"),
        include_str!("../../examples/scheduler.kdl"),
        include_str!("../../examples/lib/cluster.kdl"),
    ];
    (
        prop::sample::select(texts),
        prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    )
        .prop_map(|(text, swaps)| {
            let mut words: Vec<&str> = text.split_inclusive([' ', '\n', '{', '}', '"', '.', '=']).collect();
            for (a, b) in swaps {
                let (a, b) = (a.index(words.len()), b.index(words.len()));
                words.swap(a, b);
            }
            words.concat()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        load_bytes(&bytes);
    }

    #[test]
    fn any_text_gives_an_answer(text in "\\PC{0,200}") {
        load_bytes(text.as_bytes());
    }

    #[test]
    fn any_words_give_an_answer(text in soup()) {
        load_bytes(text.as_bytes());
    }

    #[test]
    fn examples_with_slips_give_an_answer(text in shuffled()) {
        load_bytes(text.as_bytes());
    }

    #[test]
    fn any_expression_gives_an_answer(text in "[a-c0-9 .+*/%<>=!&|()\\[\\],'-]{0,40}") {
        load_bytes(format!("let a 1\nlet b \"2GiB\"\nlet c ($)\"{text}\"\n{POOL}").as_bytes());
    }
}

#[test]
fn syntax_errors_say_what_to_do() {
    for text in [
        "pool p { a=1 }",
        "pool p { a \"x }",
        "pool p { a 10g; }",
        "pool p { a true; }",
        "pool p { a, b; }",
        "pool p { \"a\"\"b\"; }",
        "}",
        "pool",
        "pool p { { } }",
        "pool p { 1; }",
        "/-",
        "pool p { /- ; }",
        "pool p { a b=; }",
        "pool p { a (x; }",
        "pool p { a [1]; }",
        "a;;b",
        "pool p { a #inf; }",
        "pool p { } }",
        "pool p { } x",
        "pool p { a \"\"\"x\"\"\"; }",
        "pool p { a \"\"\"\n  x\n y\n  \"\"\"; }",
        "a \"\"\"\n\\\n x\n  \"\"\"",
        "pool p { a (x)b=1; }",
        "pool p { a 1=2; }",
    ] {
        let loader = MemoryLoader::new().with("pool.kdl", text);
        let Err(failure) = load("pool.kdl", &loader, &Options::default()) else { panic!("sound: {text}") };
        assert!(failure.diagnostics.iter().all(|diagnostic| diagnostic.help.is_some()), "{}", failure.to_text());
        let syntax = failure.diagnostics.iter().filter(|diagnostic| diagnostic.code == "E0105").count();
        assert!(syntax <= 1, "{}", failure.to_text());
    }
}
