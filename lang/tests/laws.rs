//! The laws of the merge, and a second, naive evaluator that must agree with the real one.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use support::load_files;
use tycoon_lang::Options;

/// One body: what it writes to `vcpus`, and with which annotation.
#[derive(Clone, Debug)]
struct Body {
    extends: Vec<usize>,
    writes: Vec<(&'static str, u8)>,
    size: Option<u8>,
}

impl Body {
    fn text(&self, name: &str, head: &str) -> String {
        let bases = if self.extends.is_empty() {
            "domain".to_owned()
        } else {
            self.extends.iter().map(|base| format!("T{base}")).collect::<Vec<_>>().join(" ")
        };
        let writes: String =
            self.writes.iter().map(|(annotation, value)| format!("{annotation}vcpus {value}; ")).collect();
        let size = self.size.map(|size| format!("root size=\"{size}GiB\"; ")).unwrap_or_default();
        format!("{head} {name} {{ extends {bases}; {writes}{size}}}\n")
    }
}

fn body(templates: usize) -> impl Strategy<Value = Body> {
    let write = (prop::sample::select(vec!["", "", "(default)", "(replace)"]), 1_u8..4);
    let extends = prop::collection::btree_set(0..templates.max(1), 0..3)
        .prop_map(move |set| if templates == 0 { Vec::new() } else { set.into_iter().collect::<Vec<_>>() });
    (extends, prop::collection::vec(write, 0..2), prop::option::of(1_u8..4)).prop_map(|(extends, writes, size)| Body {
        extends,
        writes,
        size,
    })
}

/// Templates of which each extends earlier ones only.
fn family() -> impl Strategy<Value = Vec<Body>> {
    (body(0), body(1), body(2), body(3), body(4)).prop_map(|(a, b, c, d, e)| vec![a, b, c, d, e])
}

fn templates(family: &[Body]) -> String {
    family.iter().enumerate().map(|(number, body)| body.text(&format!("T{number}"), "template")).collect()
}

/// What a description of one domain `d` gives: `vcpus` and the size of `root`, or the codes of what is wrong.
fn outcome(text: &str) -> Result<(String, String), Vec<&'static str>> {
    match load_files(text, &[], &Options::default()) {
        Ok(resolved) => Ok((resolved.value("p.d.vcpus"), resolved.value("p.d.root.size"))),
        Err(failure) => {
            let mut codes: Vec<&'static str> = failure.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
            codes.dedup();
            Err(codes)
        }
    }
}

fn pool(family: &[Body], domain: &str) -> String {
    // The kind's `image` and `memory` are of no interest here.
    format!("{}pool p {{ {domain}\nd.image \"a\"; d.memory \"1GiB\"; }}\n", templates(family))
}

/// What was written to a leaf, by the definition in docs/language.md, section 5.
#[derive(Clone, Debug, Default)]
struct Leaf {
    /// Priority (0 default, 1 plain) to writes: number of the body, place in it, value.
    written: [BTreeSet<(usize, usize, u8)>; 2],
    overridden: BTreeSet<(usize, usize, u8)>,
}

impl Leaf {
    fn of(number: usize, writes: &[(&str, u8)]) -> (Self, bool) {
        let mut leaf = Self::default();
        let mut replaces = false;
        for (place, (annotation, value)) in writes.iter().enumerate() {
            leaf.written[usize::from(*annotation != "(default)")].insert((number, place, *value));
            replaces |= *annotation == "(replace)";
        }
        (leaf, replaces)
    }

    /// `self ⊕ other`
    fn beside(mut self, other: Self) -> Self {
        self.overridden.extend(other.overridden);
        for (own, more) in self.written.iter_mut().zip(other.written) {
            own.extend(more);
            own.retain(|write| !self.overridden.contains(write));
        }
        self
    }

    /// `far ◁ self`
    fn over(mut self, far: Self, replaces: bool) -> Self {
        self.overridden.extend(far.overridden);
        for (own, beneath) in self.written.iter_mut().zip(far.written) {
            if own.is_empty() && !replaces {
                *own = beneath;
            } else {
                self.overridden.extend(beneath);
            }
        }
        self
    }

    /// The value; `None` for a conflict.
    fn value(&self) -> Option<u8> {
        let deciding = self.written.iter().rev().find(|written| !written.is_empty())?;
        let values: BTreeSet<u8> = deciding.iter().map(|(_, _, value)| *value).collect();
        (values.len() == 1).then(|| values.into_iter().next()).flatten()
    }
}

