//! Which quote is missing, where a syntax error follows from one.
//!
//! A text without its closing quote ends at the quote that was meant to open the next text of the line, and what the
//! reader stumbles over stands behind that: `image "tiny; memory "64MiB"` fails at `64MiB`. The line has an odd number
//! of quotes, and one of its texts touches what follows; that is the one to blame.

use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Span};
use crate::syntax::lexer::{Token, TokenKind, is_newline};

/// The diagnostic of the missing quote that explains an error at byte `at`, if one does. `tokens` are those before it.
pub(crate) fn missing_quote(file: FileId, text: &str, tokens: &[Token], at: usize) -> Option<Diagnostic> {
    let line_start = text.get(..at)?.rfind(is_newline).map_or(0, |newline| newline + 1);
    let first = tokens.partition_point(|token| token.end <= line_start);
    let index = (first..tokens.len()).find(|index| touches_the_next(text, tokens, *index))?;
    let blamed = tokens[index];
    let line_end = text[at..].find(is_newline).map_or(text.len(), |newline| at + newline);
    if blamed.start > at || !has_odd_quotes(text.get(blamed.start.min(line_start)..line_end)?) {
        return None;
    }
    let before = index.checked_sub(1).map(|before| tokens[before]);
    if let Some(word) = before.filter(|before| before.kind == TokenKind::Word) {
        let found = &text[word.start..word.end];
        let quote = Span::new(file, blamed.start, blamed.start + 1);
        let error = Diagnostic::new("E0105", "this quote ends a text that has no beginning", quote, "ends no text");
        let error = error.label(Span::new(file, word.start, word.end), "the text begins here, without a quote");
        return Some(
            error
                .help(format!("put a quote before it: `\"{found}\"`"))
                .suggest(Span::new(file, word.start, word.start), "\""),
        );
    }
    let begin = Span::new(file, blamed.start, blamed.start + 1);
    let error = Diagnostic::new("E0105", "this text has no end", begin, "it begins here, and no quote closes it");
    let error = error.label(
        Span::new(file, blamed.end - 1, blamed.end),
        "so the next quote ends it, which was meant to begin another text",
    );
    Some(error.help("put the missing `\"` behind the last letter of the text"))
}

/// True for a text in plain quotes with something directly behind it that no text has there.
fn touches_the_next(text: &str, tokens: &[Token], index: usize) -> bool {
    let token = tokens[index];
    if token.kind != TokenKind::Text
        || !text[token.start..].starts_with('"')
        || text[token.start..].starts_with("\"\"\"")
    {
        return false;
    }
    let next = text[token.end..].chars().next();
    next.is_some_and(|next| !next.is_whitespace() && !matches!(next, ';' | '}' | '{' | '=' | ')' | '/' | '\\' | ','))
}

/// True where a part of a text has an odd number of quotes. A backslash takes the next letter with it.
fn has_odd_quotes(part: &str) -> bool {
    let mut odd = false;
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => {
                letters.next();
            }
            '"' => odd = !odd,
            _ => {}
        }
    }
    odd
}

#[cfg(test)]
mod tests {
    use crate::source::Sources;
    use crate::syntax::check::check;

    /// What is said, and what the primary place and the second one show.
    fn blamed(text: &str) -> (String, Vec<usize>) {
        let mut sources = Sources::default();
        let file = sources.add("a.kdl", text.into());
        let error = check(file, text, 8).expect_err("a syntax error");
        (error.message, error.labels.iter().map(|label| label.span.start).collect())
    }

    #[test]
    fn the_text_without_an_end_is_blamed_and_not_what_stands_behind_its_line() {
        let no_end = "this text has no end".to_owned();
        for (text, places) in [
            ("image \"tiny; memory \"64MiB\"", vec![6, 20]),
            ("image \"tiny; name \"web\"", vec![6, 18]),
            ("image \"a\"; memory \"64MiB; vcpus \"2\"", vec![18, 32]),
            ("budget 1 for=\"1h reserve=\"1\"", vec![13, 25]),
            ("image \"tiny\nmemory \"64MiB\"", vec![6]),
            ("image \"tiny", vec![6]),
            ("file \"\"\"\n  abc\n", vec![5]),
            ("file #\"abc\"\n", vec![5]),
        ] {
            assert_eq!(blamed(text), (no_end.clone(), places), "{text}");
        }
    }

    #[test]
    fn a_text_without_a_beginning_is_told_from_one_without_an_end() {
        let (message, places) = blamed("image tiny\"; memory \"64MiB\"");
        assert_eq!(message, "this quote ends a text that has no beginning");
        assert_eq!(places, [10, 6]);
    }

    #[test]
    fn other_errors_keep_their_own_words() {
        for text in ["memory \"a\"10g", "memory 10g \"a\"", "a \"b\"\"c\"", "a \"it\\\"s\" 10g"] {
            assert!(!blamed(text).0.contains("no end"), "{text}: {}", blamed(text).0);
        }
    }
}
