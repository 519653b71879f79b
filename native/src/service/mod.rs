//! A complete node: ledger, HTTP server and the operator's roles in one process.

pub(crate) mod embedded;
pub(crate) mod operator;
