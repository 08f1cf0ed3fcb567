//! The formatter: one way to lay a description out.
//!
//! It works on tokens, so comments, the spelling of numbers and strings, and everything else a person wrote stays;
//! only spaces, line ends and `;` change. (The printer of the `kdl` crate loses what follows a `}` on its line and
//! rewrites numbers.) Formatting twice changes nothing more.
//!
//! The layout: four spaces per block; a block that was written on one line stays there while it fits into 120
//! columns; at most one empty line in a row; comments stay where they are.

use crate::diagnostic::Diagnostic;
use crate::options::Options;
use crate::source::{FileId, Sources};
use crate::syntax::check;
use crate::syntax::lexer::{Token, TokenKind, tokens};

/// The widest line that the formatter makes by itself.
const WIDTH: usize = 120;

/// Formats a file.
///
/// # Errors
/// The sources and the diagnostic of the first syntax error, under the name given.
pub fn format(name: &str, text: &str, options: &Options) -> Result<String, (Sources, Box<Diagnostic>)> {
    let mut sources = Sources::default();
    let file: FileId = sources.add(name, text.into());
    if let Err(error) = check::check(file, text, options.max_depth) {
        return Err((sources, error));
    }
    // What passes the check has tokens.
    let tokens = tokens(text, options.max_depth).unwrap_or_default();
    let mut reader = Reader { text, tokens: &tokens, at: 0 };
    let items = reader.items();
    let mut out = String::with_capacity(text.len());
    if text.starts_with('\u{feff}') {
        out.push('\u{feff}');
    }
    write_items(&items, 0, &mut out);
    Ok(out)
}

/// One line or comment, and whether an empty line stood before it.
struct Item {
    after_blank: bool,
    content: Content,
}

enum Content {
    /// A comment on lines of its own.
    Comment(String),
    /// A node with what belongs to it.
    Node { parts: Vec<Part>, comment: Option<(String, usize)> },
}

enum Part {
    /// A piece of text, and whether it follows the one before without a space.
    Text(String, bool),
    /// A block, and whether it was written on one line.
    Block { items: Vec<Item>, one_line: bool, glued: bool },
    /// A `\` with what follows it on its line.
    Continuation(String),
}

struct Reader<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl Reader<'_> {
    fn kind(&self) -> Option<TokenKind> {
        self.tokens.get(self.at).map(|token| token.kind)
    }

    fn take(&mut self) -> &str {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token.map_or("", |token| &self.text[token.start..token.end])
    }

    /// The items up to the end of the block or file.
    fn items(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        let mut line_ends = 0;
        loop {
            match self.kind() {
                None | Some(TokenKind::CloseBrace) => return items,
                Some(TokenKind::Space | TokenKind::Semicolon | TokenKind::Continuation) => self.at += 1,
                Some(TokenKind::Newline) => {
                    line_ends += 1;
                    self.at += 1;
                }
                Some(kind) => {
                    let after_blank = line_ends > 1 && !items.is_empty();
                    line_ends = 0;
                    let alone = kind == TokenKind::LineComment || (kind == TokenKind::BlockComment && self.ends_line());
                    let content = if alone {
                        Content::Comment(self.take().trim_end().to_owned())
                    } else {
                        let node = self.node();
                        // The node took its line end with it.
                        line_ends = 1;
                        node
                    };
                    items.push(Item { after_blank, content });
                }
            }
        }
    }

    /// True where nothing but spaces follows the current token on its line.
    fn ends_line(&self) -> bool {
        let mut rest = self.tokens[self.at + 1..].iter().skip_while(|token| token.kind == TokenKind::Space);
        rest.next().is_none_or(|token| token.kind == TokenKind::Newline)
    }

    fn node(&mut self) -> Content {
        let mut parts: Vec<Part> = Vec::new();
        let mut glued = true;
        loop {
            match self.kind() {
                None | Some(TokenKind::CloseBrace) => return Content::Node { parts, comment: None },
                Some(TokenKind::Newline) => {
                    self.at += 1;
                    return Content::Node { parts, comment: None };
                }
                Some(TokenKind::LineComment) => {
                    let comment = self.comment();
                    return Content::Node { parts, comment };
                }
                Some(TokenKind::Semicolon) => {
                    self.at += 1;
                    return Content::Node { parts, comment: self.comment_behind() };
                }
                Some(TokenKind::Space) => {
                    self.at += 1;
                    // No spaces inside an annotation, around `=`, or behind `/-`.
                    glued = glued && !parts.is_empty() && self.previous_glues();
                }
                Some(TokenKind::Continuation) => {
                    let text = self.take().trim_end().to_owned();
                    parts.push(Part::Continuation(text));
                    glued = true;
                }
                Some(TokenKind::OpenBrace) => {
                    let start = self.at;
                    self.at += 1;
                    let items = self.items();
                    let end = self.at.min(self.tokens.len());
                    let inner = self.tokens.get(start..end).unwrap_or_default();
                    let one_line = !inner.iter().any(|token| {
                        token.kind == TokenKind::Newline || self.text[token.start..token.end].contains(['\n', '\r'])
                    });
                    self.at += 1;
                    parts.push(Part::Block { items, one_line, glued: self.slash_before(start) });
                    glued = false;
                }
                Some(kind) => {
                    let glue = glued || matches!(kind, TokenKind::Equals | TokenKind::CloseParen);
                    let text = self.take().to_owned();
                    let first = parts.is_empty();
                    parts.push(Part::Text(text, glue && !first));
                    glued = matches!(
                        kind,
                        TokenKind::Equals | TokenKind::OpenParen | TokenKind::CloseParen | TokenKind::SlashDash
                    );
                }
            }
        }
    }

    /// True where the token before the space just skipped clings to what follows.
    fn previous_glues(&self) -> bool {
        let before = self.tokens[..self.at].iter().rev().find(|token| token.kind != TokenKind::Space);
        before.is_some_and(|token| {
            matches!(
                token.kind,
                TokenKind::Equals | TokenKind::OpenParen | TokenKind::CloseParen | TokenKind::SlashDash
            )
        })
    }

    fn slash_before(&self, at: usize) -> bool {
        let before = self.tokens[..at].iter().rev().find(|token| token.kind != TokenKind::Space);
        before.is_some_and(|token| token.kind == TokenKind::SlashDash)
    }

    /// The comment at the end of a line, with the width of the space before it.
    fn comment(&mut self) -> Option<(String, usize)> {
        let space = self.at.checked_sub(1).and_then(|before| self.tokens.get(before));
        let width = space
            .filter(|token| token.kind == TokenKind::Space)
            .map_or(1, |token| self.text[token.start..token.end].chars().count());
        let text = self.take().trim_end().to_owned();
        if self.kind() == Some(TokenKind::Newline) {
            self.at += 1;
        }
        Some((text, width))
    }

    /// The comment behind a `;`, if it is the last of its line.
    fn comment_behind(&mut self) -> Option<(String, usize)> {
        let mut at = self.at;
        while self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Space) {
            at += 1;
        }
        match self.tokens.get(at).map(|token| token.kind) {
            Some(TokenKind::LineComment) => {
                self.at = at;
                self.comment()
            }
            Some(TokenKind::Newline) => {
                self.at = at + 1;
                None
            }
            _ => None,
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    (0..depth).for_each(|_| out.push_str("    "));
}

