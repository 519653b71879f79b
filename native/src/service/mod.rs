//! A complete node in one process: the ledger, the HTTP server, and the operator with its roles (verifier, proposer,
//! challenger).

pub(crate) mod embedded;
pub(crate) mod operator;
