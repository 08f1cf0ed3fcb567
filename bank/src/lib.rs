//! The bank room of Tycoon.
