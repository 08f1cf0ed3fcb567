//! How layers merge: who wins, what conflicts.

mod support;

use support::{codes, messages, resolve};

/// A pool with one domain `web`; `web` and `templates` are put in.
fn pool(templates: &str, web: &str) -> String {
    format!(
        "template Base extends=domain {{ image \"std:tiny\"; memory \"64MiB\"; }}\n{templates}\npool p {{\n{web}\n}}\n"
    )
}

#[test]
fn the_nearer_body_wins() {
    let text = pool(
        "template Big extends=Base { memory \"2GiB\"; }",
        "domain web extends=Big { vcpus 2; }\ndomain own extends=Big { memory \"3GiB\"; }",
    );
    let resolved = resolve(&text);
    assert_eq!(resolved.value("p.web.memory"), "2GiB");
    assert_eq!(resolved.value("p.own.memory"), "3GiB");
    assert_eq!(resolved.value("p.web.image"), "std:tiny");
}

#[test]
fn a_property_is_the_child_of_the_same_name() {
    let resolved = resolve(&pool(
        "",
        "domain web extends=Base memory=\"1GiB\"\ndomain db extends=Base { root size=\"2GiB\" fs=ext4; }",
    ));
    assert_eq!(resolved.value("p.web.memory"), "1GiB");
    assert_eq!(resolved.value("p.db.root.size"), "2GiB");
    assert_eq!(resolved.value("p.db.root.fs"), "ext4");
}

#[test]
fn between_prototypes_nobody_wins() {
    let templates = "template A extends=Base { vcpus 2; }\ntemplate B extends=Base { vcpus 3; }\ntemplate C extends=Base { vcpus 2; }";
    assert_eq!(codes(&pool(templates, "domain web { extends A B; }")), ["E0303"]);
    assert_eq!(
        resolve(&pool(templates, "domain web { extends A C; }")).value("p.web.vcpus"),
        "2",
        "equal values do not conflict"
    );
    assert_eq!(resolve(&pool(templates, "domain web { extends A B; vcpus 4; }")).value("p.web.vcpus"), "4");
}

#[test]
fn within_one_body_order_does_not_matter_and_different_values_conflict() {
    assert_eq!(codes(&pool("", "domain web extends=Base { vcpus 2; vcpus 3; }")), ["E0303"]);
    assert_eq!(codes(&pool("", "domain web extends=Base vcpus=2 { vcpus 3; }")), ["E0303"]);
    assert_eq!(codes(&pool("", "domain web extends=Base { vcpus 2; }\nweb.vcpus 3\nweb.vcpus 4")), ["E0303"]);
    let resolved = resolve(&pool("", "web.root.size \"3GiB\"\ndomain web extends=Base"));
    assert_eq!(resolved.value("p.web.root.size"), "3GiB", "an amendment may stand before what it amends");
}

#[test]
fn what_one_side_overrides_the_other_side_does_not_bring_back() {
    // A overrides what Base says; B only inherits it. `extends A B` gives A's value.
    let templates = "template A extends=Base { memory \"2GiB\"; }\ntemplate B extends=Base { vcpus 3; }";
    let resolved = resolve(&pool(templates, "domain web { extends A B; }\ndomain other { extends B A; }"));
    assert_eq!(resolved.value("p.web.memory"), "2GiB");
    assert_eq!(resolved.value("p.other.memory"), "2GiB");
    assert_eq!(resolved.value("p.web.vcpus"), "3");
}

#[test]
fn a_default_counts_only_where_nothing_else_is_written() {
    let templates = "template A extends=Base { (default)vcpus 2; }\ntemplate B extends=Base { vcpus 3; }";
    let resolved = resolve(&pool(
        templates,
        "domain a extends=A\ndomain ab { extends A B; }\ndomain own extends=B { (default)vcpus 9; }",
    ));
    assert_eq!(resolved.value("p.a.vcpus"), "2");
    assert_eq!(resolved.value("p.ab.vcpus"), "3");
    assert_eq!(resolved.value("p.own.vcpus"), "3", "a nearer default does not beat a plain value");
}

