//! Connections to nodes, gateways and stores.

pub(crate) mod runtime;
pub(crate) mod sources;
pub(crate) mod transport;
