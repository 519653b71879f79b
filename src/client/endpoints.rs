//! Several nodes of the same chain, of which one is used until it fails.

use super::{JOB, JobInfo, NoResponse, Request, Response, parse};
use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// How many blocks a node may be behind the highest block seen. A node that lags more is used only if all nodes lag.
const MAX_LAG_BLOCKS: u64 = 5;

/// A list of nodes that belong to the same chain, and which of them is in use.
#[derive(Debug)]
pub struct Endpoints {
    /// URLs of the nodes, which error messages contain.
    names: Vec<String>,
    current: Cell<usize>,
    /// Whether the current node has passed the check.
    checked: Cell<bool>,
    /// Chain id and genesis hash that all nodes must have. Set by the first node that responds.
    chain: RefCell<Option<(String, String)>>,
    /// The greatest height that a node has reported.
    height: Cell<u64>,
}

/// Error returned when a node cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The node does not respond, or its response is invalid.
    #[error("{name}: {reason}")]
    Unusable {
        /// URL of the node.
        name: String,
        /// What failed.
        reason: String,
    },
    /// The node belongs to a different chain than the first node that responded.
    #[error("{name} belongs to {found}, not to {expected}; pass nodes of one chain")]
    OtherChain {
        /// URL of the node.
        name: String,
        /// Chain id and genesis hash of this node.
        found: String,
        /// Chain id and genesis hash of the node that responded first.
        expected: String,
    },
}

impl Endpoints {
    /// Creates a list of nodes from their URLs. The first URL is tried first. A single node is used without a check.
    pub fn new(names: Vec<String>) -> Self {
        let checked = Cell::new(names.len() < 2);
        Self { names, current: Cell::default(), checked, chain: RefCell::default(), height: Cell::default() }
    }

    /// Returns the URLs of the nodes, in the order in which they are tried.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Records that a block of this height exists, as [`Connection::observe_height`](super::Connection::observe_height)
    /// does.
    pub fn observe_height(&self, height: u64) {
        self.height.set(self.height.get().max(height));
    }

    /// Switches to the next node, as [`Connection::fail_over`](super::Connection::fail_over) does.
    pub fn fail_over(&self) {
        if self.names.len() > 1 {
            self.current.set((self.current.get() + 1) % self.names.len());
            self.checked.set(false);
        }
    }

