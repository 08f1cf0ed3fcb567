//! KDL 2 as a list of tokens that covers every byte.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Spaces and tabs, and a byte order mark at the start.
    Space,
    /// One line end.
    Newline,
    /// `// …` without its line end.
    LineComment,
    /// `/* … */`, nested ones included.
    BlockComment,
    /// `\`, what follows it on its line, and the line end.
    Continuation,
    /// `;`
    Semicolon,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `(`
    OpenParen,
    /// `)`
    CloseParen,
    /// `=`
    Equals,
    /// `/-`
    SlashDash,
    /// A string in any kind of quotes.
    Text,
    /// A bare word.
    Word,
    /// A number.
    Number,
    /// `#true`, `#false`, `#null`, `#inf`, `#-inf`, `#nan`.
    Keyword,
}

/// A token: the bytes `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: TokenKind,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

/// Why a text is not a sequence of tokens. The bytes `start..end` are the culprit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LexicalError {
    /// What is wrong.
    pub(crate) kind: LexicalErrorKind,
    /// The first byte.
    pub(crate) start: usize,
    /// The byte after the last one.
    pub(crate) end: usize,
}

/// What is wrong with a text before its structure is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LexicalErrorKind {
    /// `"…` without its end.
    UnclosedString,
    /// `/* …` without its end.
    UnclosedComment,
    /// More comments in comments than allowed.
    CommentsTooDeep,
    /// A character that KDL does not allow anywhere.
    ForbiddenCharacter,
    /// A character that cannot start anything: `[`, `]`, a lone `/` or `#`.
    StrayCharacter,
    /// Something after `\` on its line.
    AfterContinuation,
    /// `#yes`
    UnknownKeyword,
    /// `true`, `null`, `inf` … without `#`.
    BareKeyword,
    /// `10g`, `10.0.0.1`: starts like a number, is none.
    NotANumber,
    /// `\q` in a string.
    UnknownEscape,
    /// Something behind the `"""` that opens a text of several lines.
    TextBesideQuotes,
    /// A line of such a text that does not begin as its last line does.
    OutsideMargin,
}

/// The tokens of `text`, or the first thing that is none.
pub(crate) fn tokens(text: &str, max_comment_depth: usize) -> Result<Vec<Token>, LexicalError> {
    let (tokens, error) = tokens_before_error(text, max_comment_depth);
    error.map_or(Ok(tokens), Err)
}

/// The tokens of `text` up to the first thing that is none, and that.
pub(crate) fn tokens_before_error(text: &str, max_comment_depth: usize) -> (Vec<Token>, Option<LexicalError>) {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::with_capacity(text.len() / 4), max_comment_depth };
    while lexer.at < text.len() {
        if let Err(error) = lexer.next_token() {
            return (lexer.tokens, Some(error));
        }
    }
    (lexer.tokens, None)
}

