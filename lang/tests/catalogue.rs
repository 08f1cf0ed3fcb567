//! The catalogue: every behaviour that the languages before this one were tested for, as a description of ours. A row
//! is an area, whether it must resolve, and what it shows; [`CATALOGUE`] lists them all, and a row without a case, or
//! a case without a row, fails. What only shows while a workflow runs (the message of a failure inside a retry, a
//! start that fails later) is not the language's, and not here.

mod support;

use std::collections::BTreeSet;

use support::load_files;
use tycoon_lang::Options;

/// Area, `+` for what resolves and `-` for what is refused, and the rows.
const CATALOGUE: [(&str, char, &[&str]); 16] = [
    ("prototype", '+', &["several", "order", "override"]),
    ("prototype", '-', &["unknown", "not a component", "self cycle", "cycle of two", "infinite expansion"]),
    ("placement", '+', &["deep override", "forward", "inherited"]),
    ("placement", '-', &["no parent", "into a scalar", "creating what exists", "into a let"]),
    ("link", '+', &["chaining", "offset", "shadowing", "forward", "vector with live values"]),
    ("link", '-', &["unresolved", "self", "via parent", "mutual", "containment cycle", "missing in vector", "no root"]),
    ("function", '+', &["concat", "append", "sum", "next", "live vector"]),
    ("function", '-', &["wrong parameter type", "append of scalar", "unknown", "wrong number of values"]),
    ("schema", '+', &["optional vector", "one of", "bounds kept"]),
    ("schema", '-', &["class", "missing", "min", "max", "string for boolean", "string for number", "closed"]),
    ("include", '+', &["nested", "positional", "diamond"]),
    ("include", '-', &["missing", "directory", "recursive", "itself", "error inside"]),
    ("parse", '+', &["empty block", "semicolons", "comments", "no newline at the end", "only comments around"]),
    (
        "parse",
        '-',
        &["unclosed brace", "newline in string", "keyword where a name is due", "no root", "semicolon alone"],
    ),
    ("workflow", '+', &["empty sequence", "empty parallel", "order", "nested"]),
    ("workflow", '-', &["negative repeat", "no retry at all", "unknown step", "step for nobody"]),
];

/// What a case must give.
enum Gives {
    /// These values, by path.
    Values(&'static [(&'static str, &'static str)]),
    /// These codes, in this order.
    Codes(&'static [&'static str]),
}

use Gives::{Codes, Values};

struct Case {
    area: &'static str,
    row: &'static str,
    text: &'static str,
    /// The files beside it.
    files: &'static [(&'static str, &'static str)],
    gives: Gives,
}

const fn case(area: &'static str, row: &'static str, text: &'static str, gives: Gives) -> Case {
    Case { area, row, text, files: &[], gives }
}

const BASE: &str = "template Base extends=domain { image \"a\"; memory \"1GiB\"; }\n";

fn cases() -> Vec<Case> {
    let mut cases = composing();
    cases.extend(values());
    cases.extend(reading());
    cases
}

fn composing() -> Vec<Case> {
    vec![
        case(
            "prototype",
            "several",
            "template A extends=Base { vcpus 2; }\ntemplate B extends=Base { burst #false; }\npool p { domain d { extends A B; }; }",
            Values(&[("p.d.vcpus", "2"), ("p.d.burst", "false")]),
        ),
        // Where the old languages let the later one win, ours says that nobody does; the component decides.
        case(
            "prototype",
            "order",
            "template A extends=Base { vcpus 2; }\ntemplate B extends=Base { vcpus 3; }\npool p { domain d { vcpus 4; extends B A; }; }",
            Values(&[("p.d.vcpus", "4")]),
        ),
        case(
            "prototype",
            "override",
            "template A extends=Base { vcpus 2; root size=\"2GiB\" fs=ext4; }\npool p { domain d extends=A { root size=\"3GiB\"; }; }",
            Values(&[("p.d.vcpus", "2"), ("p.d.root.size", "3GiB"), ("p.d.root.fs", "ext4")]),
        ),
        case("prototype", "unknown", "pool p { domain d extends=Nothing; }", Codes(&["E0204"])),
        case(
            "prototype",
            "not a component",
            "let size \"1GiB\"\nassert \"size == '1GiB'\"\npool p { domain d extends=size; }",
            Codes(&["E0204"]),
        ),
        case("prototype", "self cycle", "template A extends=A { vcpus 1; }\npool p { }", Codes(&["E0301"])),
        case(
            "prototype",
            "cycle of two",
            "template A extends=B { vcpus 1; }\ntemplate B extends=A { vcpus 2; }\npool p { }",
            Codes(&["E0301"]),
        ),
        case(
            "prototype",
            "infinite expansion",
            "template G extends=group { group inner extends=G; }\npool p { group g extends=G; }",
            Codes(&["E0302"]),
        ),
        case(
            "placement",
            "deep override",
            "template G extends=group { group h { domain d extends=Base; }; }\npool p { group g extends=G; g.h.d.root.size \"5GiB\"; }",
            Values(&[("p.g.h.d.root.size", "5GiB")]),
        ),
        case("placement", "forward", "pool p { d.vcpus 7; domain d extends=Base; }", Values(&[("p.d.vcpus", "7")])),
        // A placed attribute is inherited like any other.
        case(
            "placement",
            "inherited",
            "template G extends=group { domain d extends=Base; d.vcpus 3; }\npool p { group g extends=G; }",
            Values(&[("p.g.d.vcpus", "3")]),
        ),
        case("placement", "no parent", "pool p { nobody.vcpus 2; domain d extends=Base; }", Codes(&["E0205"])),
        case("placement", "into a scalar", "pool p { domain d extends=Base; d.vcpus.more 2; }", Codes(&["E0205"])),
        case(
            "placement",
            "creating what exists",
            "pool p { domain d extends=Base; domain d extends=Base; }",
            Codes(&["E0206"]),
        ),
        case("placement", "into a let", "pool p { group g { let x 1; assert \"x > 0\"; }; g.x 2; }", Codes(&["E0207"])),
    ]
}

