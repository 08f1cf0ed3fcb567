//! The rpc room of Tycoon.
