//! Which words may name what.

/// Words with a meaning of their own, which name nothing else.
const RESERVED: [&str; 28] = [
    "import", "param", "argument", "record", "item", "contains", "let", "template", "test", "kind", "assert", "output",
    "extends", "one-of", "sees", "count", "each", "need", "if", "then", "else", "this", "parent", "pool", "index",
    "true", "false", "unset",
];

/// True for words that the language keeps for itself.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// True for what may stand as a name in an expression: letters, digits, `-` and `_`, a letter first.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        && !name.ends_with('-')
}

/// True for what may name a component: it becomes part of host names, so only lower-case letters, digits and `-`.
pub(crate) fn is_component_name(name: &str) -> bool {
    is_name(name) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}
