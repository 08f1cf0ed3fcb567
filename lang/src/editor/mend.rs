//! Texts that are being typed: what a person has not finished is taken out, so that the rest can be understood.

use crate::options::Options;
use crate::source::FileId;
use crate::syntax::check;
use crate::syntax::lexer::{Token, TokenKind, tokens};

/// The line that is being typed, as far as it goes before the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Typed<'a> {
    /// From the start of the node to the cursor.
    pub(super) before: &'a str,
    /// The first byte of the node.
    pub(super) start: usize,
    /// The byte after the node: its end, its block, or the end of the line.
    end: usize,
}

/// The node around a byte: what stands between line ends, `;` and braces outside quotes.
pub(super) fn typed(text: &str, at: usize) -> Typed<'_> {
    let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
    let (mut start, mut end, mut quoted, mut escaped) = (line_start, line_end, false, false);
    for (offset, letter) in text[line_start..line_end].char_indices() {
        let here = line_start + offset;
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '{' | '}' | ';' if !quoted => {
                if here >= at {
                    end = here;
                    break;
                }
                start = here + 1;
            }
            _ => {}
        }
    }
    let blank = text[start..at].len() - text[start..at].trim_start().len();
    Typed { before: &text[start + blank..at], start: start + blank, end }
}

/// How many nodes that are no KDL are taken out besides the one that is being typed.
const MOST_TAKEN_OUT: usize = 8;

/// The text without the node that is being typed, of the same length up to what is added at the end: blocks that are
/// not closed. Other nodes that are no KDL are taken out as well. Where even that is no sequence of tokens, only what
/// stands before the node is kept.
pub(super) fn mended(text: &str, typed: &Typed<'_>, options: &Options) -> String {
    let before = &text[..typed.start];
    let first = without(text, typed);
    for whole in [first, before.to_owned()] {
        if let Ok(tokens) = tokens(&whole, options.max_depth) {
            return sound(closed(whole, &tokens), options);
        }
    }
    before.to_owned()
}

/// The text with blanks in the place of a node.
fn without(text: &str, node: &Typed<'_>) -> String {
    let (gone, after) = (node.end - node.start, &text[node.end..]);
    // A block that follows stays a block: of a word that nobody knows.
    let stand_in = if after.starts_with('{') && gone > 0 { "_" } else { "" };
    format!("{}{stand_in}{}{after}", &text[..node.start], " ".repeat(gone - stand_in.len()))
}

/// The text without nodes that are no KDL, as far as they are few.
fn sound(mut text: String, options: &Options) -> String {
    for _ in 0..MOST_TAKEN_OUT {
        let Err(error) = check::check(FileId(0), &text, options.max_depth) else { break };
        let Some(place) = error.primary().map(|span| span.start).filter(|at| text.is_char_boundary(*at)) else { break };
        let node = typed(&text, place);
        if node.start == node.end {
            break;
        }
        text = without(&text, &node);
    }
    text
}

/// The text with the braces at its end that it lacks, and without those that are too many.
fn closed(text: String, tokens: &[Token]) -> String {
    let mut open = 0_usize;
    let mut bytes = text.into_bytes();
    for token in tokens {
        match token.kind {
            TokenKind::OpenBrace => open += 1,
            TokenKind::CloseBrace if open == 0 => bytes[token.start] = b' ',
            TokenKind::CloseBrace => open -= 1,
            _ => {}
        }
    }
    // Only whole ASCII characters were replaced.
    let mut text = String::from_utf8(bytes).unwrap_or_default();
    if open > 0 {
        text.push('\n');
        text.push_str(&"}".repeat(open));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_mark(text: &str) -> (String, usize) {
        let at = text.find('|').unwrap();
        (text.replacen('|', "", 1), at)
    }

    #[test]
    fn the_node_before_the_cursor_is_found() {
        for (text, before) in [
            ("pool p {\n    domain we|b {", "domain we"),
            ("a { b 1; c \"x; y\" | }", "c \"x; y\" "),
            ("|", ""),
            ("pool p { memo|; }", "memo"),
            ("a (f)\"${x|}\"", "a (f)\"${x"),
        ] {
            let (text, at) = at_mark(text);
            assert_eq!(typed(&text, at).before, before, "{text}");
        }
    }

    #[test]
    fn what_is_typed_is_taken_out_and_blocks_are_closed() {
        for (text, wanted) in [
            ("pool p {\n    mem|\n}", "pool p {\n       \n}"),
            ("pool p {\n    mem|", "pool p {\n       \n}"),
            ("pool p { é| { a 1; } }", "pool p { _  { a 1; } }"),
            ("pool p { a 1=2; b|; }", "pool p {      ;  ; }"),
            ("a \"x|", ""),
            ("} b|", "   "),
        ] {
            let (text, at) = at_mark(text);
            let found = mended(&text, &typed(&text, at), &Options::default());
            assert_eq!(found.trim_end(), wanted.trim_end(), "{text}");
        }
    }
}
