//! Several files.

mod support;

use support::{load_files, resolve_with};
use tycoon_lang::Options;

const WEB: &str = "template Web extends=domain { image \"a\"; memory \"1GiB\"; }";

fn codes_with(text: &str, others: &[(&str, &str)]) -> Vec<&'static str> {
    match load_files(text, others, &Options::default()) {
        Ok(_) => panic!("sound, against expectation"),
        Err(failure) => failure.diagnostics.iter().map(|diagnostic| diagnostic.code).collect(),
    }
}

#[test]
fn a_namespace_is_used_in_extends_and_expressions() {
    let library = format!("let size \"3GiB\"\nparam factor type=integer default=2\n{WEB}");
    let text = "import \"./lib/web.kdl\" as=lib\npool p { domain a extends=lib.Web { memory ($)lib.size; vcpus ($)lib.factor; }; }";
    let resolved = resolve_with(text, &[("lib/web.kdl", &library)]);
    assert_eq!(resolved.value("p.a.memory"), "3GiB");
    assert_eq!(resolved.value("p.a.vcpus"), "2");
}

#[test]
fn a_template_keeps_the_names_of_its_own_file() {
    let library = "let size \"3GiB\"\ntemplate Web extends=domain { image \"a\"; memory ($)size; }";
    let text = "import \"./lib.kdl\" as=lib\nlet size \"9GiB\"\npool p { domain a extends=lib.Web; }";
    assert_eq!(resolve_with(text, &[("lib.kdl", library)]).value("p.a.memory"), "3GiB");
}

#[test]
fn two_ways_to_one_file_are_one_file() {
    let left = "import \"./base.kdl\" as=b\ntemplate Left extends=b.Web { vcpus 2; }";
    let right = "import \"./base.kdl\" as=b\ntemplate Right extends=b.Web { root size=\"5GiB\"; }";
    let text = "import \"./l.kdl\" as=l\nimport \"./r.kdl\" as=r\npool p { domain a { extends l.Left r.Right; }; }";
    let resolved = resolve_with(text, &[("l.kdl", left), ("r.kdl", right), ("base.kdl", WEB)]);
    assert_eq!((resolved.value("p.a.vcpus"), resolved.value("p.a.root.size")), ("2".into(), "5GiB".into()));
    let read = resolved.loaded.sources.iter().filter(|(_, source)| &*source.name == "base.kdl").count();
    assert_eq!(read, 1);
}

#[test]
fn circles_are_shown_edge_by_edge() {
    let a = "import \"./b.kdl\" as=b\n";
    let b = "import \"./c.kdl\" as=c\n";
    let c = "import \"./a.kdl\" as=a\n";
    let text = "import \"./a.kdl\" as=a\npool p { }";
    let Err(failure) = load_files(text, &[("a.kdl", a), ("b.kdl", b), ("c.kdl", c)], &Options::default()) else {
        panic!("sound, against expectation")
    };
    let shown = failure.to_text();
    assert_eq!(failure.diagnostics.len(), 1, "{shown}");
    for place in ["a.kdl:1:8", "b.kdl:1:8", "c.kdl:1:8"] {
        assert!(shown.contains(place), "{shown}");
    }
    assert!(!shown.contains("pool.kdl"), "the way into the circle is no part of it: {shown}");
    assert_eq!(codes_with("import \"./pool.kdl\" as=me\npool p { }", &[]), ["E0108"]);
}

#[test]
fn nothing_outside_the_importing_file_s_directory_is_read() {
    for outside in ["../lib.kdl", "/lib.kdl", "./a/../../lib.kdl"] {
        assert_eq!(codes_with(&format!("import \"{outside}\" as=l\npool p {{ }}"), &[]), ["E0109"], "{outside}");
    }
    let inner = "import \"../lib.kdl\" as=l\n";
    assert_eq!(
        codes_with("import \"./sub/x.kdl\" as=x\npool p { }", &[("sub/x.kdl", inner), ("lib.kdl", WEB)]),
        ["E0109"]
    );
    let options = Options { allow_outside_imports: true, ..Options::default() };
    let text = "import \"./sub/x.kdl\" as=x\npool p { domain a extends=x.Y; }";
    let inner = "import \"../lib.kdl\" as=l\ntemplate Y extends=l.Web { }";
    assert!(load_files(text, &[("sub/x.kdl", inner), ("lib.kdl", WEB)], &options).is_ok());
}

#[test]
fn a_broken_import_is_one_error() {
    assert_eq!(codes_with("import \"./x.kdl\" as=x\npool p { domain a extends=x.Y memory=($)x.z; }", &[]), ["E0101"]);
    assert_eq!(
        codes_with("import \"./x.kdl\" as=x\npool p { domain a extends=x.Y; }", &[("x.kdl", "template {")]),
        ["E0105"]
    );
    assert_eq!(codes_with("import \"./x\" as=x\npool p { }", &[("x/y.kdl", WEB)]), ["E0101"], "a directory");
    assert_eq!(
        codes_with(
            "import \"./x.kdl\" as=x\nimport \"./x.kdl\" as=x\npool p { domain a extends=x.Web; }",
            &[("x.kdl", WEB)]
        ),
        ["E0206"]
    );
    assert_eq!(codes_with("import \"./x.kdl\" as=x\npool p { domain a extends=x.Wep; }", &[("x.kdl", WEB)]), ["E0204"]);
    assert_eq!(codes_with("import \"./x.kdl\" as=x\npool p { domain a extends=Web; }", &[("x.kdl", WEB)]), ["E0204"]);
}

#[test]
fn errors_inside_an_import_point_there() {
    let library = "template Web extends=domain { image \"a\"; memry \"1GiB\"; }";
    let Err(failure) = load_files(
        "import \"./lib.kdl\" as=l\npool p { domain a extends=l.Web; }",
        &[("lib.kdl", library)],
        &Options::default(),
    ) else {
        panic!("sound, against expectation")
    };
    let text = failure.to_text();
    assert_eq!(failure.diagnostics.len(), 1, "{text}");
    assert!(text.contains("--> lib.kdl:1:42"), "{text}");
}

#[test]
fn places_in_several_files_become_related_reports() {
    let library = "template A extends=domain { image \"a\"; memory \"1GiB\"; }\n";
    let text = "import \"./lib.kdl\" as=l\ntemplate B extends=domain { memory \"2GiB\"; }\npool p { domain a { extends l.A B; }; }";
    let Err(failure) = load_files(text, &[("lib.kdl", library)], &Options::default()) else { panic!("sound") };
    let report = tycoon_lang::report::report(&failure.diagnostics[0], &failure.sources);
    let related = miette::Diagnostic::related(&report).unwrap().count();
    assert_eq!(related, 1);
    let json = serde_json::to_value(&failure.diagnostics[0]).unwrap();
    assert_eq!(json["code"], "E0303");
    assert_eq!(json["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn a_file_of_comments_is_sound_and_has_no_templates() {
    let text = "import \"./x.kdl\" as=x\npool p { domain a extends=x.Web; }";
    assert_eq!(codes_with(text, &[("x.kdl", "// nothing yet\n")]), ["E0204"]);
}
