//! A whole node: ledger, HTTP server and the operator's roles, opened together in one process.

pub(crate) mod embedded;
pub(crate) mod operator;
