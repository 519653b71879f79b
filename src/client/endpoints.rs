//! Several nodes of one chain. One is asked until it is of no use; then the next that is of the same chain.

use super::{JOB, JobInfo, Offline, Request, Response, parse};
use crate::client::gateway;
use std::{
    cell::{Cell, RefCell},
    fmt,
};

/// Blocks that a node may be behind the highest that was seen, and be asked before others.
const LAG: u64 = 5;

/// Which of some nodes is asked.
#[derive(Debug)]
pub struct Endpoints {
    /// Their URLs: for people.
    names: Vec<String>,
    at: Cell<usize>,
    /// Whether that one was found fit.
    fit: Cell<bool>,
    /// Chain id and genesis of all.
    chain: RefCell<Option<(String, String)>>,
    /// The highest block that was seen.
    height: Cell<u64>,
}

/// Why a node is not asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// It does not answer, or makes no sense.
    #[error("{name}: {reason}")]
    Useless {
        /// Its URL.
        name: String,
        /// As the client puts it.
        reason: String,
    },
    /// It is of another chain than those before.
    #[error("{name} is of the chain {found}, not {expected}")]
    OtherChain {
        /// Its URL.
        name: String,
        /// Its chain id and genesis.
        found: String,
        /// Those of the others.
        expected: String,
    },
}

impl Endpoints {
    /// Of these URLs, the first comes first. A single one is asked without a look at its chain.
    pub fn new(names: Vec<String>) -> Self {
        let fit = Cell::new(names.len() < 2);
        Self { names, at: Cell::default(), fit, chain: RefCell::default(), height: Cell::default() }
    }

    /// As given.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// As [`Host::saw`](super::Host::saw).
    pub fn saw(&self, height: u64) {
        self.height.set(self.height.get().max(height));
    }

    /// As [`Host::another`](super::Host::another).
    pub fn another(&self) {
        if self.names.len() > 1 {
            self.at.set((self.at.get() + 1) % self.names.len());
            self.fit.set(false);
        }
    }