/// KDL's line ends, of one character (CR LF counts as one line end of two).
pub(crate) fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}')
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{200e}' | '\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// True where `c` may be part of a bare word.
pub(crate) fn is_word_character(c: char) -> bool {
    !is_newline(c)
        && !is_space(c)
        && !is_forbidden(c)
        && !matches!(c, '\\' | '/' | '(' | ')' | '{' | '}' | ';' | '[' | ']' | '"' | '#' | '=')
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    max_comment_depth: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        self.tokens.push(Token { kind, start: self.at, end: self.at + length });
        self.at += length;
    }

    fn error<T>(&self, kind: LexicalErrorKind, start: usize, end: usize) -> Result<T, LexicalError> {
        Err(LexicalError { kind, start, end })
    }

    fn next_token(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(()) };
        match first {
            '\u{feff}' if self.at == 0 => self.push(TokenKind::Space, first.len_utf8()),
            c if is_space(c) => {
                let length = rest.find(|c| !is_space(c)).unwrap_or(rest.len());
                self.push(TokenKind::Space, length);
            }
            '\r' if rest.starts_with("\r\n") => self.push(TokenKind::Newline, 2),
            c if is_newline(c) => self.push(TokenKind::Newline, c.len_utf8()),
            ';' => self.push(TokenKind::Semicolon, 1),
            '{' => self.push(TokenKind::OpenBrace, 1),
            '}' => self.push(TokenKind::CloseBrace, 1),
            '(' => self.push(TokenKind::OpenParen, 1),
            ')' => self.push(TokenKind::CloseParen, 1),
            '=' => self.push(TokenKind::Equals, 1),
            '/' => self.slash()?,
            '\\' => self.continuation()?,
            '"' => self.quoted()?,
            '#' => self.hash()?,
            c if is_forbidden(c) => {
                return self.error(LexicalErrorKind::ForbiddenCharacter, self.at, self.at + c.len_utf8());
            }
            c if is_word_character(c) => self.word()?,
            c => return self.error(LexicalErrorKind::StrayCharacter, self.at, self.at + c.len_utf8()),
        }
        Ok(())
    }

    fn slash(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        if rest.starts_with("/-") {
            self.push(TokenKind::SlashDash, 2);
        } else if rest.starts_with("//") {
            let length = rest.find(is_newline).unwrap_or(rest.len());
            self.forbid_in(length)?;
            self.push(TokenKind::LineComment, length);
        } else if rest.starts_with("/*") {
            let length = self.block_comment_length()?;
            self.forbid_in(length)?;
            self.push(TokenKind::BlockComment, length);
        } else {
            return self.error(LexicalErrorKind::StrayCharacter, self.at, self.at + 1);
        }
        Ok(())
    }

    /// Refuses forbidden characters in the next `length` bytes.
    fn forbid_in(&self, length: usize) -> Result<(), LexicalError> {
        match self.rest()[..length].char_indices().find(|(_, c)| is_forbidden(*c)) {
            Some((at, c)) => {
                self.error(LexicalErrorKind::ForbiddenCharacter, self.at + at, self.at + at + c.len_utf8())
            }
            None => Ok(()),
        }
    }

    fn block_comment_length(&self) -> Result<usize, LexicalError> {
        let bytes = self.rest().as_bytes();
        let (mut depth, mut at) = (0_usize, 0);
        while at + 1 < bytes.len() {
            match (bytes[at], bytes[at + 1]) {
                (b'/', b'*') => {
                    depth += 1;
                    at += 2;
                    if depth > self.max_comment_depth {
                        return self.error(LexicalErrorKind::CommentsTooDeep, self.at + at - 2, self.at + at);
                    }
                }
                (b'*', b'/') => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        return Ok(at);
                    }
                }
                _ => at += 1,
            }
        }
        self.error(LexicalErrorKind::UnclosedComment, self.at, self.at + 2)
    }

    /// `\`, then spaces and comments, then a line end or the end of the file.
    fn continuation(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        let mut length = 1;
        loop {
            let tail = &rest[length..];
            match tail.chars().next() {
                None => break,
                Some('\r') if tail.starts_with("\r\n") => {
                    length += 2;
                    break;
                }
                Some(c) if is_newline(c) => {
                    length += c.len_utf8();
                    break;
                }
                Some(c) if is_space(c) => length += c.len_utf8(),
                Some('/') if tail.starts_with("//") => length += tail.find(is_newline).unwrap_or(tail.len()),
                Some('/') if tail.starts_with("/*") => {
                    let start = self.at;
                    self.at += length;
                    let comment = self.block_comment_length();
                    self.at = start;
                    length += comment?;
                }
                Some(c) => {
                    let at = self.at + length;
                    return self.error(LexicalErrorKind::AfterContinuation, at, at + c.len_utf8());
                }
            }
        }
        self.forbid_in(length)?;
        self.push(TokenKind::Continuation, length);
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        let unclosed = LexicalError { kind: LexicalErrorKind::UnclosedString, start: self.at, end: self.at + 1 };
        let (open, multiline) = if rest.starts_with("\"\"\"") { (3, true) } else { (1, false) };
        let mut at = open;
        let mut characters = rest[open..].chars();
        while let Some(c) = characters.next() {
            if is_forbidden(c) {
                return self.error(LexicalErrorKind::ForbiddenCharacter, self.at + at, self.at + at + c.len_utf8());
            }
            match c {
                '\\' => {
                    let length = escape_length(&rest[at..]);
                    if length == 0 {
                        let end = rest[at..].chars().take(2).map(char::len_utf8).sum::<usize>();
                        return self.error(LexicalErrorKind::UnknownEscape, self.at + at, self.at + at + end);
                    }
                    at += length;
                    characters = rest[at..].chars();
                }
                '"' if !multiline => {
                    self.push(TokenKind::Text, at + 1);
                    return Ok(());
                }
                '"' if rest[at..].starts_with("\"\"\"") => {
                    self.check_lines(&rest[open..at], self.at + open)?;
                    self.push(TokenKind::Text, at + 3);
                    return Ok(());
                }
                c if is_newline(c) && !multiline => return Err(unclosed),
                c => at += c.len_utf8(),
            }
        }
        Err(unclosed)
    }

    /// Checks what stands between `"""`, at `start`: it begins with a line end, and every line that is not empty
    /// begins with the spaces before the closing quotes.
    fn check_lines(&self, body: &str, start: usize) -> Result<(), LexicalError> {
        let Some(first) = body.find(is_newline).filter(|end| body[..*end].is_empty()) else {
            let end = start + body.find(is_newline).unwrap_or(body.len());
            return self.error(LexicalErrorKind::TextBesideQuotes, start, end);
        };
        let last = body.char_indices().rev().find(|(_, c)| is_newline(*c)).map_or(first, |(at, c)| at + c.len_utf8());
        let margin = &body[last..];
        if body.contains('\\') || !margin.chars().all(is_space) {
            // Escapes of white space change what the lines are; the KDL parser judges these.
            return Ok(());
        }
        let mut at = 0;
        for line in body[..last].split(is_newline) {
            if !line.chars().all(is_space) && !line.starts_with(margin) {
                let spaces = line.len() - line.trim_start_matches(is_space).len();
                return self.error(LexicalErrorKind::OutsideMargin, start + at, start + at + spaces.max(1));
            }
            at += line.len();
            at += body[at..].chars().next().map_or(0, char::len_utf8);
        }
        Ok(())
    }

    /// `#"raw"#`, `##"""…"""##`, or a keyword.
    fn hash(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        let hashes = rest.bytes().take_while(|b| *b == b'#').count();
        let after = &rest[hashes..];
        if after.starts_with('"') {
            let quotes = if after.starts_with("\"\"\"") { 3 } else { 1 };
            let closing = format!("{}{}", "\"".repeat(quotes), "#".repeat(hashes));
            let body = &after[quotes..];
            let line_end = if quotes == 1 { body.find(is_newline).unwrap_or(body.len()) } else { body.len() };
            let Some(found) = body.find(&closing).filter(|found| *found <= line_end) else {
                return self.error(LexicalErrorKind::UnclosedString, self.at, self.at + hashes + quotes);
            };
            let length = hashes + quotes + found + closing.len();
            self.forbid_in(length)?;
            if quotes == 3 {
                self.check_lines(&body[..found], self.at + hashes + quotes)?;
            }
            self.push(TokenKind::Text, length);
            return Ok(());
        }
        let length = after.find(|c| !is_word_character(c)).unwrap_or(after.len());
        if hashes == 1 && matches!(&after[..length], "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            self.push(TokenKind::Keyword, 1 + length);
            return Ok(());
        }
        self.error(LexicalErrorKind::UnknownKeyword, self.at, self.at + hashes + length)
    }

    fn word(&mut self) -> Result<(), LexicalError> {
        let rest = self.rest();
        let length = rest.find(|c| !is_word_character(c)).unwrap_or(rest.len());
        let word = &rest[..length];
        let error = |kind| self.error(kind, self.at, self.at + length);
        if matches!(word, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
            return error(LexicalErrorKind::BareKeyword);
        }
        if !looks_like_a_number(word) {
            self.push(TokenKind::Word, length);
        } else if is_number(word) {
            self.push(TokenKind::Number, length);
        } else {
            return error(LexicalErrorKind::NotANumber);
        }
        Ok(())
    }
}

