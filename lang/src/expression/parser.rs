//! Reads expressions, with the precedence of Rust.

use std::net::IpAddr;
use std::sync::Arc;

use crate::expression::ast::{Expression, Node, Operator, Root, Segment};
use crate::quantity::{self, Amount, QuantityError};
use crate::source::Span;
use crate::symbol::{Interner, Symbol};
use crate::value::Value;

/// How deep an expression may nest.
const MAX_DEPTH: usize = 100;
/// How many operators an expression may have; a chain of them nests to the left.
const MAX_OPERATORS: usize = 500;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ExpressionError {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) instead: Option<String>,
}

/// Where the text of an expression stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The literal that holds it.
    pub(crate) literal: Span,
    /// The place of its first byte, if it stands in the file letter by letter.
    pub(crate) text_start: Option<usize>,
}

/// Reads a whole text as one expression.
pub(crate) fn parse(text: &str, place: Place, names: &mut Interner) -> Result<Expression, ExpressionError> {
    let mut parser = Parser { text, place, names, at: 0, depth: 0, operators: 0 };
    parser.skip_space();
    if parser.at == text.len() {
        return Err(parser.error(0, text.len(), "the expression is empty"));
    }
    let expression = parser.expression()?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.leftover());
    }
    Ok(expression)
}

/// Reads a text with `${…}` parts; `$${` stands for `${`.
pub(crate) fn parse_fill(text: &str, place: Place, names: &mut Interner) -> Result<Expression, ExpressionError> {
    let mut parser = Parser { text, place, names, at: 0, depth: 0, operators: 0 };
    let mut parts = Vec::new();
    let mut plain = String::new();
    while parser.at < text.len() {
        let rest = &text[parser.at..];
        if rest.starts_with("$${") {
            plain.push_str("${");
            parser.at += 3;
        } else if rest.starts_with("${") {
            let open = parser.at;
            if !plain.is_empty() {
                parts.push(parser.constant(open, open, Value::Text(Arc::from(std::mem::take(&mut plain)))));
            }
            parser.at += 2;
            let part = parser.expression()?;
            parser.skip_space();
            if !parser.eat("}") {
                if parser.at == text.len() {
                    return Err(parser.error(open, open + 2, "this `${` is not closed by `}`"));
                }
                return Err(parser.leftover());
            }
            parts.push(part);
        } else {
            let next = rest.char_indices().skip(1).find(|(_, c)| *c == '$').map_or(rest.len(), |(index, _)| index);
            plain.push_str(&rest[..next]);
            parser.at += next;
        }
    }
    if !plain.is_empty() {
        parts.push(parser.constant(text.len(), text.len(), Value::Text(plain.into())));
    }
    Ok(Expression { node: Node::Fill(parts), span: place.literal })
}

struct Parser<'a> {
    text: &'a str,
    place: Place,
    names: &'a mut Interner,
    at: usize,
    depth: usize,
    operators: usize,
}

