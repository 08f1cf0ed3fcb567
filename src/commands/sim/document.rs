//! A file of scenarios as text: parsed, with places for messages.

use std::fmt;

use kdl::{KdlDocument, KdlNode, KdlValue};
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use serde_json::json;

/// The deepest nesting of braces and comments; the parser calls itself for each level.
const DEPTH_MAX: usize = 16;
/// The most openings of braces and comments: were the nesting misread, the parser's stack would still be large enough.
const OPENINGS_MAX: usize = 4096;
/// The stack of the parser's thread; only what is used of it takes memory.
const STACK_BYTES: usize = 256 << 20;

/// Something that is wrong at a place of the file.
#[derive(Debug)]
pub struct Problem {
    /// What.
    pub message: String,
    /// Where.
    pub span: SourceSpan,
    /// What is there.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A problem together with the file, for `miette`'s handlers.
#[derive(Debug)]
pub struct Report {
    problem: Problem,
    source: NamedSource<String>,
}

impl Problem {
    /// The problem together with its file.
    pub fn report(self, file: &str, text: &str) -> Report {
        Report { problem: self, source: NamedSource::new(file, text.to_owned()) }
    }

    /// The problem as data.
    pub fn json(&self, file: &str, text: &str) -> serde_json::Value {
        let start = self.span.offset().min(text.len());
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        json!({
            "message": self.message, "help": self.help, "severity": "error",
            "labels": [{
                "file": file, "text": self.label, "primary": true,
                "line": before.matches('\n').count() + 1,
                "column": before.get(line_start..).unwrap_or_default().chars().count() + 1,
                "start": start, "end": start + self.span.len(),
            }],
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_primary_with_span(Some(self.problem.label.clone()), self.problem.span);
        Some(Box::new(std::iter::once(label)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

/// Parses a file.
pub fn parse(text: &str) -> Result<Vec<KdlNode>, Vec<Problem>> {
    if let Some(offset) = too_deep(text) {
        return Err(vec![Problem {
            message: format!(
                "braces or comments are nested more than {DEPTH_MAX} deep, or more than {OPENINGS_MAX} in all"
            ),
            span: SourceSpan::from((offset, 1)),
            label: "this one".to_owned(),
            help: Some("scenarios need three levels: `scenario`, `users`, and what is said of them".to_owned()),
        }]);
    }
    let parsed = std::thread::scope(|scope| {
        let parser = std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || KdlDocument::parse_v2(text).map(|document| document.nodes().to_vec()));
        parser.map(std::thread::ScopedJoinHandle::join)
    });
    let nowhere = |message: String| {
        vec![Problem { message, span: SourceSpan::from((0, 0)), label: "in this file".to_owned(), help: None }]
    };
    match parsed {
        Ok(Ok(Ok(nodes))) => Ok(nodes),
        Ok(Ok(Err(error))) => Err(error
            .diagnostics
            .iter()
            .take(10)
            .map(|found| Problem {
                message: found.message.clone().unwrap_or_else(|| "this is not KDL".to_owned()),
                span: within(found.span, text),
                label: found.label.clone().unwrap_or_else(|| "here".to_owned()),
                help: found.help.clone(),
            })
            .collect()),
        Ok(Err(_)) => Err(nowhere("the file cannot be parsed".to_owned())),
        Err(error) => Err(nowhere(format!("no thread could be started to parse the file: {error}"))),
    }
}

/// A span of the text: whatever the parser says, it begins and ends at characters that are there.
fn within(span: SourceSpan, text: &str) -> SourceSpan {
    let clip = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (start, end) = (clip(span.offset()), clip(span.offset().saturating_add(span.len())));
    SourceSpan::from((start, end - start))
}

/// The place where braces or comments nest too deeply, where there are too many of them, or where more `#` stand in a
/// row than any string needs, if there is one. The parser would take very long for those.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut braces, mut comments, mut openings) = (0, 0_usize, 0_usize, 0);
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length = if rest.starts_with(b"/*") {
            comments += 1;
            openings += 1;
            2
        } else if rest.starts_with(b"*/") {
            comments = comments.saturating_sub(1);
            2
        } else if comments > 0 {
            1
        } else if rest.starts_with(b"//") {
            rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(&[b'#'; DEPTH_MAX]) {
            return Some(at);
        } else if rest[0] == b'#' || rest[0] == b'"' {
            string_length(rest)
        } else {
            match rest[0] {
                b'{' => {
                    braces += 1;
                    openings += 1;
                }
                b'}' => braces = braces.saturating_sub(1),
                _ => {}
            }
            1
        };
        if braces > DEPTH_MAX || comments > DEPTH_MAX || openings > OPENINGS_MAX {
            return Some(at);
        }
        at += length;
    }
    None
}

/// The length of the string that begins here, raw or not, in one line or several; 1 where none begins.
fn string_length(text: &[u8]) -> usize {
    let hashes = text.iter().take_while(|byte| **byte == b'#').count();
    let quotes = text[hashes..].iter().take_while(|byte| **byte == b'"').count();
    let (opening, is_long) = match quotes {
        0 => return 1,
        1 | 2 => (1, false),
        _ => (3, true),
    };
    let mut at = hashes + opening;
    while at < text.len() {
        let rest = &text[at..];
        let ends = rest.iter().take_while(|byte| **byte == b'"').count() >= opening
            && rest[opening..].iter().take_while(|byte| **byte == b'#').count() >= hashes;
        if ends {
            return at + opening + hashes;
        }
        if rest[0] == b'\n' && !is_long {
            return at;
        }
        at += if rest[0] == b'\\' && hashes == 0 { 2 } else { 1 };
    }
    text.len()
}

/// A value for a message.
pub fn describe(value: &KdlValue) -> String {
    match value {
        KdlValue::String(text) => format!("the text {text:?}"),
        KdlValue::Integer(number) => format!("the number {number}"),
        KdlValue::Float(number) => format!("the number {number}"),
        KdlValue::Bool(truth) => format!("#{truth}"),
        KdlValue::Null => "#null".to_owned(),
    }
}

/// The name among `known` that is nearest to a wrong one, if one is near enough to be meant.
pub fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (wrong.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&wrong.to_lowercase(), name), *name))
        .filter(|(distance, _)| *distance <= allowed && wrong.len() <= 64)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_strings_and_comments_do_not_nest() {
        let line = "users \"{{{{\" { strategy \"}\" #\"\"{\"# } // {{{{\n/* { /* { */ { */ a \"\\\"{\"\n";
        let many = format!("scenario {{\n{}}}", "users \"a\" count=1 { budget 1 }\n".repeat(1000));
        assert_eq!(too_deep(&many), None);
        assert_eq!(too_deep(&line.repeat(50)), None, "{line}");
        assert_eq!(too_deep("\"\"\"\n{{{{{{{{{{{{{{{{{{{{{\n\"\"\""), None);
        assert_eq!(too_deep(&"a {".repeat(17)), Some(16 * 3 + 2));
        assert!(too_deep(&"/*".repeat(17)).is_some());
        assert!(too_deep(&"a {}\n".repeat(5000)).is_some());
        assert_eq!(too_deep(&"#".repeat(16)), Some(0));
    }

    /// The parser calls itself; whatever the check lets through must not end the process.
    #[test]
    fn the_parser_bears_what_the_check_lets_through() {
        for text in ["a {".repeat(16), "/*".repeat(16), "\"{".repeat(3000), "#".repeat(15), "a 1 ".repeat(1000)] {
            let _ = parse(&text);
        }
        assert!(parse(&"a {".repeat(100_000)).is_err());
    }

    #[test]
    fn a_slip_finds_what_was_meant() {
        assert_eq!(nearest("budgte", &["budget", "balance"]), Some("budget"));
        assert_eq!(nearest("colour", &["budget", "balance"]), None);
    }
}
