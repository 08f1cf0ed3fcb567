//! Numbers and bytes in few bytes, for rows that nobody reads but this program.
//!
//! Numbers are written seven bits to a byte, the lowest first, each byte but the last with its highest bit set (LEB128).
//! Of signed ones the sign comes last, so that small ones are short on either side of zero.

/// Appends a number.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Appends a number that may be negative.
pub(super) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put_number(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Appends bytes, with their count before them.
pub(super) fn put_counted(bytes: &mut Vec<u8>, counted: &[u8]) {
    put_number(bytes, counted.len() as u64);
    bytes.extend_from_slice(counted);
}

/// Reads what was appended, in the same order; `None` where it is not what is asked for.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `count` bytes.
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// The next number.
    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// The next number that may be negative.
    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// The next bytes, whose count stands before them.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.bytes(usize::try_from(count).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_what_is_cut_or_too_long_does_not() {
        for number in [0, 1, -1, 63, -64, 64, 127, 128, 300, -300, i64::MAX, i64::MIN] {
            let (mut signed, mut plain) = (Vec::new(), Vec::new());
            put_signed(&mut signed, number);
            put_number(&mut plain, number.cast_unsigned());
            assert_eq!(Reader(&signed).signed(), Some(number));
            assert_eq!(Reader(&plain).number(), Some(number.cast_unsigned()));
            assert_eq!(Reader(&plain[..plain.len() - 1]).number(), None, "{number} is cut");
        }
        assert_eq!(Reader(&[0xff; 9]).number(), None);
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(Reader(&[&most[..], &[1]].concat()).number(), Some(u64::MAX));
        assert_eq!(Reader(&[&most[..], &[2]].concat()).number(), None, "more than 64 bits");
        let mut counted = Vec::new();
        put_counted(&mut counted, &[1; 200]);
        assert_eq!(Reader(&counted).counted(), Some(&[1; 200][..]));
        assert_eq!(Reader(&counted[..201]).counted(), None);
    }
}
