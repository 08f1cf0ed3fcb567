//! How services keep much that is alike in a small space.

use std::io::{self, Read as _};

/// What is written every few seconds is to be compressed in little time.
const LEVEL: i32 = 1;
/// What would be longer is damaged.
const BYTES_MAX: u64 = 1 << 30;

/// Bytes as they are kept.
///
/// # Errors
/// There is not enough memory for it.
pub fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(bytes, LEVEL)
}

/// The bytes that were compressed.
///
/// # Errors
/// What is not compressed bytes, or not all of them.
pub fn decompressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    zstd::stream::read::Decoder::new(bytes)?.take(BYTES_MAX).read_to_end(&mut out)?;
    Ok(out)
}