fn write_items(items: &[Item], depth: usize, out: &mut String) {
    for item in items {
        if item.after_blank {
            out.push('\n');
        }
        indent(depth, out);
        match &item.content {
            Content::Comment(text) => out.push_str(text),
            Content::Node { parts, comment } => {
                let inline = one_line(parts).filter(|line| depth * 4 + line.chars().count() <= WIDTH);
                match inline {
                    Some(line) => out.push_str(&line),
                    None => write_parts(parts, depth, out),
                }
                if let Some((text, width)) = comment {
                    (0..*width).for_each(|_| out.push(' '));
                    out.push_str(text);
                }
            }
        }
        out.push('\n');
    }
}

fn write_parts(parts: &[Part], depth: usize, out: &mut String) {
    let mut fresh = true;
    let mut continued = false;
    for part in parts {
        if std::mem::take(&mut continued) {
            out.push('\n');
            indent(depth + 1, out);
            fresh = true;
        }
        match part {
            Part::Text(text, glued) => {
                if !glued && !fresh {
                    out.push(' ');
                }
                out.push_str(text);
            }
            Part::Continuation(text) => {
                out.push(' ');
                out.push_str(text);
                continued = true;
            }
            Part::Block { items, glued, .. } => {
                out.push_str(if *glued || fresh { "{" } else { " {" });
                if !items.is_empty() {
                    out.push('\n');
                    write_items(items, depth + 1, out);
                    indent(depth, out);
                }
                out.push('}');
            }
        }
        fresh = false;
    }
    if continued {
        // Nothing follows, so an empty line ends the node.
        out.push('\n');
    }
}

