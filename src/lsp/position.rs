//! Places: bytes on our side, lines and UTF-16 columns on the protocol's.

use std::ops::Range;

use lsp_types::Position;

/// The byte of a position; one behind the end of its line is that end, one behind the last line the end of the text.
pub fn offset(text: &str, position: Position) -> usize {
    let mut start = 0;
    for _ in 0..position.line {
        match text[start..].find('\n') {
            Some(newline) => start += newline + 1,
            None => return text.len(),
        }
    }
    let line = text[start..].split('\n').next().unwrap_or_default().trim_end_matches('\r');
    let mut column = 0;
    for (at, letter) in line.char_indices() {
        if column >= position.character as usize {
            return start + at;
        }
        column += letter.len_utf16();
    }
    start + line.len()
}

/// The position of a byte; one inside a character is the character's.
pub fn position(text: &str, offset: usize) -> Position {
    let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count();
    let character = before[line_start..].chars().map(char::len_utf16).sum::<usize>();
    // Texts are at most some MiB.
    Position { line: u32::try_from(line).unwrap_or(u32::MAX), character: u32::try_from(character).unwrap_or(u32::MAX) }
}

/// The protocol's range of a range of bytes.
pub fn range(text: &str, bytes: Range<usize>) -> lsp_types::Range {
    lsp_types::Range { start: position(text, bytes.start), end: position(text, bytes.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_utf_16_units() {
        let text = "é𝄞a\r\nb\n";
        for (byte, line, character) in [(0, 0, 0), (2, 0, 1), (6, 0, 3), (7, 0, 4), (9, 1, 0), (10, 1, 1), (11, 2, 0)] {
            assert_eq!(position(text, byte), Position { line, character }, "{byte}");
            assert_eq!(offset(text, Position { line, character }), byte, "{line}:{character}");
        }
        assert_eq!(offset(text, Position { line: 0, character: 99 }), 7, "before the line end");
        assert_eq!(offset(text, Position { line: 99, character: 0 }), text.len());
        assert_eq!(offset(text, Position { line: 0, character: 2 }), 6, "inside a pair: behind it");
        assert_eq!(position(text, 1), Position { line: 0, character: 0 }, "inside a character: before it");
        assert_eq!(position(text, 99), Position { line: 2, character: 0 });
    }
}
