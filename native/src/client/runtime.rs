//! Runs the library's drivers (the loops that run a miner or an operator step by step) on a thread of this process.

use super::transport::Remote;
use crate::{interrupt::Interrupt, output::note};
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

/// The interval at which a waiting thread checks whether it must stop.
const CHECK: Duration = Duration::from_millis(50);

/// If the process is asked to stop while the node has not yet accepted or rejected submitted work, a driver (the loop
/// of a miner or an operator) waits at most this time for the result. It usually arrives in time, so that the driver
/// can report it before it stops.
const VERDICT_TIME: Duration = Duration::from_secs(2);

/// A [`Runtime`] for a driver (the loop of a miner or an operator) that has a thread of its own. While the driver
/// waits, this thread sleeps.
pub(crate) struct ThreadRuntime<F> {
    should_stop: F,
    interrupt: Option<Interrupt>,
    start: Instant,
}

impl<F: Fn() -> bool> ThreadRuntime<F> {
    /// Creates a runtime. A driver (the loop of a miner or an operator) that uses this runtime stops soon after
    /// `should_stop` has begun to return true.
    pub(crate) fn new(should_stop: F) -> Self {
        Self { should_stop, interrupt: None, start: Instant::now() }
    }

    /// Makes the driver (the loop of a miner or an operator) stop after a request to stop. Before the driver stops, it
    /// waits at most two seconds until the node accepts or rejects the submitted work.
    pub(crate) fn with_interrupt(self, interrupt: Interrupt) -> Self {
        Self { interrupt: Some(interrupt), ..self }
    }
}

impl<F: Fn() -> bool> Runtime for ThreadRuntime<F> {
    fn should_stop(&self) -> bool {
        self.interrupt.is_some_and(Interrupt::is_requested) || (self.should_stop)()
    }

    fn gives_up_waiting(&self) -> bool {
        self.interrupt.is_some_and(|interrupt| interrupt.was_requested_before(VERDICT_TIME))
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

/// Returns a random `u32` that decides by how much the wait before a retry is shortened. If the operating system
/// provides no randomness, returns 0, with which the wait has its full length.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}

/// Sends a request, and repeats it after each error that a retry may resolve. Returns the response, or the first error
/// that no retry can resolve. Returns `None` after Ctrl-C.
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

/// Prints the error and how the program retries. If the program waits before the retry, also prints `advice`, which
/// tells the user what to do.
pub(crate) fn report_retry(error: &dyn Display, retry: Retry, advice: &str) {
    match retry {
        Retry::NextNode => note!("{error}. Trying the next node."),
        Retry::After(milliseconds) => {
            note!("{error}. Retrying in {:.0} s{advice}.", f64::from(milliseconds) / 1000.0);
        }
    }
}

/// If the program knows only one node, returns the advice to pass another `--node`. Otherwise returns an empty string.
pub(crate) fn fail_over_advice(nodes: u32) -> &'static str {
    if nodes == 1 { "; pass another --node to fail over" } else { "" }
}