fn values() -> Vec<Case> {
    vec![
        case(
            "link",
            "chaining",
            "let a ($)b\nlet b ($)c\nlet c 3\npool p { domain d extends=Base vcpus=($)a; }",
            Values(&[("p.d.vcpus", "3")]),
        ),
        case(
            "link",
            "offset",
            "pool p { group g { domain d extends=Base; }; domain e extends=Base memory=($)\"g.d.root.size + 1GiB\"; }",
            Values(&[("p.e.memory", "2GiB")]),
        ),
        case(
            "link",
            "shadowing",
            "let n 1\npool p { let n 2\n group g { let n 3\n domain d extends=Base vcpus=($)n; }\n domain e extends=Base vcpus=($)n; }\nassert \"n == 1\"",
            Values(&[("p.g.d.vcpus", "3"), ("p.e.vcpus", "2")]),
        ),
        case(
            "link",
            "forward",
            "pool p { domain a extends=Base vcpus=($)b.vcpus; domain b extends=Base vcpus=5; }",
            Values(&[("p.a.vcpus", "5")]),
        ),
        case(
            "link",
            "vector with live values",
            "pool p { domain d extends=Base count=2; output all ($)\"concat(d.*.eth0.ip, [192.0.2.1])\"; }",
            Values(&[("p.all", "concat([p.d.0.eth0.ip, p.d.1.eth0.ip], [192.0.2.1])")]),
        ),
        case("link", "unresolved", "pool p { domain d extends=Base vcpus=($)nothing; }", Codes(&["E0203"])),
        case("link", "self", "pool p { domain d extends=Base vcpus=($)this.vcpus; }", Codes(&["E0406"])),
        case(
            "link",
            "via parent",
            "pool p { group g { let x ($)d.vcpus\n domain d extends=Base vcpus=($)parent.x; }; }",
            Codes(&["E0406"]),
        ),
        case(
            "link",
            "mutual",
            "pool p { domain a extends=Base vcpus=($)b.vcpus; domain b extends=Base vcpus=($)a.vcpus; }",
            Codes(&["E0406"]),
        ),
        case("link", "containment cycle", "pool p { group g { group h extends=g; }; }", Codes(&["E0302"])),
        case(
            "link",
            "missing in vector",
            "let list ($)\"[1, 2]\"\npool p { domain d extends=Base vcpus=($)\"list[2]\"; }",
            Codes(&["E0411"]),
        ),
        case("link", "no root", "pool p { domain d extends=Base vcpus=($)\"parent.parent.x\"; }", Codes(&["E0203"])),
        case(
            "function",
            "concat",
            "pool p { domain d extends=Base { kernel-args ($)\"concat(['a'], ['b', 'c'])\"; }; }",
            Values(&[("p.d.kernel-args", "['a', 'b', 'c']")]),
        ),
        case(
            "function",
            "append",
            "pool p { domain d extends=Base { kernel-args ($)\"concat(['a', 'b'], ['z'])\"; }; }",
            Values(&[("p.d.kernel-args", "['a', 'b', 'z']")]),
        ),
        case(
            "function",
            "sum",
            "pool p { domain d extends=Base count=3; output all ($)\"sum(d.*.memory)\"; }",
            Values(&[("p.all", "3GiB")]),
        ),
        // A counter that changes when it is read has no place here: the number of an instance takes its part.
        case(
            "function",
            "next",
            "pool p { domain d extends=Base count=3 { vcpus ($)\"index + 1\"; }; }",
            Values(&[("p.d.0.vcpus", "1"), ("p.d.2.vcpus", "3")]),
        ),
        case(
            "function",
            "live vector",
            "pool p { domain d extends=Base count=2; output n ($)\"join(d.*.eth0.ip, ',')\"; }",
            Values(&[("p.n", "join([p.d.0.eth0.ip, p.d.1.eth0.ip], ',')")]),
        ),
        case(
            "function",
            "wrong parameter type",
            "pool p { domain d extends=Base vcpus=($)\"sum('abc')\"; }",
            Codes(&["E0408"]),
        ),
        case(
            "function",
            "append of scalar",
            "pool p { domain d extends=Base { kernel-args ($)\"concat(['a'], 'b')\"; }; }",
            Codes(&["E0408"]),
        ),
        case("function", "unknown", "pool p { domain d extends=Base vcpus=($)\"random(3)\"; }", Codes(&["E0410"])),
        case(
            "function",
            "wrong number of values",
            "pool p { domain d extends=Base vcpus=($)\"abs(1, 2)\"; }",
            Codes(&["E0410"]),
        ),
        case(
            "schema",
            "optional vector",
            "pool p { domain d extends=Base; domain e extends=Base { kernel-args a b; }; }",
            Values(&[("p.d.kernel-args", "unset"), ("p.e.kernel-args", "['a', 'b']")]),
        ),
        case(
            "schema",
            "one of",
            "param s default=a { one-of a b; }\npool p { domain d extends=Base hostname=($)s; }",
            Values(&[("p.d.hostname", "a")]),
        ),
        case(
            "schema",
            "bounds kept",
            "param n type=integer default=3 min=1 max=3\npool p { domain d extends=Base vcpus=($)n; }",
            Values(&[("p.d.vcpus", "3")]),
        ),
        case(
            "schema",
            "class",
            "pool p { host h { address \"h1\"; domain d extends=Base { root on=other; }; domain other extends=Base; }; }",
            Codes(&["E0413"]),
        ),
        case("schema", "missing", "pool p { domain d { image \"a\"; }; }", Codes(&["E0405"])),
        case("schema", "min", "pool p { domain d extends=Base vcpus=0; }", Codes(&["E0403"])),
        case("schema", "max", "pool p { domain d extends=Base vcpus=513; }", Codes(&["E0403"])),
        case("schema", "string for boolean", "pool p { domain d extends=Base burst=yes; }", Codes(&["E0401"])),
        case("schema", "string for number", "pool p { domain d extends=Base weight=heavy; }", Codes(&["E0401"])),
        case("schema", "closed", "pool p { domain d extends=Base retries=7; }", Codes(&["E0201"])),
        case("workflow", "empty sequence", "pool p { workflow w { sequence; }; }", Values(&[])),
        case("workflow", "empty parallel", "pool p { workflow w { parallel { }; }; }", Values(&[])),
        case("workflow", "order", "pool p { workflow w { emit a; delay \"1s\"; emit b; }; }", Values(&[])),
        case(
            "workflow",
            "nested",
            "pool p { domain d extends=Base; workflow w { try { retry times=2 { start d; }; on-failure { emit bad; }; }; finally { stop d; }; }; }",
            Values(&[]),
        ),
        case(
            "workflow",
            "negative repeat",
            "pool p { workflow w { repeat times=-1 { emit a; }; }; }",
            Codes(&["E0403"]),
        ),
        case("workflow", "no retry at all", "pool p { workflow w { retry times=0 { emit a; }; }; }", Codes(&["E0403"])),
        case("workflow", "unknown step", "pool p { workflow w { sleep \"1s\"; }; }", Codes(&["E0201"])),
        case("workflow", "step for nobody", "pool p { workflow w { start nobody; }; }", Codes(&["E0203"])),
    ]
}

