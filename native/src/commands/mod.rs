//! The commands of the program. Each command has a module, which also declares the command's flags.

pub(crate) mod adapter;
mod amounts;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod devices;
pub(crate) mod generate;
pub(crate) mod genesis;
pub(crate) mod mine;
pub(crate) mod model;
pub(crate) mod node;
pub(crate) mod quality;
pub(crate) mod train;
pub(crate) mod verifier;
pub(crate) mod verify;
pub(crate) mod wallet;
