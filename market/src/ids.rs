//! Ids that clients make themselves, so that repeating a call is harmless.

use crate::hex_id::hex_id;

macro_rules! client_made_id {
    ($(#[$doc:meta])* $name:ident) => {
        hex_id!(
            $(#[$doc])*
            ///
            /// 128 bits that the client draws at random.
            $name
        );
    };
}

client_made_id!(
    /// A transfer in the bank's ledger.
    TransferId
);
client_made_id!(
    /// An escrow: money set aside at the bank for one host account. Its receipt carries the same id.
    EscrowId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_32_digits_and_reads_back() {
        let id = EscrowId::from_bytes([0xab; 16]);
        assert_eq!(id.to_string(), "ab".repeat(16));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "abababab");
        let small = TransferId::from_bytes(*b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07");
        assert_eq!(small.to_string().len(), 32, "leading zeros are kept");
        assert_eq!(small.to_string().parse(), Ok(small));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        let long = "a".repeat(33);
        let upper = "AB".repeat(16);
        for text in ["", "abc", &long, &upper, "+bababababababababababababababab", "zz"] {
            assert!(text.parse::<EscrowId>().is_err(), "{text:?} is no id");
        }
    }
}