impl Parser<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        match self.place.text_start {
            Some(first) => Span { start: first + start, end: first + end, ..self.place.literal },
            None => self.place.literal,
        }
    }

    fn error(&self, start: usize, end: usize, message: impl Into<String>) -> ExpressionError {
        ExpressionError { span: self.span(start, end), message: message.into(), help: None, instead: None }
    }

    fn constant(&self, start: usize, end: usize, value: Value) -> Expression {
        Expression { node: Node::Constant(value), span: self.span(start, end) }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    /// The length of the word at the current place.
    fn word_length(&self) -> usize {
        let rest = self.rest();
        rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(rest.len())
    }

    /// True where the keyword stands here as a whole word.
    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = &self.rest()[..self.word_length()] == keyword;
        if found {
            self.at += keyword.len();
        }
        found
    }

    fn leftover(&self) -> ExpressionError {
        let rest = self.rest();
        let length = rest.chars().next().map_or(0, char::len_utf8);
        let word = self.word_length().max(length);
        let found = &rest[..word];
        let mut error = self.error(self.at, self.at + word, format!("`{found}` does not belong here"));
        error.help = match found {
            "=" => Some("write `==` to compare".into()),
            "&" => Some("write `&&`".into()),
            "|" => Some("write `||`".into()),
            "and" => Some("write `&&`".into()),
            "or" => Some("write `||`".into()),
            "?" => Some("write `if a then b else c`".into()),
            _ => Some("an operator such as `+`, `==` or `&&` is expected between two values".into()),
        };
        error
    }

    fn expression(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(self.at, self.at, format!("the expression is nested more than {MAX_DEPTH} deep")));
        }
        self.skip_space();
        let start = self.at;
        let result = if self.eat_keyword("if") { self.conditional(start) } else { self.binary(1) };
        self.depth -= 1;
        result
    }

    fn conditional(&mut self, start: usize) -> Result<Expression, ExpressionError> {
        let condition = self.expression()?;
        self.expect_keyword("then", start)?;
        let yes = self.expression()?;
        self.expect_keyword("else", start)?;
        let no = self.expression()?;
        let span = self.span(start, self.at);
        Ok(Expression { node: Node::If(Box::new(condition), Box::new(yes), Box::new(no)), span })
    }

    fn expect_keyword(&mut self, keyword: &str, start: usize) -> Result<(), ExpressionError> {
        self.skip_space();
        if self.eat_keyword(keyword) {
            return Ok(());
        }
        let mut error = self.error(start, start + 2, format!("this `if` lacks its `{keyword}`"));
        error.help = Some("write `if condition then value else other-value`".into());
        Err(error)
    }

    fn operator(&mut self) -> Option<(Operator, usize)> {
        const OPERATORS: [(&str, Operator); 13] = [
            ("||", Operator::Or),
            ("&&", Operator::And),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
            ("+", Operator::Add),
            ("-", Operator::Subtract),
            ("*", Operator::Multiply),
            ("/", Operator::Divide),
            ("%", Operator::Remainder),
        ];
        let rest = self.rest();
        OPERATORS.iter().find(|(text, _)| rest.starts_with(text)).map(|(text, operator)| (*operator, text.len()))
    }

    /// Precedence climbing; `lowest` is the weakest operator that may be taken.
    fn binary(&mut self, lowest: u8) -> Result<Expression, ExpressionError> {
        let start = self.at;
        let mut left = self.unary()?;
        loop {
            let before = self.at;
            self.skip_space();
            let Some((operator, length)) = self.operator() else {
                self.at = before;
                return Ok(left);
            };
            if operator.precedence() < lowest {
                self.at = before;
                return Ok(left);
            }
            let place = self.at;
            if let Node::Binary(first, ..) = &left.node
                && operator.is_comparison()
                && first.is_comparison()
                && !self.text[start..before].ends_with(')')
            {
                let mut error = self.error(place, place + length, "comparisons cannot be chained");
                error.help = Some("write `a < b && b < c`, or use parentheses".into());
                return Err(error);
            }
            self.operators += 1;
            if self.operators > MAX_OPERATORS {
                let mut error = self.error(
                    place,
                    place + length,
                    format!("the expression has more than {MAX_OPERATORS} operators"),
                );
                error.help = Some("use `sum`, `any` or `all` over a list, or name parts of it with `let`".into());
                return Err(error);
            }
            self.at += length;
            self.skip_space();
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.error(place, place, format!("the expression is nested more than {MAX_DEPTH} deep")));
            }
            let right = self.binary(operator.precedence() + 1)?;
            self.depth -= 1;
            let span = self.span(start, self.at);
            left = Expression { node: Node::Binary(operator, Box::new(left), Box::new(right)), span };
        }
    }

    fn unary(&mut self) -> Result<Expression, ExpressionError> {
        self.skip_space();
        let start = self.at;
        let negative_number =
            self.rest().starts_with('-') && self.rest()[1..].starts_with(|c: char| c.is_ascii_digit());
        let is_not = self.rest().starts_with('!') && !self.rest().starts_with("!=");
        if is_not || (self.rest().starts_with('-') && !negative_number) {
            self.at += 1;
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.error(start, start, format!("the expression is nested more than {MAX_DEPTH} deep")));
            }
            let operand = Box::new(self.unary()?);
            self.depth -= 1;
            let node = if is_not { Node::Not(operand) } else { Node::Negate(operand) };
            return Ok(Expression { node, span: self.span(start, self.at) });
        }
        self.postfix(start)
    }

    fn postfix(&mut self, start: usize) -> Result<Expression, ExpressionError> {
        let mut value = self.primary()?;
        loop {
            if self.rest().starts_with('[') {
                self.at += 1;
                let index = self.expression()?;
                self.skip_space();
                if !self.eat("]") {
                    return Err(self.error(self.at, self.at, "this `[` is not closed by `]`"));
                }
                value =
                    Expression { node: Node::Index(Box::new(value), Box::new(index)), span: self.span(start, self.at) };
            } else if self.rest().starts_with('.') && !matches!(value.node, Node::Path { .. } | Node::Constant(_)) {
                let segments = self.segments()?;
                value = Expression { node: Node::Member(Box::new(value), segments), span: self.span(start, self.at) };
            } else {
                return Ok(value);
            }
        }
    }

    /// `.a.0.*`
    fn segments(&mut self) -> Result<Vec<Segment>, ExpressionError> {
        let mut segments = Vec::new();
        while self.rest().starts_with('.') {
            self.at += 1;
            let start = self.at;
            if self.eat("*") {
                let name = self.names.intern("*");
                segments.push(Segment { name, span: self.span(start, self.at), all: true });
                continue;
            }
            let length = self.word_length();
            if length == 0 {
                return Err(self.error(start - 1, start, "a name is missing after this dot"));
            }
            segments.push(self.segment(start, length));
            self.at += length;
        }
        Ok(segments)
    }

    fn segment(&mut self, start: usize, length: usize) -> Segment {
        let name: Symbol = self.names.intern(&self.text[start..start + length]);
        Segment { name, span: self.span(start, start + length), all: false }
    }

    fn primary(&mut self) -> Result<Expression, ExpressionError> {
        self.skip_space();
        let start = self.at;
        let Some(first) = self.rest().chars().next() else {
            let mut error = self.error(start, start, "the expression ends where a value is expected");
            error.help = Some("add the missing value".into());
            return Err(error);
        };
        match first {
            '(' => {
                self.at += 1;
                let inner = self.expression()?;
                self.skip_space();
                if !self.eat(")") {
                    return Err(self.error(start, start + 1, "this `(` is not closed by `)`"));
                }
                Ok(inner)
            }
            '[' => {
                self.at += 1;
                let items = self.list("]", start)?;
                Ok(Expression { node: Node::List(items), span: self.span(start, self.at) })
            }
            '\'' | '"' => self.text_constant(first),
            c if c.is_ascii_digit() || c == '-' => self.number(),
            c if c.is_alphabetic() || c == '_' => self.name(),
            c => {
                let mut error =
                    self.error(start, start + c.len_utf8(), format!("`{c}` does not belong here; a value is expected"));
                if c == '$' {
                    error.help = Some("inside an expression names stand without `$`".into());
                }
                Err(error)
            }
        }
    }

    /// Arguments or items up to `close`.
    fn list(&mut self, close: &str, open: usize) -> Result<Vec<Expression>, ExpressionError> {
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.eat(close) {
                return Ok(items);
            }
            items.push(self.argument()?);
            self.skip_space();
            if self.eat(",") {
                continue;
            }
            if !self.rest().starts_with(close) {
                if self.at == self.text.len() {
                    return Err(self.error(open, open + 1, format!("this is not closed by `{close}`")));
                }
                return Err(self.leftover());
            }
        }
    }

    /// An expression, or `x => expression`.
    fn argument(&mut self) -> Result<Expression, ExpressionError> {
        let start = self.at;
        let length = self.word_length();
        let after = self.text[start + length..].trim_start();
        if length == 0 || !after.starts_with("=>") {
            return self.expression();
        }
        let name = self.names.intern(&self.text[start..start + length]);
        self.at = self.text.len() - after.len() + 2;
        let body = self.expression()?;
        Ok(Expression { node: Node::Lambda(name, Box::new(body)), span: self.span(start, self.at) })
    }

    fn text_constant(&mut self, quote: char) -> Result<Expression, ExpressionError> {
        let start = self.at;
        self.at += 1;
        let Some(length) = self.rest().find(quote) else {
            return Err(self.error(start, start + 1, format!("this text is not closed by {quote}")));
        };
        let text: Arc<str> = Arc::from(&self.rest()[..length]);
        self.at += length + 1;
        Ok(self.constant(start, self.at, Value::Text(text)))
    }

    fn number(&mut self) -> Result<Expression, ExpressionError> {
        let start = self.at;
        let rest = self.rest();
        let unsigned = &rest[usize::from(rest.starts_with('-'))..];
        let sign = rest.len() - unsigned.len();
        let length =
            unsigned.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | ':'))).unwrap_or(unsigned.len());
        let mut end = sign + length;
        if rest[end..].starts_with("/s") && rest[..end].ends_with("bit") {
            end += 2;
        }
        let word = &rest[..end];
        let value = self.number_value(start, word)?;
        self.at += end;
        Ok(self.constant(start, self.at, value))
    }

    fn number_value(&self, start: usize, word: &str) -> Result<Value, ExpressionError> {
        let end = start + word.len();
        let plain = word.replace('_', "");
        if let Ok(number) = plain.parse::<i64>() {
            return Ok(Value::Integer(number));
        }
        let digits_only = plain.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.');
        if digits_only && !plain.ends_with('.') {
            if let Ok(number) = plain.parse::<f64>()
                && number.is_finite()
                && plain.matches('.').count() == 1
            {
                return Ok(Value::Number(number));
            }
            if let Ok(address) = plain.parse::<IpAddr>() {
                return Ok(Value::Ip(address));
            }
            return Err(self.error(start, end, format!("`{word}` is neither a number nor an address")));
        }
        if let Ok(address) = plain.parse::<IpAddr>() {
            return Ok(Value::Ip(address));
        }
        match quantity::read_any(&plain) {
            Ok(Amount::Bytes(bytes)) => Ok(Value::Bytes(bytes)),
            Ok(Amount::Duration(span)) => Ok(Value::Duration(span)),
            Ok(Amount::Bandwidth(bits)) => Ok(Value::Bandwidth(bits)),
            Err(QuantityError::WrongUnit { unit, meant }) => {
                let mut error = self.error(start, end, format!("`{unit}` is no unit"));
                error.help = Some("units are `KiB MiB GiB TiB`, `ms s m h d w y` and `Mbit/s`".into());
                error.instead = meant.map(|meant| word.replace(&unit, meant));
                Err(error)
            }
            Err(_) => Err(self.error(start, end, format!("`{word}` is neither a number nor an amount"))),
        }
    }

    fn name(&mut self) -> Result<Expression, ExpressionError> {
        let start = self.at;
        let length = self.word_length();
        let word = self.text[start..start + length].to_owned();
        let keyword = match word.as_str() {
            "true" => Some(Value::Boolean(true)),
            "false" => Some(Value::Boolean(false)),
            "unset" | "null" => Some(Value::Unset),
            "then" | "else" => {
                return Err(self.error(start, start + length, format!("`{word}` stands here without its `if`")));
            }
            _ => None,
        };
        self.at += length;
        if let Some(value) = keyword {
            return Ok(self.constant(start, self.at, value));
        }
        if self.rest().starts_with('(') {
            let open = self.at;
            self.at += 1;
            let arguments = self.list(")", open)?;
            let node = Node::Call(Arc::from(word), self.span(start, start + length), arguments);
            return Ok(Expression { node, span: self.span(start, self.at) });
        }
        let mut segments = vec![self.segment(start, length)];
        segments.extend(self.segments()?);
        Ok(Expression { node: Node::Path { root: Root::Unresolved, segments }, span: self.span(start, self.at) })
    }
}

#[cfg(test)]
#[path = "parser_tests.rs"]
mod tests;
