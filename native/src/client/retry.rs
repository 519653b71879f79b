//! RetryPolicy with nodes: what may pass is waited for, longer each time; of several nodes, the next is asked first.

use super::transport::Remote;
use crate::interrupt::Interrupt;
use r3mes_wgpu::client::{Client, ClientError, ErrorClass, Host};
use std::{
    fmt::Display,
    time::{Duration, Instant},
};

/// Longest wait between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// How often in a row something failed.
pub(crate) struct RetryPolicy<'a> {
    interrupt: &'a Interrupt,
    failures: u32,
}

impl<'a> RetryPolicy<'a> {
    pub(crate) fn new(interrupt: &'a Interrupt) -> Self {
        Self { interrupt, failures: 0 }
    }

    /// Something worked.
    pub(crate) fn renew(&mut self) {
        self.failures = 0;
    }

    /// Whether it makes sense to try again: the same, or with a node that was not asked since something worked.
    pub(crate) fn lasts(&self, class: ErrorClass, host: &Remote) -> bool {
        class == ErrorClass::Retryable || class == ErrorClass::Failover && self.failures + 1 < host.nodes()
    }

    /// Says what failed, and waits until it may be tried again, with another node where there is one.
    pub(crate) fn wait(&mut self, error: &dyn Display, host: &Remote) {
        self.failures = self.failures.saturating_add(1);
        host.another();
        // each of several nodes is asked before a pause
        match self.failures / host.nodes() {
            0 => eprintln!("{error}; asking another node"),
            rounds => {
                let pause = backoff(rounds);
                eprintln!("{error}; trying again in {:.0} s", pause.as_secs_f64());
                rest(pause, self.interrupt);
            }
        }
    }

    /// Asks until there is an answer, or no hope; `None` after Ctrl-C.
    pub(crate) fn ask<T>(
        &mut self,
        client: &Client<Remote>,
        mut attempt: impl FnMut() -> Result<T, ClientError>,
    ) -> Result<Option<T>, ClientError> {
        while !self.interrupt.asked() {
            match attempt() {
                Ok(answer) => {
                    self.renew();
                    return Ok(Some(answer));
                }
                Err(error) if self.lasts(error.class(), client.host()) => self.wait(&error, client.host()),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// 1, 2, 4 … 60 seconds, each shortened at random by up to a half, so that miners do not return all at once.
fn backoff(failures: u32) -> Duration {
    let whole = Duration::from_secs(1 << (failures - 1).min(6)).min(MAX_BACKOFF);
    let mut random = [0; 1];
    // without randomness the whole wait is as good
    let share = getrandom::fill(&mut random).map_or(255, |()| random[0]);
    whole / 2 + whole * u32::from(share) / 510
}

/// Waits, or until Ctrl-C.
pub(crate) fn rest(pause: Duration, interrupt: &Interrupt) {
    let end = Instant::now() + pause;
    while Instant::now() < end && !interrupt.asked() {
        std::thread::sleep(Duration::from_millis(50).min(pause));
    }
}
