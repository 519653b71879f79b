//! Runs the library's drivers on a thread of this process.

use super::transport::Remote;
use crate::interrupt::Interrupt;
use pollster::block_on;
use r3mes_wgpu::{
    agents::driver::{self, Runtime},
    client::{Client, ClientError, Connection, Retry},
};
use std::{
    fmt::Display,
    thread::sleep,
    time::{Duration, Instant},
};

/// How often a waiting thread checks whether to stop.
const CHECK: Duration = Duration::from_millis(50);

/// A runtime that blocks its thread while it waits.
pub(crate) struct ThreadRuntime<F> {
    should_stop: F,
    start: Instant,
}

impl<F: Fn() -> bool> ThreadRuntime<F> {
    /// Creates a runtime that stops its driver when `should_stop` returns true.
    pub(crate) fn new(should_stop: F) -> Self {
        Self { should_stop, start: Instant::now() }
    }
}

impl<F: Fn() -> bool> Runtime for ThreadRuntime<F> {
    fn should_stop(&self) -> bool {
        (self.should_stop)()
    }

    async fn wait(&self, milliseconds: u32) {
        let end = Instant::now() + Duration::from_millis(milliseconds.into());
        while !self.should_stop() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            sleep(left.min(CHECK));
        }
    }

    fn random(&self) -> u32 {
        random()
    }

    fn now_ms(&self) -> f64 {
        self.start.elapsed().as_secs_f64() * 1000.0
    }
}

/// Returns a random `u32`, or 0 if the operating system provides no randomness. With 0, a backoff is not shortened.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}

/// Sends a request until it succeeds or no retry can help. Returns `None` after Ctrl-C.
pub(crate) fn retry<T>(
    client: &Client<Remote>,
    interrupt: &Interrupt,
    attempt: impl AsyncFnMut() -> Result<T, ClientError>,
) -> Result<Option<T>, ClientError> {
    let runtime = ThreadRuntime::new(|| interrupt.is_requested());
    let advice = fail_over_advice(client.host().node_count());
    let on_retry = |error: &ClientError, retry| report_retry(error, retry, advice);
    block_on(driver::retry(client.host(), &runtime, attempt, on_retry))
}

/// Prints the error, how the program retries, and what the user can do.
pub(crate) fn report_retry(error: &dyn Display, retry: Retry, advice: &str) {
    match retry {
        Retry::NextNode => eprintln!("{error}. Trying the next node."),
        Retry::After(milliseconds) => {
            eprintln!("{error}. Retrying in {:.0} s{advice}.", f64::from(milliseconds) / 1000.0);
        }
    }
}

/// Returns the advice to pass another `--node` if there is only one node, else an empty string.
pub(crate) fn fail_over_advice(nodes: u32) -> &'static str {
    if nodes == 1 { "; pass another --node to fail over" } else { "" }
}
