//! Literals, types, expressions, instances and live values.

mod support;

use support::{codes, load_files, messages, refused, resolve};
use tycoon_lang::pool::Address;
use tycoon_lang::{Environment, Options, Value};

fn domain(body: &str) -> String {
    format!("pool p {{ domain a {{ image \"a\"; memory \"1GiB\"; {body}; }}; }}")
}

#[test]
fn wrong_units_are_explained_with_the_right_one() {
    for (wrong, fix) in
        [("64", "\"64MiB\""), ("\"64\"", "\"64MiB\""), ("\"64mb\"", "\"64MB\""), ("\"64G\"", "\"64GiB\"")]
    {
        let text = format!("pool p {{ domain a {{ image \"a\"; memory {wrong}; }}; }}");
        let found = refused(&text);
        assert_eq!(found.len(), 1, "{wrong}");
        assert_eq!(
            (found[0].code, found[0].suggestion.as_ref().unwrap().replacement.as_str()),
            ("E0402", fix),
            "{wrong}"
        );
    }
    assert_eq!(codes("pool p { domain a { image \"a\"; memory \"64MB/s\"; }; }"), ["E0402"]);
    assert_eq!(codes("pool p { domain a { image \"a\"; memory \"lots\"; }; }"), ["E0401"]);
}

#[test]
fn computed_values_are_held_to_the_declared_type() {
    assert_eq!(codes(&domain("vcpus ($)\"1GiB\"")), ["E0401"]);
    assert_eq!(codes(&domain("vcpus ($)\"5 / 2\"")), ["E0401"], "nothing is cut off silently");
    assert_eq!(resolve(&domain("vcpus ($)\"floor(5 / 2)\"")).value("p.a.vcpus"), "2");
    assert_eq!(codes(&domain("vcpus ($)\"600\"")), ["E0403"], "bounds hold for computed values too");
    assert_eq!(resolve(&domain("root size=($)\"2 * 1GiB + 512MiB\"")).value("p.a.root.size"), "2560MiB");
}

#[test]
fn text_is_read_by_the_type_of_the_place_it_arrives_at() {
    let text =
        "let rows { x memory=\"2GiB\"; }\npool p { domain a each=rows { image \"a\"; memory ($)each.memory; }; }";
    assert_eq!(resolve(text).value("p.a.x.memory"), "2GiB");
    let text = "let n 2\npool p { domain a { image \"a\"; memory (f)\"${n}GiB\"; }; }";
    assert_eq!(resolve(text).value("p.a.memory"), "2GiB");
}

#[test]
fn plain_strings_never_compute_or_fill() {
    assert_eq!(resolve(&domain("kernel \"${index} $x 2 * 3\"")).value("p.a.kernel"), "${index} $x 2 * 3");
}

