//! The search for transactions by the attributes of their events.

use super::{EventQuery, RpcError, check_no_proof, methods, number, text};
use crate::{
    node::{FoundTx, TxPlace},
    server::state::AppState,
};
use serde_json::{Value, json};

/// The number of transactions on a page if the call does not state a number. A call may ask for at most [`MAX_PAGE`]
/// transactions.
const DEFAULT_PAGE: usize = 30;
pub(in crate::server) const MAX_PAGE: usize = 100;

/// The page of search results that a client asks for: which of the transactions that were found, and in which order.
pub(in crate::server) struct TxPage {
    /// The number of transactions before the page.
    pub(in crate::server) skipped: usize,
    pub(in crate::server) limit: usize,
    /// Whether the transactions are in descending order, so that the latest transaction comes first.
    pub(in crate::server) descending: bool,
}

/// Returns a page of the transactions that satisfy a query, and the total number of transactions that satisfy it.
/// Returns an error if the page would begin after the last of them. Only the first page may be empty.
pub(in crate::server) fn find(app: &AppState, query: &str, page: &TxPage) -> Result<(Vec<FoundTx>, usize), RpcError> {
    let query: EventQuery =
        query.parse().map_err(|error: String| RpcError::invalid(format!("invalid query: {error}")))?;
    let mut places = app.node.search(query.into_filter())?.ok_or_else(|| {
        RpcError::invalid(
            "too many transactions match a condition of the query: limit it by tx.height, as in tx.height>=5",
        )
    })?;
    let (total, TxPage { skipped, limit, descending }) = (places.len(), page);
    if *skipped > 0 && *skipped >= total {
        let last = total.div_ceil(*limit).max(1);
        return Err(RpcError::invalid(format!(
            "page should be within [1, {last}] range, given {}",
            (skipped / limit).saturating_add(1)
        )));
    }
    if *descending {
        places.reverse();
    }
    let places: Vec<TxPlace> = places.into_iter().skip(*skipped).take(*limit).collect();
    Ok((app.node.transactions(&places)?, total))
}

/// Executes the JSON-RPC method `tx_search`, which returns a page of the transactions that satisfy a query.
pub(super) fn tx_search(app: &AppState, params: &Value) -> Result<Value, RpcError> {
    check_no_proof(params)?;
    let limit = match number(params, "per_page")? {
        None | Some(0) => DEFAULT_PAGE,
        Some(limit) => usize::try_from(limit).unwrap_or(MAX_PAGE).min(MAX_PAGE),
    };
    let page = number(params, "page")?.unwrap_or(1);
    let before = page.checked_sub(1).ok_or_else(|| RpcError::invalid("page should be at least 1, given 0"))?;
    let skipped = usize::try_from(before).ok().and_then(|before| before.checked_mul(limit)).unwrap_or(usize::MAX);
    let descending = match text(params, "order_by")? {
        "" | "asc" => false,
        "desc" => true,
        _ => return Err(RpcError::invalid("expected order_by to be either `asc` or `desc` or empty")),
    };
    let (txs, total) = find(app, text(params, "query")?, &TxPage { skipped, limit, descending })?;
    let txs: Vec<Value> = txs.iter().map(methods::tx_json).collect();
    Ok(json!({ "total_count": total.to_string(), "txs": txs }))
}