#[test]
fn final_and_replace() {
    let templates = "template A extends=Base { (final)vcpus 2; }";
    assert_eq!(codes(&pool(templates, "domain web extends=A vcpus=3")), ["E0304"]);
    assert_eq!(resolve(&pool(templates, "domain web extends=A vcpus=2")).value("p.web.vcpus"), "2");
    let templates = "template A extends=Base { kernel-args \"a\" \"b\"; root size=\"9GiB\" fs=ext4; }";
    let resolved =
        resolve(&pool(templates, "domain web extends=A { kernel-args c; (replace)root copy-on-write=#true; }"));
    assert_eq!(resolved.value("p.web.kernel-args"), "['c']", "a list replaces");
    assert_eq!(resolved.value("p.web.root.size"), "1GiB", "what was beneath is gone");
    assert_eq!(resolved.value("p.web.root.fs"), "none");
    assert_eq!(resolved.value("p.web.root.copy-on-write"), "true");
}

#[test]
fn an_inherited_component_is_removed_with_if() {
    let resolved = resolve(&pool(
        "template A extends=Base { volume data size=\"9GiB\"; }",
        "domain web extends=A { data if=#false; }\ndomain full extends=A",
    ));
    let volumes =
        |at: usize| resolved.loaded.pool.domains[at].volumes.iter().map(|v| v.name.clone()).collect::<Vec<_>>();
    assert_eq!(volumes(0), ["root"]);
    assert_eq!(volumes(1), ["root", "data"]);
}