fn reading() -> Vec<Case> {
    let mut include = vec![
        case("include", "missing", "import \"./no.kdl\" as=no\npool p { }", Codes(&["E0101"])),
        case("include", "recursive", "import \"./a.kdl\" as=a\npool p { domain d extends=a.A; }", Codes(&["E0108"])),
        case("include", "itself", "import \"./pool.kdl\" as=me\npool p { }", Codes(&["E0108"])),
    ];
    include[1].files = &[
        ("a.kdl", "import \"./b.kdl\" as=b\ntemplate A extends=b.B { }\n"),
        ("b.kdl", "import \"./a.kdl\" as=a\ntemplate B extends=domain { image \"a\"; memory \"1GiB\"; }\n"),
    ];
    let lib: &[(&str, &str)] = &[
        ("lib/a.kdl", "import \"./b.kdl\" as=b\ntemplate A extends=b.B { vcpus 2; }\n"),
        ("lib/b.kdl", "template B extends=domain { image \"a\"; memory \"1GiB\"; }\n"),
    ];
    include.push(Case {
        files: lib,
        ..case(
            "include",
            "nested",
            "import \"./lib/a.kdl\" as=a\npool p { domain d extends=a.A; }",
            Values(&[("p.d.vcpus", "2")]),
        )
    });
    // An import has a name, so where it stands does not matter.
    include.push(Case {
        files: lib,
        ..case(
            "include",
            "positional",
            "pool p { domain d extends=a.A; }\nimport \"./lib/a.kdl\" as=a",
            Values(&[("p.d.vcpus", "2")]),
        )
    });
    include.push(Case {
        files: lib,
        ..case(
            "include",
            "diamond",
            "import \"./lib/a.kdl\" as=a\nimport \"./lib/b.kdl\" as=b\npool p { domain d { extends a.A b.B; }; }",
            Values(&[("p.d.vcpus", "2")]),
        )
    });
    include.push(Case {
        files: lib,
        ..case("include", "directory", "import \"./lib\" as=lib\npool p { }", Codes(&["E0101"]))
    });
    include.push(Case {
        files: &[("bad.kdl", "template Bad extends=domain { memroy 1; }\n")],
        ..case(
            "include",
            "error inside",
            "import \"./bad.kdl\" as=bad\npool p { domain d extends=bad.Bad image=a memory=\"1GiB\"; }",
            Codes(&["E0201"]),
        )
    });
    include.extend([
        case("parse", "empty block", "pool p { domain d extends=Base { }\n}\n", Values(&[("p.d.vcpus", "1")])),
        case("parse", "semicolons", "pool p { domain d extends=Base; };", Values(&[("p.d.vcpus", "1")])),
        case("parse", "comments", "pool /* a */ p { // b\n /* c /* d */ */ domain d extends=Base /-{ vcpus 2; }\n /- domain e extends=Base\n}", Values(&[("p.d.vcpus", "1")])),
        case("parse", "no newline at the end", "pool p { domain d extends=Base; }", Values(&[("p.d.vcpus", "1")])),
        case("parse", "only comments around", "// first\n\npool p { domain d extends=Base; }\n// last", Values(&[("p.d.vcpus", "1")])),
        case("parse", "unclosed brace", "pool p { domain d extends=Base {", Codes(&["E0105"])),
        case("parse", "newline in string", "pool p { domain d extends=Base hostname=\"a\nb\"; }", Codes(&["E0105"])),
        case("parse", "keyword where a name is due", "pool p { domain count extends=Base; }", Codes(&["E0208"])),
        case("parse", "no root", "template A extends=Base { vcpus 2; }", Codes(&["E0504"])),
        case("parse", "semicolon alone", ";", Codes(&["E0105"])),
    ]);
    include
}

