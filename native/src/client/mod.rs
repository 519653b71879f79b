//! Connections to nodes, gateways and stores over HTTP.

pub(crate) mod agent;
pub(crate) mod runtime;
pub(crate) mod sources;
pub(crate) mod transport;