#[test]
fn functions_work_on_components() {
    let text = "\
pool p {
    domain wn count=4 { image \"a\"; memory ($)\"(index + 1) * 1GiB\"; }
    let large ($)\"filter(wn.*, w => w.memory > 2GiB)\"
    domain head {
        image (f)\"n-${len(large)}-${join(map(large, w => w.name), '+')}\"
        memory ($)\"max(wn.*.memory)\"
        vcpus ($)\"count(wn.*, w => w.memory >= 2GiB)\"
    }
    assert \"all(wn.*, w => w.memory <= 4GiB) && !any(wn.*, w => w.vcpus > 1)\"
    output total ($)\"sum(wn.*.memory)\"
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.head.image"), "n-2-wn-2+wn-3");
    assert_eq!(resolved.value("p.head.memory"), "4GiB");
    assert_eq!(resolved.value("p.head.vcpus"), "3");
    assert_eq!(resolved.value("p.total"), "10GiB");
    assert_eq!(resolved.loaded.pool.outputs[0].name, "total");
}

#[test]
fn counts_are_static_and_instances_are_named() {
    let resolved = resolve(
        "pool p { domain a count=0 image=\"a\" memory=\"1GiB\"; domain b count=1 image=\"a\" memory=\"1GiB\"; domain c if=#false image=\"a\" memory=\"1GiB\"; }",
    );
    assert_eq!(resolved.domains(), ["b.0"], "count=1 is still b.0");
    assert_eq!(resolved.loaded.pool.domains[0].hostname, "b-0");
    assert_eq!(codes("pool p { domain a count=-1 image=\"a\" memory=\"1GiB\"; }"), ["E0403"]);
    let live = "pool p { domain h image=\"a\" memory=\"1GiB\"; domain a count=($)\"len(h.eth0.mac)\" image=\"a\" memory=\"1GiB\"; }";
    assert_eq!(codes(live), ["E0407"]);
    assert_eq!(codes("pool p { domain a image=\"a\" memory=\"1GiB\"; a.0.memory \"2GiB\"; }"), ["E0209"]);
}

#[test]
fn need_is_how_many_must_live() {
    let resolved = resolve("pool p { domain a count=3 need=2 image=\"a\" memory=\"1GiB\"; }");
    let need = &resolved.loaded.pool.needs[0];
    assert_eq!((need.component.as_str(), need.count, need.need), ("a", 3, 2));
}

#[test]
fn everything_wrong_is_found_in_one_run_and_nothing_follows_from_another() {
    let text = "\
pool p {
    domain a { image \"a\"; memry \"64MiB\"; vcpus 0; }
    domain b { image \"a\"; memory 64; hostname ($)nothing; }
    domain c count=($)unknown { image \"a\"; }
    assert \"sum(c.*.memory) > 1GiB\"
    d.memory \"1GiB\"
}
";
    let mut found = codes(text);
    found.sort();
    assert_eq!(found, ["E0201", "E0203", "E0203", "E0205", "E0402", "E0403"]);
}

#[test]
fn the_same_error_in_many_instances_is_said_once() {
    let found = refused("pool p { domain a count=50 { image \"a\"; memory ($)\"index * 1h\"; }; }");
    assert_eq!(found.len(), 1);
}

#[test]
fn cycles_show_every_edge() {
    let shown =
        messages("let a ($)b\nlet b ($)c\nlet c ($)a\npool p { domain d count=($)a image=\"a\" memory=\"1GiB\"; }");
    for edge in ["`a` needs `b` here", "`b` needs `c` here", "`c` needs `a` here"] {
        assert!(shown.contains(edge), "{shown}");
    }
    assert_eq!(shown.matches("error[").count(), 1, "{shown}");
    assert_eq!(codes("pool p { domain a { image \"a\"; memory ($)this.memory; }; }"), ["E0406"]);
    assert_eq!(codes("pool p { domain a count=($)\"len(a)\" image=\"a\" memory=\"1GiB\"; }"), ["E0406"]);
}

#[test]
fn what_touches_a_live_value_stays_an_expression() {
    let text = "\
pool p {
    domain head { image \"a\"; memory \"1GiB\"; }
    domain wn { image \"a\"; memory \"1GiB\"; cloud-init { file \"/etc/head\" (f)\"head=${head.eth0.ip}\"; }; }
    output url (f)\"http://${head.eth0.ip}:80/\"
    assert \"head.state != 'crashed'\" else=\"the head node crashed\"
}
";
    let resolved = resolve(text);
    let pool = &resolved.loaded.pool;
    assert_eq!(pool.domains[0].nics[0].address, Address::Dhcp);
    assert_eq!(resolved.value("p.url"), "(f)'http://${p.head.eth0.ip}:80/'");
    let assertion = &pool.assertions[0];
    assert_eq!(assertion.message.as_deref(), Some("the head node crashed"));
    assert_eq!(assertion.condition.expression.reads(), ["p.head.state"]);

    struct World;
    impl Environment for World {
        fn read(&self, path: &str) -> Option<Value> {
            match path {
                "p.head.eth0.ip" => Some(Value::Ip([192, 0, 2, 7].into())),
                "p.head.state" => Some(Value::Text("running".into())),
                _ => None,
            }
        }
    }
    assert_eq!(assertion.condition.holds(&World), Ok(true));
    let Value::Live(content) = &pool.domains[1].cloud_init.as_ref().unwrap().files[0].content else {
        panic!("not live")
    };
    assert_eq!(content.expression.evaluate(&World), Ok(Value::Text("head=192.0.2.7".into())));
}

#[test]
fn a_fixed_address_is_no_live_value() {
    let text = "pool p { domain head { image \"a\"; memory \"1GiB\"; eth0 ip=\"192.0.2.1\"; }; domain b { image (f)\"x-${head.eth0.ip}\"; memory \"1GiB\"; }; }";
    assert_eq!(resolve(text).value("p.b.image"), "x-192.0.2.1");
}

#[test]
fn conditions_see_what_their_schema_declares() {
    let place = |condition: &str| domain(&format!("place {{ require \"{condition}\"; }}"));
    let resolved = resolve(&place("host.cpus >= 4 && host.labels.site == 'cern' && domain.memory < host.free-memory"));
    assert_eq!(
        resolved.loaded.pool.domains[0].placement.require[0].expression.reads(),
        ["host.cpus", "host.labels.site", "domain.memory", "host.free-memory"]
    );
    assert_eq!(codes(&place("host.cpu >= 4")), ["E0203"], "facts have a schema");
    assert_eq!(codes(&place("host.memory >= 4")), ["E0408"], "and types");
    assert_eq!(codes(&place("host.arch")), ["E0401"], "a condition is true or false");
    assert_eq!(codes(&place("price > 1")), ["E0203"]);
}

#[test]
fn known_values_are_put_into_conditions() {
    let text = "let sites { cern n=2; }\npool p { group g each=sites { place { require \"host.labels.site == each.key && each.n == 2\"; }; domain d image=\"a\" memory=\"1GiB\"; }; }";
    let resolved = resolve(text);
    assert_eq!(resolved.loaded.pool.domains[0].placement.require[0].to_string(), "host.labels.site == 'cern'");
}

#[test]
fn params_are_set_from_outside() {
    let text = "param n type=integer default=1 max=5\nparam size type=bytes default=\"1GiB\"\nparam on type=boolean default=#true\npool p { domain a count=($)n if=($)on image=\"a\" memory=($)size; }";
    let with = |params: &[(&str, &str)]| {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        load_files(text, &[], &Options { params, ..Options::default() })
    };
    assert_eq!(with(&[("n", "3"), ("size", "2GiB")]).unwrap().value("p.a.2.memory"), "2GiB");
    assert_eq!(with(&[("on", "false")]).unwrap().domains(), Vec::<&str>::new());
    for (name, value, code) in [("n", "9", "E0403"), ("n", "x", "E0401"), ("size", "3", "E0402"), ("m", "3", "E0506")] {
        let failure = with(&[(name, value)]).err().unwrap();
        assert_eq!(failure.diagnostics[0].code, code, "{name}={value}: {}", failure.to_text());
    }
    assert_eq!(codes("param n type=integer\npool p { domain a count=($)n image=\"a\" memory=\"1GiB\"; }"), ["E0405"]);
}

#[test]
fn one_of_several_pools_is_chosen() {
    let text = "pool a { domain x image=\"a\" memory=\"1GiB\"; }\npool b extends=a { x.memory \"2GiB\"; }";
    assert_eq!(codes(text), ["E0504"]);
    let options = Options { pool: Some("b".into()), ..Options::default() };
    assert_eq!(load_files(text, &[], &options).unwrap().value("b.x.memory"), "2GiB");
}

#[test]
fn names_that_cannot_be_are_refused() {
    assert_eq!(codes("pool P { }"), ["E0208"]);
    assert_eq!(codes("pool p { domain this image=\"a\" memory=\"1GiB\"; }"), ["E0208"]);
    assert_eq!(codes("pool p { domain host image=\"a\" memory=\"1GiB\"; }"), ["E0208"]);
    assert_eq!(codes("pool p { domain; }"), ["E0208"]);
    let long = format!("pool p {{ domain {}; }}", "a".repeat(64));
    assert_eq!(codes(&long), ["E0208"]);
}

#[test]
fn nothing_is_ignored_in_silence() {
    for (text, code) in [
        ("let a 1 kind=2\npool p { }", "E0212"),
        ("let a 1 { b 2; }\npool p { }", "E0212"),
        ("let a b=1\npool p { }", "E0212"),
        ("param a b\npool p { }", "E0212"),
        ("param a { one-of; }\npool p { }", "E0212"),
        ("param a hidden=#true\npool p { }", "E0201"),
        ("template A B extends=domain { }\npool p { }", "E0212"),
        ("template A extends=domain colour=red { }\npool p { }", "E0201"),
        ("template A { }\npool p { }", "E0306"),
        ("(final)let a 1\npool p { }", "E0211"),
        ("pool p { (default)budget 10 for=\"1h\"; }", "E0211"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; (final)root size=\"2GiB\"; }; }", "E0211"),
        ("pool p { (default)assert \"true\"; }", "E0211"),
        ("pool p { assert \"true\" message=\"x\"; }", "E0201"),
        ("pool p { assert; }", "E0212"),
        ("pool p { output x; }", "E0212"),
        ("pool p { output x 1 2 y=3; }", "E0212"),
        ("pool p { domain a b { image \"a\"; memory \"1GiB\"; }; }", "E0212"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; root 3; }; }", "E0212"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\" { x; }; }; }", "E0212"),
        ("pool p { budget 10 20 for=\"1h\"; }", "E0212"),
        ("pool p { count 3; }", "E0504"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; param x; }; }", "E0207"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; item x; }; }", "E0207"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; root.fs.x ext4; }; }", "E0205"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; place.require.x 1; }; }", "E0205"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; }; a extends=a; }", "E0207"),
        ("let rows { x; }\npool p { domain a count=2 each=rows { image \"a\"; memory \"1GiB\"; }; }", "E0212"),
        ("pool p { volume v; }", "E0201"),
        ("domain a { }\npool p { }", "E0201"),
        ("kind a { }\npool p { }", "E0207"),
        ("pool p { store s; }", "E0201"),
        ("pool p { .a 1; }", "E0208"),
        ("pool p { domain a { image; memory \"1GiB\"; }; }", "E0212"),
        ("pool p { domain a extends=($)x { }; }", "E0212"),
        ("pool p { domain a { extends; }; }", "E0212"),
        ("pool p { domain a { image \"a\"; memory \"1GiB\"; cloud-init { file \"/a\"; }; }; }", "E0405"),
    ] {
        let found = codes(text);
        assert!(found.contains(&code), "{text}\nexpected {code}:\n{}", messages(text));
    }
}

