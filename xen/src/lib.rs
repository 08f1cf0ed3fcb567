//! The xen room of Tycoon.