#[test]
fn every_row_of_the_catalogue_has_a_case_and_every_case_a_row() {
    let rows: BTreeSet<(String, String)> = CATALOGUE
        .iter()
        .flat_map(|(area, sign, rows)| rows.iter().map(move |row| (format!("{area} {sign}"), (*row).to_owned())))
        .collect();
    let cases: BTreeSet<(String, String)> = cases()
        .iter()
        .map(|case| {
            let sign = if matches!(case.gives, Values(_)) { '+' } else { '-' };
            (format!("{} {sign}", case.area), case.row.to_owned())
        })
        .collect();
    assert_eq!(rows, cases);
}

#[test]
fn every_case_gives_what_it_must() {
    let mut wrong = String::new();
    for case in cases() {
        let title = format!("{}: {}", case.area, case.row);
        let text = format!("{BASE}{}", case.text);
        match (load_files(&text, case.files, &Options::default()), &case.gives) {
            (Ok(resolved), Values(values)) => {
                for (path, value) in *values {
                    let found = resolved.value(path);
                    if found != *value {
                        wrong.push_str(&format!("{title}: {path} is {found}, not {value}\n"));
                    }
                }
            }
            (Ok(_), Codes(codes)) => wrong.push_str(&format!("{title}: resolves, and not with {codes:?}\n")),
            (Err(failure), Values(_)) => wrong.push_str(&format!("{title}: {}\n", failure.to_text())),
            (Err(failure), Codes(codes)) => {
                let errors = failure.diagnostics.iter().map(|found| found.code).filter(|code| code.starts_with('E'));
                let found: Vec<&str> = errors.collect();
                if found != **codes {
                    wrong.push_str(&format!("{title}: {found:?}, not {codes:?}\n{}\n", failure.to_text()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
