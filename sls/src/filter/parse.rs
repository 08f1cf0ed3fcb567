//! From text to filter.

use super::{Comparison, DEPTH_MAX, FILTER_BYTES_MAX, FilterError, Node, Pattern, units};
use crate::fields::{Field, FieldKind, Measure};

pub(super) fn parse(text: &str) -> Result<Node, FilterError> {
    let shown = |text: &str| text.chars().take(FILTER_BYTES_MAX).collect::<String>();
    if text.len() > FILTER_BYTES_MAX {
        let what = format!("the filter has {} bytes; at most {FILTER_BYTES_MAX} are read", text.len());
        return Err(FilterError { text: shown(text), at: 0, length: 1, what });
    }
    if let Some(at) = text.find(char::is_control) {
        let text: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        return Err(FilterError { text, at, length: 1, what: "the filter has a control character".to_owned() });
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.any()?;
    match parser.next()? {
        Token { kind: Kind::End, .. } => Ok(node),
        token => Err(parser.wrong(&token, "here `and`, `or` or the end of the filter is expected")),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

#[derive(Clone, Copy, Debug)]
struct Token<'a> {
    at: usize,
    length: usize,
    kind: Kind<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Sign(&'a str),
    End,
}

const SIGNS: [&str; 13] = ["&&", "||", "!=", "<=", ">=", "==", "=", "<", ">", "!", "(", ")", ","];
/// What ends a word.
const ENDS: [char; 11] = ['&', '|', '!', '<', '>', '=', '(', ')', ',', '\'', '"'];

impl<'a> Parser<'a> {
    fn wrong(&self, token: &Token<'_>, what: impl Into<String>) -> FilterError {
        FilterError { text: self.text.to_owned(), at: token.at, length: token.length, what: what.into() }
    }

    fn peek(&self) -> Result<(Token<'a>, usize), FilterError> {
        let rest = &self.text[self.at..];
        let at = self.at + (rest.len() - rest.trim_start().len());
        let rest = &self.text[at..];
        let token = |length, kind| Token { at, length, kind };
        let Some(first) = rest.chars().next() else { return Ok((token(0, Kind::End), at)) };
        if first == '\'' || first == '"' {
            let Some(length) = rest[1..].find(first) else {
                let open = token(1, Kind::End);
                return Err(self.wrong(&open, format!("this text has no end; close it with {first}")));
            };
            return Ok((token(length + 2, Kind::Quoted(&rest[1..=length])), at + length + 2));
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            return Ok((token(sign.len(), Kind::Sign(sign)), at + sign.len()));
        }
        let length = rest.find(|char: char| char.is_whitespace() || ENDS.contains(&char)).unwrap_or(rest.len());
        // A single `&` or `|` is no sign, and ends the word before it.
        let length = length.max(first.len_utf8());
        Ok((token(length, Kind::Word(&rest[..length])), at + length))
    }

    fn next(&mut self) -> Result<Token<'a>, FilterError> {
        let (token, end) = self.peek()?;
        self.at = end;
        Ok(token)
    }

    /// Takes the next token where it is one of these.
    fn take(&mut self, words: &[&str]) -> Result<bool, FilterError> {
        let (token, end) = self.peek()?;
        let is_one = match token.kind {
            Kind::Word(word) => words.iter().any(|other| other.eq_ignore_ascii_case(word)),
            Kind::Sign(sign) => words.contains(&sign),
            Kind::Quoted(_) | Kind::End => false,
        };
        if is_one {
            self.at = end;
        }
        Ok(is_one)
    }

    fn any(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.all()?];
        while self.take(&["or", "||"])? {
            nodes.push(self.all()?);
        }
        Ok(single(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, FilterError> {
        let mut nodes = vec![self.not()?];
        while self.take(&["and", "&&"])? {
            nodes.push(self.not()?);
        }
        Ok(single(nodes, Node::All))
    }

    fn not(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let (token, _) = self.peek()?;
            return Err(self.wrong(&token, format!("the filter is nested deeper than {DEPTH_MAX}")));
        }
        let node = if self.take(&["not", "!"])? {
            Node::Not(Box::new(self.not()?))
        } else if self.take(&["("])? {
            let node = self.any()?;
            let token = self.next()?;
            if token.kind != Kind::Sign(")") {
                return Err(self.wrong(&token, "here `)` is expected"));
            }
            node
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node, FilterError> {
        let token = self.next()?;
        let Kind::Word(word) = token.kind else {
            return Err(
                self.wrong(&token, "here a field is expected, such as in: memory.available >= 4GiB and label.rack = 3")
            );
        };
        let field: Field = word.parse().map_err(|error: crate::fields::UnknownField| {
            // A single sign that was meant as a pair is the likelier mistake.
            match word.chars().next() {
                Some('&' | '|') => self.wrong(&token, "write `and` or `or`"),
                _ => self.wrong(&token, error.to_string()),
            }
        })?;
        if self.take(&["in"])? {
            return self.one_of(field);
        }
        let (sign, end) = self.peek()?;
        let comparison = match sign.kind {
            Kind::Sign("=" | "==") => Comparison::Equal,
            Kind::Sign("!=") => Comparison::Different,
            Kind::Sign("<") => Comparison::Less,
            Kind::Sign("<=") => Comparison::AtMost,
            Kind::Sign(">") => Comparison::Greater,
            Kind::Sign(">=") => Comparison::AtLeast,
            _ => {
                return Ok(match field.kind() {
                    FieldKind::Truth => Node::Is(field, true),
                    FieldKind::Text | FieldKind::Number(_) => Node::Has(field),
                });
            }
        };
        self.at = end;
        let value = self.next()?;
        match field.kind() {
            FieldKind::Text => {
                let pattern = self.pattern(&field, &value)?;
                let is_order = !matches!(comparison, Comparison::Equal | Comparison::Different);
                if is_order && pattern.has_stars {
                    return Err(self.wrong(&value, "a text with `*` can be compared with `=` and `!=` only"));
                }
                Ok(Node::Text(field, comparison, pattern))
            }
            FieldKind::Number(measure) => {
                let number = self.number(&field, measure, &value)?;
                Ok(Node::Number(field, comparison, number))
            }
            FieldKind::Truth => {
                let wanted = match value.kind {
                    Kind::Word("yes" | "true") => true,
                    Kind::Word("no" | "false") => false,
                    _ => return Err(self.wrong(&value, format!("`{field}` is `yes` or `no`"))),
                };
                match comparison {
                    Comparison::Equal => Ok(Node::Is(field, wanted)),
                    Comparison::Different => Ok(Node::Is(field, !wanted)),
                    _ => Err(self.wrong(&sign, format!("`{field}` is yes or no, so it is compared with `=` or `!=`"))),
                }
            }
        }
    }

    fn one_of(&mut self, field: Field) -> Result<Node, FilterError> {
        let open = self.next()?;
        if open.kind != Kind::Sign("(") {
            return Err(self.wrong(&open, format!("after `in` a list is expected: {field} in (a, b, c)")));
        }
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        loop {
            let value = self.next()?;
            match field.kind() {
                FieldKind::Text => texts.push(self.pattern(&field, &value)?),
                FieldKind::Number(measure) => numbers.push(self.number(&field, measure, &value)?),
                FieldKind::Truth => return Err(self.wrong(&open, format!("`{field}` is yes or no; write `{field}`"))),
            }
            let token = self.next()?;
            match token.kind {
                Kind::Sign(",") => {}
                Kind::Sign(")") => break,
                _ => return Err(self.wrong(&token, "here `,` or `)` is expected")),
            }
        }
        Ok(match field.kind() {
            FieldKind::Text => Node::OneOfTexts(field, texts),
            FieldKind::Number(_) | FieldKind::Truth => Node::OneOfNumbers(field, numbers),
        })
    }

    fn pattern(&self, field: &Field, value: &Token<'_>) -> Result<Pattern, FilterError> {
        match value.kind {
            Kind::Word(text) | Kind::Quoted(text) => {
                Ok(Pattern { text: text.to_owned(), has_stars: text.contains('*') })
            }
            Kind::Sign(_) | Kind::End => {
                Err(self.wrong(value, format!("here a value for `{field}` is expected; quote it where it has signs")))
            }
        }
    }

    fn number(&self, field: &Field, measure: Measure, value: &Token<'_>) -> Result<f64, FilterError> {
        let known = units(measure);
        let example = match measure {
            Measure::Plain => "4 or 0.5",
            Measure::Bytes => "4GiB",
            Measure::Bits => "100Mbit",
            Measure::Part => "0.99 or 99%",
            Measure::Seconds => "90s",
        };
        let wrong = || self.wrong(value, format!("`{field}` is a number: write for example {example}"));
        let (Kind::Word(text) | Kind::Quoted(text)) = value.kind else { return Err(wrong()) };
        let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let factor = match known.iter().find(|(word, _)| word.eq_ignore_ascii_case(unit)) {
            _ if unit.is_empty() => 1.0,
            Some((_, factor)) => *factor,
            None if known.is_empty() => return Err(wrong()),
            None => {
                let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
                let what = format!("`{field}` has no unit `{unit}`; write one of {}", words.join(", "));
                return Err(self.wrong(value, what));
            }
        };
        Ok(number * factor)
    }
}

fn single(mut nodes: Vec<Node>, several: impl FnOnce(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            several(nodes)
        }
        None => several(nodes),
    }
}
