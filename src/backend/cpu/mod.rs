//! The CPU backend: every kernel's twin, on all cores.

pub mod player;