/// `vcpus` and the size of `root` of a body, naively, prototype by prototype.
fn naive(family: &[Body], number: usize, body: &Body, known: &mut BTreeMap<usize, (Leaf, Leaf)>) -> (Leaf, Leaf) {
    let kind = || (Leaf::of(999, &[("(default)", 1)]).0, Leaf::of(999, &[("(default)", 1)]).0);
    let mut beneath = kind();
    for base in &body.extends {
        let leaves = match known.get(base) {
            Some(leaves) => leaves.clone(),
            None => naive(family, *base, &family[*base], known),
        };
        beneath = (beneath.0.beside(leaves.0), beneath.1.beside(leaves.1));
    }
    let (vcpus, replaces) = Leaf::of(number, &body.writes);
    let sizes: Vec<(&str, u8)> = body.size.iter().map(|size| ("", *size)).collect();
    let (size, _) = Leaf::of(number, &sizes);
    let result = (vcpus.over(beneath.0, replaces), size.over(beneath.1, false));
    known.insert(number, result.clone());
    result
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn the_naive_evaluator_agrees(family in family(), last in body(5)) {
        let text = pool(&family, &last.text("d", "domain"));
        let (vcpus, size) = naive(&family, 100, &last, &mut BTreeMap::new());
        let expected = match (vcpus.value(), size.value()) {
            (Some(vcpus), Some(size)) => Ok((vcpus.to_string(), format!("{size}GiB"))),
            _ => Err(()),
        };
        prop_assert_eq!(outcome(&text).map_err(|_| ()), expected, "{}", text);
    }

    #[test]
    fn beside_is_commutative_idempotent_and_associative(family in family(), a in 0_usize..5, b in 0_usize..5, c in 0_usize..5) {
        let one = |extends: &str, more: &str| outcome(&format!("{more}{}", pool(&family, &format!("domain d {{ extends {extends}; }}"))));
        prop_assert_eq!(one(&format!("T{a} T{b}"), ""), one(&format!("T{b} T{a}"), ""));
        prop_assert_eq!(one(&format!("T{a} T{a}"), ""), one(&format!("T{a}"), ""));
        let flat = one(&format!("T{a} T{b} T{c}"), "");
        let left = one(&format!("L T{c}"), &format!("template L {{ extends T{a} T{b}; }}\n"));
        let right = one(&format!("T{a} R"), &format!("template R {{ extends T{b} T{c}; }}\n"));
        prop_assert_eq!(&left, &flat);
        prop_assert_eq!(&right, &flat);
    }

    #[test]
    fn over_is_associative_and_idempotent(family in family(), near in body(0), mid in body(0)) {
        // (T4 ◁ mid) ◁ near, once by a template between, once by a template that holds both.
        let base = &family[4..5];
        let plain = |body: &Body| Body { extends: vec![0], ..body.clone() };
        let between = [Body { extends: Vec::new(), ..base[0].clone() }, plain(&mid)];
        let stepwise = pool(&between, &Body { extends: vec![1], ..near.clone() }.text("d", "domain"));
        let lets = naive(&between, 100, &Body { extends: vec![1], ..near.clone() }, &mut BTreeMap::new());
        let found = outcome(&stepwise);
        if let (Ok((vcpus, _)), Some(expected)) = (&found, lets.0.value()) {
            prop_assert_eq!(vcpus, &expected.to_string());
        }
        // Writing what is already there, once more and nearer, changes nothing.
        let again = pool(&between, &Body { extends: vec![1], writes: Vec::new(), size: None }.text("d", "domain"));
        if let Ok((vcpus, size)) = outcome(&again) {
            let text = pool(&between, &format!("domain d extends=T1 {{ vcpus {vcpus}; root size=\"{size}\"; }}"));
            prop_assert_eq!(outcome(&text), Ok((vcpus, size)));
        }
    }
}

/// An expression over small whole numbers.
#[derive(Clone, Debug)]
enum Tree {
    Number(i64),
    Binary(&'static str, Box<Tree>, Box<Tree>),
    Negate(Box<Tree>),
    If(Box<Tree>, Box<Tree>, Box<Tree>),
}

fn tree() -> impl Strategy<Value = Tree> {
    (0_i64..20).prop_map(Tree::Number).prop_recursive(5, 40, 3, |inner| {
        prop_oneof![
            (prop::sample::select(vec!["+", "-", "*", "%"]), inner.clone(), inner.clone())
                .prop_map(|(operator, a, b)| Tree::Binary(operator, Box::new(a), Box::new(b))),
            inner.clone().prop_map(|a| Tree::Negate(Box::new(a))),
            (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| Tree::If(Box::new(a), Box::new(b), Box::new(c))),
        ]
    })
}

impl Tree {
    fn strength(&self) -> u8 {
        match self {
            Self::If(..) => 0,
            Self::Binary("+" | "-", ..) => 4,
            Self::Binary(..) => 5,
            Self::Negate(_) => 6,
            Self::Number(_) => 7,
        }
    }

    /// With no more parentheses than Rust's precedence needs.
    fn text(&self) -> String {
        let inner = |part: &Self, least: u8| {
            if part.strength() < least { format!("({})", part.text()) } else { part.text() }
        };
        match self {
            Self::Number(number) => number.to_string(),
            Self::Binary(operator, a, b) => {
                format!("{} {operator} {}", inner(a, self.strength()), inner(b, self.strength() + 1))
            }
            Self::Negate(a) => format!("-({})", a.text()),
            Self::If(a, b, c) => format!("if {} > 5 then {} else {}", inner(a, 4), b.text(), c.text()),
        }
    }

    fn value(&self) -> Option<i64> {
        Some(match self {
            Self::Number(number) => *number,
            Self::Negate(a) => a.value()?.checked_neg()?,
            Self::If(a, b, c) => {
                if a.value()? > 5 {
                    b.value()?
                } else {
                    c.value()?
                }
            }
            Self::Binary(operator, a, b) => {
                let (a, b) = (a.value()?, b.value()?);
                match *operator {
                    "+" => a.checked_add(b)?,
                    "-" => a.checked_sub(b)?,
                    "*" => a.checked_mul(b)?,
                    _ => a.checked_rem(b)?,
                }
            }
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn expressions_have_the_value_that_rust_gives_them(tree in tree()) {
        let text = format!("pool p {{ output x ($)\"{}\"; }}", tree.text());
        let found = match load_files(&text, &[], &Options::default()) {
            Ok(resolved) => Some(resolved.value("p.x")),
            Err(failure) => {
                prop_assert_eq!(failure.diagnostics[0].code, "E0411", "{}", failure.to_text());
                None
            }
        };
        prop_assert_eq!(found, tree.value().map(|value| value.to_string()), "{}", text);
    }
}