#[test]
fn a_let_may_have_a_type() {
    let text = "let base type=bytes \"2GiB\"\npool p { domain a { image \"a\"; memory ($)\"base * 2\"; }; }";
    assert_eq!(resolve(text).value("p.a.memory"), "4GiB");
    assert_eq!(codes("let base type=bytes 3\npool p { domain a { image \"a\"; memory ($)base; }; }"), ["E0402"]);
    let untyped = messages("let base \"2GiB\"\npool p { domain a { image \"a\"; memory ($)\"base * 2\"; }; }");
    assert!(untyped.contains("E0408") && untyped.contains("`2GiB` is text here"), "{untyped}");
}

#[test]
fn what_is_never_computed_is_checked_as_well() {
    assert_eq!(codes("template T extends=domain { memory ($)nothing; }\npool p { }"), ["E0203"], "an unused template");
    assert_eq!(codes("pool p { domain a { image \"a\"; memory \"abc\"; }; template x; }"), ["E0401", "E0207"]);
    let overridden = "template T extends=domain { image \"a\"; memory \"1GiB\"; vcpus (f)\"${gone}\"; }\npool p { domain a extends=T vcpus=2; }";
    assert_eq!(codes(overridden), ["E0203"]);
    let literal = "pool p { domain a count=1 { image \"a\"; memory \"abc\"; }; a.0.memory \"1GiB\"; }";
    assert_eq!(codes(literal), ["E0401"]);
}

