//! What the parser of expressions reads and refuses.

use super::*;
use crate::source::FileId;

fn place(text: &str) -> Place {
    Place { literal: Span::new(FileId(0), 0, text.len()), text_start: Some(0) }
}

/// The expression with all its parentheses.
fn shown(text: &str) -> String {
    let mut names = Interner::default();
    match parse(text, place(text), &mut names) {
        Ok(expression) => show(&expression, &names),
        Err(error) => format!("error: {}", error.message),
    }
}

fn show(expression: &Expression, names: &Interner) -> String {
    let all = |list: &[Expression]| list.iter().map(|e| show(e, names)).collect::<Vec<_>>().join(", ");
    let path =
        |segments: &[Segment]| segments.iter().map(|s| names.text(s.name).to_string()).collect::<Vec<_>>().join(".");
    match &expression.node {
        Node::Constant(value) => value.to_string(),
        Node::Path { segments, .. } => path(segments),
        Node::Member(base, segments) => format!("{}.{}", show(base, names), path(segments)),
        Node::Index(base, index) => format!("{}[{}]", show(base, names), show(index, names)),
        Node::Not(inner) => format!("(!{})", show(inner, names)),
        Node::Negate(inner) => format!("(-{})", show(inner, names)),
        Node::Binary(operator, a, b) => format!("({} {operator} {})", show(a, names), show(b, names)),
        Node::If(a, b, c) => format!("(if {} then {} else {})", show(a, names), show(b, names), show(c, names)),
        Node::Call(name, _, arguments) => format!("{name}({})", all(arguments)),
        Node::List(items) => format!("[{}]", all(items)),
        Node::Lambda(name, body) => format!("{} => {}", names.text(*name), show(body, names)),
        Node::Fill(parts) => format!("fill({})", all(parts)),
    }
}

#[test]
fn precedence_is_that_of_rust() {
    for (text, parsed) in [
        ("1 + 2 * 3", "(1 + (2 * 3))"),
        ("1 - 2 - 3", "((1 - 2) - 3)"),
        ("a || b && !c == d", "(a || (b && ((!c) == d)))"),
        ("-a * b", "((-a) * b)"),
        ("(1 + 2) * 3", "((1 + 2) * 3)"),
        ("if a then 1 else 2 + 3", "(if a then 1 else (2 + 3))"),
        ("a < b && b < c", "((a < b) && (b < c))"),
        ("(a < b) == (c < d)", "((a < b) == (c < d))"),
        ("8 % 3 / 2", "((8 % 3) / 2)"),
    ] {
        assert_eq!(shown(text), parsed, "{text}");
    }
}

#[test]
fn names_with_dashes_dots_and_digits_are_one_token() {
    assert_eq!(shown("head-memory - wn.0.memory"), "(head-memory - wn.0.memory)");
    assert_eq!(shown("sum(wn.*.memory) <= 64GiB"), "(sum(wn.*.memory) <= 64GiB)");
    assert_eq!(shown("nth-address(192.0.2.1, 3)"), "nth-address(192.0.2.1, 3)");
    assert_eq!(shown("filter(wn.*, w => w.memory > 1.5GiB)"), "filter(wn.*, w => (w.memory > 1536MiB))");
    assert_eq!(shown("lookup(a, 'b').c[0]"), "lookup(a, b).c[0]");
    assert_eq!(shown("2 * 1h30m"), "(2 * 1h30m)");
}

#[test]
fn mistakes_are_named() {
    for (text, message) in [
        ("", "the expression is empty"),
        ("1 +", "the expression ends where a value is expected"),
        ("a = b", "`=` does not belong here"),
        ("a < b < c", "comparisons cannot be chained"),
        ("(a", "this `(` is not closed by `)`"),
        ("f(a", "this is not closed by `)`"),
        ("64Gib", "`Gib` is no unit"),
        ("a..b", "a name is missing after this dot"),
        ("if a then b", "this `if` lacks its `else`"),
        ("'a", "this text is not closed by '"),
        ("a b", "`b` does not belong here"),
        ("1.2.3", "`1.2.3` is neither a number nor an address"),
    ] {
        assert_eq!(shown(text), format!("error: {message}"), "{text}");
    }
    assert!(shown(&"(".repeat(500)).starts_with("error: the expression is nested"));
    assert!(shown(&"!".repeat(500)).starts_with("error: the expression is nested"));
    assert!(shown(&"a+".repeat(50_000)).starts_with("error: the expression has more than 500"));
}

#[test]
fn text_is_filled_in_at_its_marks_only() {
    let mut names = Interner::default();
    let text = "wn-${index}.$x $${y}";
    let parsed = parse_fill(text, place(text), &mut names).unwrap();
    assert_eq!(show(&parsed, &names), "fill(wn-, index, .$x ${y})");
    assert!(parse_fill("a ${b", place("a ${b"), &mut names).is_err());
}
