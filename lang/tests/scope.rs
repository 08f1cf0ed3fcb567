//! What names denote.

mod support;

use support::{codes, messages, resolve, resolve_with};

#[test]
fn a_bare_name_sees_the_surrounding_text_then_the_file() {
    let text = "\
let size \"1GiB\"
param count-of type=integer default=2
pool p {
    let size \"2GiB\"
    group g {
        domain a count=($)count-of { image \"a\"; memory ($)size; }
        let size \"3GiB\"
        domain b { image \"a\"; memory ($)size; }
    }
    domain c { image \"a\"; memory ($)size; }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.g.a.0.memory"), "3GiB", "forward references are fine");
    assert_eq!(resolved.value("p.g.b.memory"), "3GiB");
    assert_eq!(resolved.value("p.c.memory"), "2GiB");
}

#[test]
fn a_bare_name_never_sees_attributes_or_inherited_names() {
    let text = "pool p { domain a { image \"a\"; memory \"1GiB\"; vcpus ($)\"if memory > 1GiB then 2 else 1\"; }; }";
    assert_eq!(codes(text), ["E0203"]);
    assert!(messages(text).contains("reached as `this.memory`"), "{}", messages(text));
    let text = "\
template T extends=group { let inner 3; param knob type=integer default=4; }
pool p { group g extends=T { domain a count=($)knob image=\"a\" memory=\"1GiB\"; }; }
";
    assert_eq!(codes(text), ["E0203"]);
}

#[test]
fn a_library_that_grows_captures_nothing() {
    // The library has a `let size` of its own; the user's text means the user's.
    let library = "template T extends=group { let size \"9GiB\"; domain inner { image \"a\"; memory ($)size; }; }";
    let text = "import \"./lib.kdl\" as=lib\nlet size \"2GiB\"\npool p { group g extends=lib.T { domain a { image \"a\"; memory ($)size; }; }; }";
    let resolved = resolve_with(text, &[("lib.kdl", library)]);
    assert_eq!(resolved.value("p.g.inner.memory"), "9GiB");
    assert_eq!(resolved.value("p.g.a.memory"), "2GiB");
}

#[test]
fn lets_of_one_name_in_several_layers_stay_apart() {
    let text = "\
template T extends=group { let size \"1GiB\"; domain a { image \"a\"; memory ($)size; }; }
pool p { group g extends=T { let size \"2GiB\"; domain b { image \"a\"; memory ($)size; }; }; }
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.g.a.memory"), "1GiB");
    assert_eq!(resolved.value("p.g.b.memory"), "2GiB");
}

#[test]
fn a_name_denotes_the_member_of_the_component_the_text_ends_up_in() {
    let text = "\
pool p {
    host one {
        address \"one.example.org\"
        loopback files directory=\"/a\"
        domain d { image \"a\"; memory \"1GiB\"; root on=files; hostname (f)\"${first-label(parent.address)}-d\"; }
    }
    host two extends=one { address \"two.example.org\"; files.directory \"/b\"; }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.one.d.root.on"), "p.one.files");
    assert_eq!(resolved.value("p.two.d.root.on"), "p.two.files");
    assert_eq!(resolved.value("p.two.d.hostname"), "two-d");
    let stores: Vec<_> = resolved.loaded.pool.domains.iter().map(|d| format!("{:?}", d.volumes[0].store)).collect();
    assert!(stores[0].contains("/a") && stores[1].contains("/b"), "{stores:?}");
}

#[test]
fn a_prototype_from_further_out_keeps_its_surroundings() {
    let text = "\
pool p {
    let size \"3GiB\"
    domain base { image \"a\"; memory ($)size; }
    group g { let size \"9GiB\"; group h { domain d extends=base; }; }
}
";
    assert_eq!(resolve(text).value("p.g.h.d.memory"), "3GiB");
}

#[test]
fn a_param_and_an_attribute_of_one_name_do_not_collide() {
    let text = "\
template C extends=group {
    param image type=image
    domain head { image ($)image; memory \"1GiB\"; }
}
pool p { group g extends=C image=\"alma9\"; }
";
    assert_eq!(resolve(text).value("p.g.head.image"), "alma9");
}

#[test]
fn this_parent_and_pool() {
    let text = "\
pool p {
    budget 10 for=\"1h\"
    group g {
        domain a { image \"a\"; memory \"1GiB\"; vcpus ($)\"if this.memory >= 1GiB then 2 else 1\"; }
        domain b { image (f)\"${parent.a.image}\"; memory ($)\"if pool.budget.amount > 5 then parent.a.memory else 1MiB\"; }
    }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.g.a.vcpus"), "2");
    assert_eq!(resolved.value("p.g.b.memory"), "1GiB");
    assert_eq!(codes("pool p { let x ($)parent.y; domain a image=\"a\" memory=($)x; }"), ["E0203"]);
}

#[test]
fn a_context_param_takes_the_nearest_member_of_its_name_at_the_place_of_use() {
    let text = "\
template Node extends=domain {
    param site type=string context=#true
    param rack type=string context=#true default=\"none\"
    image (f)\"${site}-${rack}\"
    memory \"1GiB\"
}
pool p {
    let site \"outer\"
    domain a extends=Node
    group g { let site \"inner\"; let rack \"r1\"; domain b extends=Node; group h { domain c extends=Node site=\"own\"; }; }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.a.image"), "outer-none");
    assert_eq!(resolved.value("p.g.b.image"), "inner-r1");
    assert_eq!(resolved.value("p.g.h.c.image"), "own-r1");
    let wrong = text.replace("let site \"outer\"", "let site 3");
    assert_eq!(codes(&wrong), ["E0401"], "it is type-checked");
}

#[test]
fn names_that_look_like_a_difference_are_explained() {
    let text = "let a 3\nlet b 2\npool p { domain d count=($)\"a-b\" image=\"x\" memory=\"1GiB\"; }";
    assert!(messages(text).contains("put spaces around the minus"), "{}", messages(text));
}

#[test]
fn index_and_each_belong_to_the_surrounding_text() {
    let text = "\
let sites { cern workers=2; clemson workers=1 memory=\"2GiB\"; }
pool p {
    group edge each=sites {
        domain wn count=($)each.workers { image (f)\"${each.key}-${index}\"; memory \"1GiB\"; }
    }
    edge.clemson.wn.memory \"8GiB\"
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.domains(), ["edge.cern.wn.0", "edge.cern.wn.1", "edge.clemson.wn.0"]);
    assert_eq!(resolved.value("p.edge.cern.wn.1.image"), "cern-1");
    assert_eq!(resolved.value("p.edge.clemson.wn.0.memory"), "8GiB");
    assert_eq!(codes("pool p { domain a image=(f)\"x-${index}\" memory=\"1GiB\"; }"), ["E0203"]);
}

#[test]
fn a_name_where_a_value_is_expected_is_offered_as_an_expression() {
    let shown = messages(
        "param n type=integer default=2\nlet mem \"2GiB\"\npool p { domain web count=n { image \"a\"; memory mem; burst n; vcpus x; }; }",
    );
    for fix in ["`n` -> `($)n`", "`mem` -> `($)mem`"] {
        assert!(shown.contains(fix), "{shown}");
    }
    assert!(!shown.contains("($)x"), "{shown}");
}