#[test]
fn what_nothing_reads_is_a_warning() {
    let warnings = |text: &str| resolve(text).loaded.warnings.iter().map(|warning| warning.code).collect::<Vec<_>>();
    assert_eq!(warnings("let a 1\nparam b type=integer default=1\npool p { let c 2; }"), ["W0002", "W0002", "W0002"]);
    assert_eq!(
        warnings("let a 1\nlet b ($)a\npool p { domain d image=\"a\" memory=\"1GiB\" vcpus=($)b; }"),
        Vec::<&str>::new()
    );
    let context = "template T extends=domain { param size type=bytes context=#true; image \"a\"; memory ($)size; }\npool p { let size \"1GiB\"; domain d extends=T; }";
    assert_eq!(warnings(context), Vec::<&str>::new());
}

#[test]
fn long_lists_count_as_many_steps() {
    let text = "pool p { domain a count=2000 { image \"a\"; memory ($)\"sum(b.*.memory)\"; }; domain b count=2000 image=\"a\" memory=\"1MiB\"; }";
    let options = Options { max_steps: 1_000_000, ..Options::default() };
    let Err(failure) = load_files(text, &[], &options) else { panic!("sound, against expectation") };
    assert_eq!(failure.diagnostics[0].code, "E0602");
}

#[test]
fn every_missing_value_is_named() {
    assert_eq!(codes("pool p { domain a; }"), ["E0405", "E0405"]);
    let shown = messages("pool p { domain a count=3; }");
    assert!(shown.contains("`image` is missing") && shown.contains("`memory` is missing"), "{shown}");
    assert!(shown.contains("the same 2 more times"), "{shown}");
}

#[test]
fn a_host_name_that_gets_too_long_is_an_error_where_the_domain_is() {
    let name = "a".repeat(63);
    let text = format!("pool p {{ domain {name} count=1 image=\"a\" memory=\"1GiB\"; }}");
    let found = refused(&text);
    assert_eq!(found[0].code, "E0401");
    assert!(messages(&text).contains("--> pool.kdl:1:17"), "{}", messages(&text));
}

#[test]
fn a_row_may_not_have_the_name_of_a_member() {
    let text = "let rows { image x=1; }\npool p { domain a each=rows { image \"a\"; memory \"1GiB\"; }; }";
    assert_eq!(codes(text), ["E0208"]);
}

#[test]
fn only_what_somebody_wrote_counts_as_written() {
    let resolved = resolve("pool p { domain a { image \"a\"; memory \"1GiB\"; }; }");
    let domain = resolved.loaded.tree.child("a").unwrap();
    assert!(domain.attribute("memory").unwrap().written);
    assert!(!domain.attribute("vcpus").unwrap().written && !domain.attribute("hostname").unwrap().written);
}