/// The node on one line, where it was written so.
fn one_line(parts: &[Part]) -> Option<String> {
    let mut line = String::new();
    for part in parts {
        match part {
            Part::Text(text, glued) => {
                if text.contains(['\n', '\r']) {
                    return None;
                }
                if !glued && !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(text);
            }
            Part::Continuation(_) => return None,
            Part::Block { items, one_line: written, glued } => {
                if !written && !items.is_empty() {
                    return None;
                }
                line.push_str(if *glued { "{" } else { " {" });
                for item in items {
                    match &item.content {
                        Content::Comment(text) => line.push_str(&format!(" {text}")),
                        Content::Node { parts, comment: None } => {
                            line.push(' ');
                            line.push_str(&one_line(parts)?);
                            line.push(';');
                        }
                        Content::Node { comment: Some(_), .. } => return None,
                    }
                }
                line.push_str(if items.is_empty() { "}" } else { " }" });
            }
        }
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn formatted(text: &str) -> String {
        match format("a.kdl", text, &Options::default()) {
            Ok(text) => text,
            Err((sources, error)) => panic!("{}", error.to_text(&sources)),
        }
    }

    /// Everything that carries meaning.
    fn meaning(text: &str) -> Vec<String> {
        let tokens = tokens(text, 200).unwrap();
        let kept = tokens
            .iter()
            .filter(|token| !matches!(token.kind, TokenKind::Space | TokenKind::Newline | TokenKind::Semicolon));
        kept.map(|token| text[token.start..token.end].trim_end().to_owned()).collect()
    }

    #[test]
    fn a_description_has_one_layout() {
        let messy = "pool   p{\n  budget 10   for = \"1h\"   // an hour\n\n\n\n domain web count=( $ )n{image \"a\";memory   \"1GiB\"}\n  /- domain x {\n a }\n/* c */\n a 0xFF 1_000 \\ // go on\n  #true\n}";
        let neat = "pool p {\n    budget 10 for=\"1h\"   // an hour\n\n    domain web count=($)n { image \"a\"; memory \"1GiB\"; }\n    /-domain x {\n        a\n    }\n    /* c */\n    a 0xFF 1_000 \\ // go on\n        #true\n}\n";
        assert_eq!(formatted(messy), neat);
        assert_eq!(formatted(neat), neat);
    }

    #[test]
    fn what_follows_a_block_stays() {
        let text = "a { b 1; } // c\nd 2\n";
        assert_eq!(formatted(text), text);
        assert_eq!(formatted("a {\n} // c\nd 2"), "a {} // c\nd 2\n");
    }

    #[test]
    fn long_blocks_are_broken_and_texts_of_several_lines_stay() {
        let long = format!("a {{ {} }}", "bcdefghij; ".repeat(12));
        assert_eq!(formatted(&long).lines().count(), 14);
        let text = "a \"\"\"\n   x\n     y\n   \"\"\" b=1\n";
        assert_eq!(formatted(text), text);
    }

    #[test]
    fn errors_are_those_of_the_reader() {
        let (_, error) = format("a.kdl", "a {", &Options::default()).unwrap_err();
        assert_eq!(error.code, "E0105");
    }

    fn node(depth: u32) -> BoxedStrategy<String> {
        let value = prop_oneof![
            Just("1"),
            Just("0xFF"),
            Just("\"a b\""),
            Just("#true"),
            Just("(f)\"x\""),
            Just("( $ )\"y\""),
            Just("p=1"),
            Just("q = (f)\"z\""),
            Just("/* c */"),
            Just("/-2"),
            Just("\\\n "),
            Just("\"\"\"\n  t\n  \"\"\""),
            Just("#\"r\"#"),
        ];
        let head = (
            prop_oneof![Just("a"), Just("b-c"), Just("(default)d"), Just("/-e"), Just("\"f g\"")],
            prop::collection::vec(value, 0..4),
        )
            .prop_map(|(name, values)| {
                let mut seen = Vec::new();
                let values = values.into_iter().filter(|v| {
                    let fresh = !seen.contains(v);
                    seen.push(v);
                    fresh
                });
                std::iter::once(name).chain(values).collect::<Vec<_>>().join("  ")
            });
        let end = prop_oneof![Just("\n"), Just(";"), Just(" // c\n"), Just("\n\n\n"), Just(" ; // d\n")];
        if depth == 0 {
            return (head, end).prop_map(|(head, end)| format!("{head}{end}")).boxed();
        }
        let block = prop::collection::vec(node(depth - 1), 0..4).prop_map(|nodes| nodes.concat());
        (head, prop::option::of(block), end)
            .prop_map(|(head, block, end)| match block {
                Some(block) => format!("{head} {{{block}}}{end}"),
                None => format!("{head}{end}"),
            })
            .boxed()
    }

    proptest! {
        #[test]
        fn formatting_changes_no_meaning_and_is_stable(nodes in prop::collection::vec(node(3), 0..6)) {
            let text = nodes.concat();
            prop_assume!(format("a.kdl", &text, &Options::default()).is_ok());
            let once = formatted(&text);
            prop_assert_eq!(meaning(&once), meaning(&text));
            prop_assert_eq!(formatted(&once), once.clone());
            prop_assert!(!once.lines().any(|line| line.ends_with(' ')), "{}", once);
            // The `kdl` crate refuses some sound texts, such as `/-a ;`; what it reads must stay the same.
            let parsed = |text: &str| {
                kdl::KdlDocument::parse_v2(text).map(|mut document| {
                    document.clear_format_recursive();
                    document.to_string()
                })
            };
            if let Ok(before) = parsed(&text) {
                prop_assert_eq!(parsed(&once).ok(), Some(before));
            }
        }
    }
}