    /// Passes a request to `send` with the index of the current node. The request goes to one node only. If it fails,
    /// the caller must repeat the whole operation with the next node, from storing the blocks to sending the
    /// transaction.
    pub async fn request(
        &self,
        request: Request<'_>,
        send: impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<Response, NoResponse> {
        send(self.current(&send).await?, request).await
    }

    /// Returns the index of the current node. If that node has not been checked, the next node that passes the check
    /// becomes the current one.
    pub async fn current(
        &self,
        send: impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<usize, NoResponse> {
        if !self.checked.get() {
            self.choose(&send).await?;
        }
        Ok(self.current.get())
    }

    /// Checks all nodes, and returns an error for each node that cannot be used.
    pub async fn check_all(
        &self,
        send: impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Vec<EndpointError> {
        let mut errors = Vec::new();
        for node in 0..self.names.len() {
            errors.extend(self.check(node, &send).await.err());
        }
        errors
    }

    /// Chooses the next node of the chain that does not lag. If all lag, chooses the one with the greatest height.
    async fn choose(
        &self,
        send: &impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<(), NoResponse> {
        let (mut lagging, mut reasons) = (None, Vec::new());
        for turn in 0..self.names.len() {
            let node = (self.current.get() + turn) % self.names.len();
            match self.check(node, send).await {
                Ok(height) if height.saturating_add(MAX_LAG_BLOCKS) >= self.height.get() => {
                    return self.select(node, height);
                }
                Ok(height) => lagging = lagging.max(Some((height, node))),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        match lagging {
            Some((height, node)) => self.select(node, height),
            None => Err(NoResponse(reasons.join("; "))),
        }
    }

    fn select(&self, node: usize, height: u64) -> Result<(), NoResponse> {
        self.current.set(node);
        self.checked.set(true);
        self.height.set(height);
        Ok(())
    }

    /// Returns a node's height if the node belongs to the chain. The first node that responds determines which chain
    /// that is.
    async fn check(
        &self,
        node: usize,
        send: &impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<u64, EndpointError> {
        let name = || self.names[node].clone();
        let unusable = |reason: &dyn fmt::Display| EndpointError::Unusable { name: name(), reason: reason.to_string() };
        let response = send(node, Request::get(JOB)).await.map_err(|error| unusable(&error.0))?;
        let body = response.into_body().map_err(|error| unusable(&error))?;
        let JobInfo { chain_id, genesis, height, .. } = parse(JOB, &body).map_err(|error| unusable(&error))?;
        let found = (chain_id, genesis);
        let mut chain = self.chain.borrow_mut();
        let expected = chain.get_or_insert_with(|| found.clone());
        if *expected != found {
            let text = |(id, genesis): &(String, String)| format!("chain {id} with genesis {genesis}");
            return Err(EndpointError::OtherChain { name: name(), found: text(&found), expected: text(expected) });
        }
        Ok(height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;

    /// Nodes that each report a chain id and a height. A node with `None` does not respond. All requests are recorded.
    struct Nodes {
        endpoints: Endpoints,
        heads: RefCell<Vec<Option<(&'static str, u64)>>>,
        requests: RefCell<Vec<(usize, String)>>,
    }

    impl Nodes {
        fn new(heads: &[Option<(&'static str, u64)>]) -> Self {
            let names = (0..heads.len()).map(|at| format!("node {at}")).collect();
            let (endpoints, heads) = (Endpoints::new(names), RefCell::new(heads.to_vec()));
            Self { endpoints, heads, requests: RefCell::default() }
        }

        fn send(&self, node: usize, request: Request<'_>) -> Result<Response, NoResponse> {
            self.requests.borrow_mut().push((node, request.path.to_owned()));
            let (chain_id, height) = self.heads.borrow()[node].ok_or_else(|| NoResponse("refused".to_owned()))?;
            let job = json!({
                "chain_id": chain_id, "genesis": "", "height": height, "time": 0, "arithmetic_version": 1, "model": "",
                "rank": 4, "targets": [], "round": 0, "accepted": 0, "reward": 0,
            });
            Ok(Response { status: 200, body: job.to_string().into_bytes() })
        }

        /// Sends a request and returns the index of the node that received it.
        fn responder(&self) -> Result<usize, NoResponse> {
            let request = Request::get("/path");
            block_on(self.endpoints.request(request, async |node, request| self.send(node, request)))?;
            Ok(self.requests.borrow().last().unwrap().0)
        }
    }

    #[test]
    fn fail_over_skips_nodes_that_lag_are_of_another_chain_or_do_not_respond() {
        let nodes = Nodes::new(&[Some(("a", 9)), Some(("b", 9)), Some(("a", 3)), Some(("a", 5)), None]);
        nodes.endpoints.observe_height(9);
        assert_eq!((nodes.responder(), nodes.responder()), (Ok(0), Ok(0)));
        assert_eq!(nodes.requests.borrow().iter().filter(|(_, path)| path == JOB).count(), 1, "it is checked once");
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(3), "the nodes that lag or are of another chain are skipped");
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(0), "and so is the one that does not respond");
    }

    #[test]
    fn if_all_nodes_lag_the_highest_is_used_and_if_none_is_usable_all_reasons_are_returned() {
        let nodes = Nodes::new(&[Some(("a", 100)), Some(("a", 20)), Some(("a", 30))]);
        assert_eq!(nodes.responder(), Ok(0));
        nodes.heads.borrow_mut()[0] = None;
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(2));
        *nodes.heads.borrow_mut() = vec![None, Some(("b", 200)), None];
        nodes.endpoints.fail_over();
        let NoResponse(reasons) = nodes.responder().unwrap_err();
        assert!(reasons.contains("node 0: refused") && reasons.contains("node 1 belongs to chain b"), "{reasons}");
        *nodes.heads.borrow_mut() = vec![None, None, Some(("a", 31))];
        assert_eq!(nodes.responder(), Ok(2), "usable again later");
    }

    #[test]
    fn a_single_node_is_used_without_a_check() {
        let nodes = Nodes::new(&[Some(("a", 1))]);
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(0));
        assert_eq!(nodes.requests.borrow().len(), 1);
    }

    #[test]
    fn check_all_returns_an_error_for_each_unusable_node() {
        let nodes = Nodes::new(&[Some(("a", 1)), None, Some(("b", 1))]);
        let errors = block_on(nodes.endpoints.check_all(async |node, request| nodes.send(node, request)));
        assert!(
            matches!(&errors[..], [EndpointError::Unusable { .. }, EndpointError::OtherChain { .. }]),
            "{errors:?}"
        );
    }
}
