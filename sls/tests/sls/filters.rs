//! What filters mean, and what is said of those that mean nothing.

use tycoon_market::{Quantity, TimeSpan};
use tycoon_sls::Filter;
use tycoon_sls::facts::{Facts, Texts};
use tycoon_sls::fields::Seen;
use tycoon_sls::reach::Standing;
use tycoon_sls::uptime::UptimeFractions;

use super::scene::record;

fn holds(filter: &str) -> bool {
    let mut said = record(4, 0);
    said.labels =
        [("rack", "3"), ("gpu", "yes"), ("site", "north-hall")].map(|(a, b)| (a.to_owned(), b.to_owned())).into();
    said.images = vec!["std:tiny".into(), "debian-12".into()];
    said.load = Quantity::from_cpus(2);
    let facts = Facts::of(&said, &mut Texts::default());
    let uptime = UptimeFractions { hour: 1.0, day: 0.995, week: 0.5 };
    let seen =
        Seen { facts: &facts, standing: Standing::Verified, uptime: &uptime, silence: TimeSpan::from_seconds(90) };
    filter.parse::<Filter>().unwrap_or_else(|error| panic!("{error}")).matches(&seen)
}

#[test]
fn filters_hold_where_they_should() {
    for filter in [
        "name = host4",
        "name = 'host4' and simulated = no",
        "verified and not simulated",
        "verified = yes && !simulated",
        "memory.available >= 4GiB",
        "memory.available = 4294967296",
        "memory.capacity > 8000MB and memory.capacity<8.1GiB",
        "cpu.capacity = 8 and cpu.available <= 4",
        "label.rack = 3 or label.rack = 4",
        "label.rack in (1, 2, 3)",
        "label.site = north-* and label.site = *-hall and label.site = n*th*h*l",
        "label.gpu",
        "not label.floor",
        "label.floor != 2",
        "image = debian-12 and image = std:*",
        "uptime.day > 99% and uptime.week <= 0.5",
        "silence < 2m and silence >= 90s",
        "load = 2",
        "(name = x or name = host4) and (verified or simulated)",
        "name = x and name = y or verified",
        "architecture = x86_64 AND hypervisor = 'Xen 4.17'",
        "hypervisor >= 'Xen 4.15'",
        "cpu.price < 1 and cpu.efficiency > 0",
        "cpu.capacity in (4, 8, 16)",
    ] {
        assert!(holds(filter), "{filter}");
    }
    for filter in [
        "name = host",
        "simulated",
        "verified = no",
        "label.floor = 2",
        "label.rack in (1, 2)",
        "network-in.capacity > 0",
        "network-in.capacity <= 0",
        "ipv4.free > 0",
        "not (name = host4)",
        "verified and (simulated or label.gpu = no)",
        "label.site = north-*-hall",
        "label.site = north-hall*x",
        "image != debian-12",
    ] {
        assert!(!holds(filter), "{filter}");
    }
}

#[test]
fn a_filter_that_means_nothing_is_answered_with_the_place_and_what_would_be_right() {
    let told = |filter: &str| filter.parse::<Filter>().unwrap_err().to_string();
    let place = told("verified and cpu.prise < 2");
    assert_eq!(
        place,
        "there is no field `cpu.prise`; did you mean `cpu.price`?\n    verified and cpu.prise < 2\n                 ^^^^^^^^^"
    );
    for (filter, expected) in [
        ("", "here a field is expected, such as in: memory.available >= 4GiB and label.rack = 3"),
        ("verified simulated", "here `and`, `or` or the end of the filter is expected"),
        ("verified & simulated", "here `and`, `or` or the end"),
        ("(verified", "here `)` is expected"),
        ("name = 'x", "this text has no end; close it with '"),
        ("memory.available > lots", "`memory.available` is a number: write for example 4GiB"),
        ("memory.available > 4GiBs", "has no unit `GiBs`; write one of B, KiB"),
        ("cpu.available > 4GiB", "`cpu.available` is a number: write for example 4 or 0.5"),
        ("cpu.available > ", "`cpu.available` is a number"),
        ("verified > yes", "`verified` is yes or no, so it is compared with `=` or `!=`"),
        ("verified = maybe", "`verified` is `yes` or `no`"),
        ("name > x*", "a text with `*` can be compared with `=` and `!=` only"),
        ("name in x", "after `in` a list is expected: name in (a, b, c)"),
        ("name in (x y)", "here `,` or `)` is expected"),
        ("name = =", "here a value for `name` is expected"),
        ("a\tb", "the filter has a control character"),
    ] {
        assert!(told(filter).contains(expected), "{filter}: {}", told(filter));
    }
    assert!(told(&"not ".repeat(20)).contains("nested deeper than 16"));
    assert!(told(&"x".repeat(2000)).contains("at most 1024 are read"));
}

proptest::proptest! {
    /// Whatever is written, there is an answer, and its marks are within the text.
    #[test]
    fn no_text_breaks_the_parser(text in "[ -~é]{0,60}") {
        if let Err(error) = text.parse::<Filter>() {
            proptest::prop_assert!(error.at + error.length <= text.len().max(1));
            proptest::prop_assert!(!error.to_string().is_empty());
        }
    }

    /// The same of texts that are filters nearly.
    #[test]
    fn no_nearly_right_text_breaks_the_parser(
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "verified", "name", "cpu.price", "label.x", "and", "or", "not", "in", "(", ")", ",", "=", "<", "4", "'a b'", "9%",
            ]),
            0..12,
        ),
    ) {
        let text = words.join(" ");
        if let Err(error) = text.parse::<Filter>() {
            proptest::prop_assert!(text.is_char_boundary(error.at), "{}", error);
        }
    }
}