#[test]
fn components_merge_by_name_at_all_depths() {
    let text = "\
template Pair extends=group {
    domain left { image \"a\"; memory \"64MiB\"; root size=\"2GiB\"; }
    domain right { image \"b\"; memory \"64MiB\"; }
}
template Tall extends=Pair { left.memory \"1GiB\"; right { root { size \"5GiB\"; }; }; }
pool p {
    group g extends=Tall { left.root.size \"3GiB\"; left vcpus=4; }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.domains(), ["g.left", "g.right"]);
    for (path, value) in [
        ("p.g.left.memory", "1GiB"),
        ("p.g.left.root.size", "3GiB"),
        ("p.g.left.vcpus", "4"),
        ("p.g.left.image", "a"),
        ("p.g.right.root.size", "5GiB"),
    ] {
        assert_eq!(resolved.value(path), value, "{path}");
    }
}

#[test]
fn an_instance_is_common_then_indexed_from_any_layer() {
    let text = "\
template Farm extends=group {
    domain wn count=3 { image \"a\"; memory \"1GiB\"; }
    wn.0.memory \"4GiB\"
}
pool p {
    group g extends=Farm { wn.memory \"2GiB\"; wn.2 { root size=\"7GiB\"; vcpus 8; }; }
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.value("p.g.wn.0.memory"), "4GiB", "an indexed value beats a nearer common one");
    assert_eq!(resolved.value("p.g.wn.1.memory"), "2GiB");
    assert_eq!(resolved.value("p.g.wn.2.root.size"), "7GiB");
    assert_eq!(resolved.value("p.g.wn.2.vcpus"), "8");
    assert_eq!(resolved.value("p.g.wn.1.vcpus"), "1");
}

#[test]
fn a_component_can_extend_another_one_but_not_its_number() {
    let text = "\
pool p {
    domain web count=2 { image \"a\"; memory \"1GiB\"; root size=\"3GiB\"; }
    domain db extends=web { memory \"2GiB\"; }
    web.memory \"1GiB\"
}
";
    let resolved = resolve(text);
    assert_eq!(resolved.domains(), ["web.0", "web.1", "db"]);
    assert_eq!(resolved.value("p.db.memory"), "2GiB");
    assert_eq!(resolved.value("p.db.root.size"), "3GiB");
}

#[test]
fn items_are_a_set_by_their_keys_and_the_nearer_fields_win() {
    let text = "\
template Node extends=domain {
    image \"a\"
    memory \"1GiB\"
    cloud-init { package \"vim\"; file \"/etc/a\" \"far\" mode=\"0600\"; command echo one; }
    place { require \"host.cpus >= 2\"; }
}
pool p {
    domain web extends=Node {
        cloud-init { package \"vim\"; package \"git\"; file \"/etc/a\" \"near\"; command echo two; }
        place { require \"host.cpus >= 2\"; require \"host.memory >= 1GiB\"; }
    }
}
";
    let resolved = resolve(text);
    let domain = &resolved.loaded.pool.domains[0];
    let init = domain.cloud_init.as_ref().unwrap();
    assert_eq!(init.packages, ["vim", "git"]);
    assert_eq!(init.files.len(), 1);
    assert_eq!((init.files[0].content.to_string().as_str(), init.files[0].mode.as_str()), ("near", "0600"));
    let commands: Vec<String> =
        init.commands.iter().map(|c| c.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(commands, ["echo one", "echo two"], "ordered items: the inherited ones first");
    assert_eq!(domain.placement.require.len(), 2);
}

#[test]
fn items_with_equal_computed_keys_must_agree() {
    let text = |second: &str| {
        format!(
            "let dir \"/etc\"\npool p {{\n domain web image=\"a\" memory=\"1GiB\" {{ cloud-init {{ file \"/etc/a\" \"x\"; file (f)\"${{dir}}/a\" \"{second}\"; }}; }}\n}}"
        )
    };
    assert_eq!(resolve(&text("x")).loaded.pool.domains[0].cloud_init.as_ref().unwrap().files.len(), 1);
    assert_eq!(codes(&text("y")), ["E0303"]);
}

#[test]
fn a_conflict_shows_every_place() {
    let text = pool(
        "template A extends=Base { vcpus 2; }\ntemplate B extends=Base { vcpus 3; }",
        "domain web { extends A B; }",
    );
    let shown = messages(&text);
    assert!(shown.contains("pool.kdl:2:33") && shown.contains("pool.kdl:3:33"), "{shown}");
}

#[test]
fn names_are_created_once() {
    assert_eq!(
        codes(&pool("template A extends=Base { volume data; }", "domain web extends=A { volume data; }")),
        ["E0206"]
    );
    assert_eq!(codes(&pool("template A extends=Base { param memory type=bytes; }", "domain web extends=A")), ["E0206"]);
    assert_eq!(codes(&pool("", "let web 1\ndomain web extends=Base")), ["E0206"]);
    let twice =
        "template A extends=Base { volume data size=\"1GiB\"; }\ntemplate B extends=Base { volume data fs=ext4; }";
    let resolved = resolve(&pool(twice, "domain web { extends A B; }"));
    assert_eq!(resolved.value("p.web.data.fs"), "ext4", "two prototypes may both create it");
}

#[test]
fn prototype_cycles_and_endless_containment_are_refused() {
    assert_eq!(codes("template A extends=A { }\npool p { }"), ["E0301"]);
    assert_eq!(codes("pool p { domain a extends=b; domain b extends=a; }"), ["E0301"]);
    assert_eq!(codes("pool p { group a { group b extends=a; }; }"), ["E0302"]);
    assert_eq!(
        codes(
            "template A extends=group { group x extends=B; }\ntemplate B extends=group { group y extends=A; }\npool p { group g extends=A; }"
        ),
        ["E0302"]
    );
}

/// The class of an instance with lines of its own takes over what these do not speak of; nothing of that shows.
#[test]
fn an_instance_with_lines_of_its_own_differs_in_nothing_else() {
    let web = "image \"a\"; memory \"1GiB\"; volume data size=($)parent.memory; volume copy extends=data fs=ext4; ready tcp=80 within=($)\"1s * this.ready.tcp\"";
    let pool = resolve(&format!(
        "pool p {{ domain web count=4 {{ {web}; }}; web.1.vcpus 4; web.2.memory \"2GiB\"; web.3.data.size \"5GiB\"; web.3.ready.tcp 90; }}"
    ));
    for (path, values) in [
        ("vcpus", ["1", "4", "1", "1"]),
        ("memory", ["1GiB", "1GiB", "2GiB", "1GiB"]),
        ("data.size", ["1GiB", "1GiB", "2GiB", "5GiB"]),
        ("copy.size", ["1GiB", "1GiB", "2GiB", "5GiB"]),
        ("copy.fs", ["ext4"; 4]),
        ("root.size", ["1GiB"; 4]),
        ("ready.tcp", ["80", "80", "80", "90"]),
        ("ready.within", ["1m20s", "1m20s", "1m20s", "1m30s"]),
    ] {
        for (index, value) in values.iter().enumerate() {
            assert_eq!(pool.value(&format!("p.web.{index}.{path}")), *value, "web.{index}.{path}");
        }
    }
}
