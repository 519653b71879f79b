//! A list of nodes of the same chain. The client uses one of them until it fails, and then switches to another.

use super::{JOB, JobInfo, NoResponse, Request, Response, parse};
use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// The largest number of blocks by which a node may be behind the highest known block. A node that is further behind is
/// used only if all nodes are that far behind.
const MAX_LAG_BLOCKS: u64 = 5;

/// A list of nodes of the same chain. One of them is the current node, which receives the requests.
#[derive(Debug)]
pub struct Endpoints {
    /// The nodes' URLs, as error messages show them.
    names: Vec<String>,
    current: Cell<usize>,
    /// Whether the current node is known to respond and to belong to the chain. Always true if there is only one node.
    checked: Cell<bool>,
    /// The chain ID and the genesis hash that every node must report; `None` until a node has responded. The first
    /// response sets them.
    chain: RefCell<Option<(String, String)>>,
    /// The block height with which the heights of nodes are compared: the greatest one reported since the current node
    /// was chosen.
    height: Cell<u64>,
}

/// Error returned when a node cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The node did not respond, or its response was invalid.
    #[error("{name}: {reason}")]
    Unusable {
        /// URL of the node.
        name: String,
        /// Why the node cannot be used, as text.
        reason: String,
    },
    /// The node and the node that responded first belong to different chains.
    #[error("node {name} belongs to {found}, but another node belongs to {expected}; pass nodes of one chain only")]
    OtherChain {
        /// URL of the node.
        name: String,
        /// Text with the chain ID and the genesis hash of this node.
        found: String,
        /// Text with the chain ID and the genesis hash of the node that responded first.
        expected: String,
    },
}

impl Endpoints {
    /// Creates a list of nodes from their URLs. The node with the first URL is tried first. If there is only one URL,
    /// its node is used without a check of its chain and height.
    pub fn new(names: Vec<String>) -> Self {
        let checked = Cell::new(names.len() < 2);
        Self { names, current: Cell::default(), checked, chain: RefCell::default(), height: Cell::default() }
    }

    /// Returns the URLs of the nodes, in the order in which they are tried.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Records that the chain has reached this block height. Nodes that are far behind this height are then avoided.
    pub fn observe_height(&self, height: u64) {
        self.height.set(self.height.get().max(height));
    }

    /// Makes the next node the current one. It is checked before it receives its first request. Does nothing if there
    /// is only one node.
    pub fn fail_over(&self) {
        if self.names.len() > 1 {
            self.current.set((self.current.get() + 1) % self.names.len());
            self.checked.set(false);
        }
    }

    /// Calls `send` with the index of the current node and the request. If the request fails, it is not sent to another
    /// node. The caller must then [fail over](Self::fail_over) and repeat the whole operation with the next node: store
    /// the blocks there, and then send the transaction.
    pub async fn request(
        &self,
        request: Request<'_>,
        send: impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<Response, NoResponse> {
        send(self.current(&send).await?, request).await
    }

    /// Returns the index of the current node. If that node has not been checked yet, checks the nodes with requests
    /// that `send` sends, starting with the current node. The first node that can be used becomes the current one.
    pub async fn current(
        &self,
        send: impl AsyncFn(usize, Request<'_>) -> Result<Response, NoResponse>,
    ) -> Result<usize, NoResponse> {
        if !self.checked.get() {
            self.choose(&send).await?;
        }
        Ok(self.current.get())
    }

    /// Checks with `send` that every node responds and belongs to the same chain. Returns one error for each node that
    /// cannot be used.
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

    /// Checks the nodes, starting with the current one, and makes one of them the new current node: the first that
    /// belongs to the chain and whose block height is at most [`MAX_LAG_BLOCKS`] below the highest known one. If all
    /// nodes are further behind, the node with the greatest height is taken.
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

    /// Returns a node's block height, or an error if the node belongs to a different chain than the node that responded
    /// first.
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
            let text = |(id, genesis): &(String, String)| format!("chain {id} with the genesis hash {genesis}");
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

    /// Simulated nodes. `heads` has an entry for each node: the chain ID and the block height that the node reports, or
    /// `None` if the node does not respond. All requests are recorded in `requests`.
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

        /// Sends a request through `endpoints` and returns the index of the node that received it.
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
        assert_eq!(nodes.requests.borrow().iter().filter(|(_, path)| path == JOB).count(), 1, "only 1 check is sent");
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(3), "nodes that lag or belong to another chain are skipped");
        nodes.endpoints.fail_over();
        assert_eq!(nodes.responder(), Ok(0), "the node that does not respond is skipped");
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
        assert_eq!(nodes.responder(), Ok(2), "a node that responds again is used again");
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