    /// Asks the one whose turn it is, by its number; first finds one that is fit. Nothing is asked of two nodes: what
    /// failed with one is for the caller to begin anew with another, from its blocks to its transaction.
    pub async fn request(
        &self,
        request: Request<'_>,
        ask: impl AsyncFn(usize, Request<'_>) -> Result<Response, Offline>,
    ) -> Result<Response, Offline> {
        ask(self.turn(&ask).await?, request).await
    }

    /// The number of the one whose turn it is; first finds one that is fit.
    pub async fn turn(
        &self,
        ask: impl AsyncFn(usize, Request<'_>) -> Result<Response, Offline>,
    ) -> Result<usize, Offline> {
        if !self.fit.get() {
            self.choose(&ask).await?;
        }
        Ok(self.at.get())
    }

    /// Looks at all; says what is wrong with some.
    pub async fn survey(&self, ask: impl AsyncFn(usize, Request<'_>) -> Result<Response, Offline>) -> Vec<Unfit> {
        let mut unfit = Vec::new();
        for at in 0..self.names.len() {
            unfit.extend(self.look(at, &ask).await.err());
        }
        unfit
    }

    /// The next that is of the chain and not behind; where all are, the one that is least.
    async fn choose(&self, ask: &impl AsyncFn(usize, Request<'_>) -> Result<Response, Offline>) -> Result<(), Offline> {
        let (mut behind, mut reasons) = (None, Vec::new());
        for turn in 0..self.names.len() {
            let at = (self.at.get() + turn) % self.names.len();
            match self.look(at, ask).await {
                Ok(height) if height.saturating_add(LAG) >= self.height.get() => return self.take(at, height),
                Ok(height) => behind = behind.max(Some((height, at))),
                Err(unfit) => reasons.push(unfit.to_string()),
            }
        }
        match behind {
            Some((height, at)) => self.take(at, height),
            None => Err(Offline(reasons.join("; "))),
        }
    }

    fn take(&self, at: usize, height: u64) -> Result<(), Offline> {
        self.at.set(at);
        self.fit.set(true);
        self.height.set(height);
        Ok(())
    }

    /// A node's height, if it is of the chain. The first that answers says which that is.
    async fn look(
        &self,
        at: usize,
        ask: &impl AsyncFn(usize, Request<'_>) -> Result<Response, Offline>,
    ) -> Result<u64, Unfit> {
        let name = || self.names[at].clone();
        let useless = |reason: &dyn fmt::Display| Unfit::Useless { name: name(), reason: reason.to_string() };
        let answer = ask(at, Request { path: JOB, body: None }).await.map_err(|offline| useless(&offline.0))?;
        let answer = gateway::accepted(answer).map_err(|error| useless(&error))?;
        let JobInfo { chain_id, genesis, height, .. } = parse(JOB, &answer).map_err(|error| useless(&error))?;
        let found = (chain_id, genesis);
        let mut chain = self.chain.borrow_mut();
        let expected = chain.get_or_insert_with(|| found.clone());
        if *expected != found {
            let text = |(id, genesis): &(String, String)| format!("{id} of the genesis {genesis}");
            return Err(Unfit::OtherChain { name: name(), found: text(&found), expected: text(expected) });
        }
        Ok(height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;
    use serde_json::json;

    /// Nodes by their chain and height; those without do not answer. Says who was asked for what.
    struct Nodes {
        endpoints: Endpoints,
        heads: RefCell<Vec<Option<(&'static str, u64)>>>,
        asked: RefCell<Vec<(usize, String)>>,
    }

    impl Nodes {
        fn new(heads: &[Option<(&'static str, u64)>]) -> Self {
            let names = (0..heads.len()).map(|at| format!("node {at}")).collect();
            let (endpoints, heads) = (Endpoints::new(names), RefCell::new(heads.to_vec()));
            Self { endpoints, heads, asked: RefCell::default() }
        }

        fn ask(&self, at: usize, request: Request<'_>) -> Result<Response, Offline> {
            self.asked.borrow_mut().push((at, request.path.to_owned()));
            let (chain_id, height) = self.heads.borrow()[at].ok_or_else(|| Offline("refused".to_owned()))?;
            let job = json!({
                "chain_id": chain_id, "genesis": "", "height": height, "time": 0, "arithmetic_version": 1, "model": "",
                "rank": 4, "targets": [], "round": 0, "accepted": 0, "reward": 0,
            });
            Ok(Response { status: 200, body: job.to_string().into_bytes() })
        }

        /// Who answers a question.
        fn answers(&self) -> Result<usize, Offline> {
            let request = Request { path: "/question", body: None };
            block_on(self.endpoints.request(request, async |at, request| self.ask(at, request)))?;
            Ok(self.asked.borrow().last().unwrap().0)
        }
    }

    #[test]
    fn one_is_asked_until_it_is_of_no_use_and_then_the_next_that_is_fit() {
        let nodes = Nodes::new(&[Some(("a", 9)), Some(("b", 9)), Some(("a", 3)), Some(("a", 5)), None]);
        nodes.endpoints.saw(9);
        assert_eq!((nodes.answers(), nodes.answers()), (Ok(0), Ok(0)));
        assert_eq!(nodes.asked.borrow().iter().filter(|(_, path)| path == JOB).count(), 1, "it is looked at once");
        nodes.endpoints.another();
        assert_eq!(nodes.answers(), Ok(3), "another chain's and one that is behind are passed over");
        nodes.endpoints.another();
        assert_eq!(nodes.answers(), Ok(0), "and one that does not answer");
    }

    #[test]
    fn where_all_are_behind_the_highest_is_asked_and_where_none_is_fit_all_reasons_are_said() {
        let nodes = Nodes::new(&[Some(("a", 100)), Some(("a", 20)), Some(("a", 30))]);
        assert_eq!(nodes.answers(), Ok(0));
        nodes.heads.borrow_mut()[0] = None;
        nodes.endpoints.another();
        assert_eq!(nodes.answers(), Ok(2));
        *nodes.heads.borrow_mut() = vec![None, Some(("b", 200)), None];
        nodes.endpoints.another();
        let Offline(reasons) = nodes.answers().unwrap_err();
        assert!(reasons.contains("node 0: refused") && reasons.contains("node 1 is of the chain b"), "{reasons}");
        *nodes.heads.borrow_mut() = vec![None, None, Some(("a", 31))];
        assert_eq!(nodes.answers(), Ok(2), "and again later");
    }

    #[test]
    fn a_single_one_is_asked_as_it_is() {
        let nodes = Nodes::new(&[Some(("a", 1))]);
        nodes.endpoints.another();
        assert_eq!(nodes.answers(), Ok(0));
        assert_eq!(nodes.asked.borrow().len(), 1);
    }

    #[test]
    fn a_survey_names_those_that_are_unfit() {
        let nodes = Nodes::new(&[Some(("a", 1)), None, Some(("b", 1))]);
        let unfit = block_on(nodes.endpoints.survey(async |at, request| nodes.ask(at, request)));
        assert!(matches!(&unfit[..], [Unfit::Useless { .. }, Unfit::OtherChain { .. }]), "{unfit:?}");
    }
}
