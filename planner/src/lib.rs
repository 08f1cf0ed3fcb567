//! The planner room of Tycoon.
