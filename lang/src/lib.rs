//! The lang room of Tycoon.
