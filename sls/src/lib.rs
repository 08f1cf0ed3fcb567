//! The sls room of Tycoon.
