//! Decides how long to wait before a retry, and whether to retry with another node.

use super::ErrorClass;

/// The longest waiting time of the default [`Backoff`], in milliseconds.
const MAX_BACKOFF_MS: u32 = 60_000;

/// Waiting times between retries. They double from 1 s to 60 s, or to another maximum. Each is shortened at random by
/// up to a half, so that the clients of a node that was down do not all send their requests again at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    failures: u32,
    max_ms: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::up_to(MAX_BACKOFF_MS)
    }
}

impl Backoff {
    /// Creates a backoff whose waiting times double from 1 s to `max_ms` milliseconds, and never exceed that.
    pub fn up_to(max_ms: u32) -> Self {
        Self { failures: 0, max_ms }
    }

    /// Starts again with the shortest waiting time. Called after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns how many milliseconds to wait before the retry. `random`, a uniformly random `u32`,
    /// decides by how much the wait is shortened.
    pub fn next_ms(&mut self, random: u32) -> u32 {
        self.failures = self.failures.saturating_add(1);
        let whole = self.whole_ms();
        whole - (u64::from(whole / 2) * u64::from(random) / u64::from(u32::MAX)) as u32
    }

    /// Returns whether the waiting time has grown to the maximum.
    pub fn is_longest(&self) -> bool {
        self.failures > 0 && self.whole_ms() == self.max_ms
    }

    /// Returns the waiting time in milliseconds, not yet shortened at random.
    fn whole_ms(&self) -> u32 {
        (1000 << self.failures.saturating_sub(1).min(6)).min(self.max_ms)
    }
}

/// How to retry after a request to one of several nodes has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Retry immediately with the next node.
    NextNode,
    /// Wait this many milliseconds, then retry.
    After(u32),
}

/// Decides what follows a failed request: a retry with the next node, a retry after a wait, or no retry.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    nodes: u32,
    /// The number of failures since the last success, counted over all nodes.
    failures: u32,
    /// Computes the waiting times. A waiting time grows when all nodes have failed in turn, not with each single
    /// failure.
    backoff: Backoff,
}

impl RetryPolicy {
    /// Creates a policy for a number of nodes. Before the first wait, every node is tried once. From then on, the
    /// waiting time grows each time that all nodes have failed again.
    pub fn new(nodes: u32, backoff: Backoff) -> Self {
        Self { nodes: nodes.max(1), failures: 0, backoff }
    }

    /// Forgets all failures, so that every node is tried once before the next wait. Called after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns how to retry. Returns `None` if a retry cannot help: the error is fatal, or it
    /// needs another node and every node has failed since the last success. `random`, a uniformly random `u32`, decides
    /// by how much the waiting time is shortened.
    pub fn after(&mut self, class: ErrorClass, random: u32) -> Option<Retry> {
        let gives_up = match class {
            ErrorClass::Retryable => false,
            ErrorClass::Failover => self.failures + 1 >= self.nodes,
            ErrorClass::Fatal => true,
        };
        if gives_up {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        Some(match self.failures / self.nodes {
            0 => Retry::NextNode,
            rounds => Retry::After(Backoff { failures: rounds - 1, ..self.backoff }.next_ms(random)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_double_up_to_the_maximum_and_are_shortened_by_at_most_a_half() {
        let (mut longest, mut shortest) = (Backoff::default(), Backoff::default());
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(longest.next_ms(0), 1000 * seconds);
            assert_eq!(shortest.next_ms(u32::MAX), 500 * seconds);
            assert_eq!(longest.is_longest(), seconds == 60);
        }
        longest.reset();
        assert!(!longest.is_longest() && longest.next_ms(0) == 1000);
        assert_eq!([1, 2].map(|_| Backoff::up_to(700).next_ms(0)), [700, 700]);
    }

    #[test]
    fn all_nodes_are_tried_before_a_wait() {
        let mut policy = RetryPolicy::new(2, Backoff::default());
        for _ in 0..2 {
            let mut next = || policy.after(ErrorClass::Retryable, 0).unwrap();
            assert_eq!(next(), Retry::NextNode);
            assert_eq!([next(), next(), next(), next()], [1000, 1000, 2000, 2000].map(Retry::After));
            policy.reset();
        }
    }

    #[test]
    fn an_error_that_needs_another_node_is_final_when_all_nodes_have_failed() {
        let mut policy = RetryPolicy::new(3, Backoff::default());
        let mut next = |class| policy.after(class, 0);
        assert_eq!(next(ErrorClass::Failover), Some(Retry::NextNode));
        assert_eq!(next(ErrorClass::Failover), Some(Retry::NextNode));
        assert_eq!(next(ErrorClass::Failover), None);
        assert_eq!(next(ErrorClass::Retryable), Some(Retry::After(1000)));
        assert_eq!(next(ErrorClass::Fatal), None);
    }
}
