//! The executor room of Tycoon.
