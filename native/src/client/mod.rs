//! How this program talks to nodes, gateways and stores elsewhere.

pub(crate) mod retry;
pub(crate) mod sources;
pub(crate) mod transport;