/// The length of the escape at the start of `text` (which starts with `\`); zero for one that KDL does not know.
fn escape_length(text: &str) -> usize {
    let after = &text[1..];
    match after.chars().next() {
        Some('n' | 'r' | 't' | '\\' | '"' | 'b' | 'f' | 's') => 2,
        Some('u') => {
            let Some(close) = after.strip_prefix("u{").and_then(|digits| digits.find('}')) else { return 0 };
            let digits = &after[2..2 + close];
            let valid = (1..=6).contains(&digits.len())
                && u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).is_some();
            if valid { 1 + 2 + close + 1 } else { 0 }
        }
        Some(c) if is_space(c) || is_newline(c) => {
            1 + after.find(|c| !is_space(c) && !is_newline(c)).unwrap_or(after.len())
        }
        _ => 0,
    }
}

fn looks_like_a_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let digits = unsigned.strip_prefix('.').unwrap_or(unsigned);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn is_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = unsigned.strip_prefix(prefix) {
            return digits.starts_with(|c: char| c.is_digit(radix))
                && digits.chars().all(|c| c == '_' || c.is_digit(radix));
        }
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit()) && part.chars().all(|c| c == '_' || c.is_ascii_digit())
    };
    digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text, 8).unwrap().into_iter().map(|token| token.kind).collect()
    }

    fn failure(text: &str) -> LexicalErrorKind {
        tokens(text, 8).unwrap_err().kind
    }

    #[test]
    fn tokens_cover_every_byte() {
        let text = "\u{feff}a (x)\"v\\\"\" p=#\"r\"# /-{ b 1.5e3; }\r\n// c\n/* /* d */ */ \\ // e\n #true\n\"\"\"\n x\n \"\"\"";
        let mut at = 0;
        for token in tokens(text, 8).unwrap() {
            assert_eq!(token.start, at);
            at = token.end;
        }
        assert_eq!(at, text.len());
    }

    #[test]
    fn every_kind_of_token_is_recognised() {
        use TokenKind::*;
        assert_eq!(kinds("a=1;"), [Word, Equals, Number, Semicolon]);
        assert_eq!(kinds("-a +b .c"), [Word, Space, Word, Space, Word]);
        assert_eq!(kinds("-1 0xF_f 1_000 1e-3"), [Number, Space, Number, Space, Number, Space, Number]);
        assert_eq!(kinds("{}()/-"), [OpenBrace, CloseBrace, OpenParen, CloseParen, SlashDash]);
    }

    #[test]
    fn mistakes_have_their_own_names() {
        use LexicalErrorKind::*;
        for (text, kind) in [
            ("\"abc", UnclosedString),
            ("\"ab\nc\"", UnclosedString),
            ("#\"abc\"", UnclosedString),
            ("/* a", UnclosedComment),
            ("/*/*/*/*/*/*/*/*/*", CommentsTooDeep),
            ("a \0", ForbiddenCharacter),
            ("[1]", StrayCharacter),
            ("a / b", StrayCharacter),
            ("a \\ b", AfterContinuation),
            ("#yes", UnknownKeyword),
            ("a true", BareKeyword),
            ("a 10g", NotANumber),
            ("a 10.0.0.1", NotANumber),
            ("a \"\\q\"", UnknownEscape),
            ("a \"\"\"x\"\"\"", TextBesideQuotes),
            ("a \"\"\"\n  x\n y\n  \"\"\"", OutsideMargin),
            ("a #\"\"\"\n  x\n y\n  \"\"\"#", OutsideMargin),
        ] {
            assert_eq!(failure(text), kind, "{text:?}");
        }
    }
}
