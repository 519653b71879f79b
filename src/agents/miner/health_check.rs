//! Repeats the known-answer tests while a miner runs, because a GPU that was correct at the start may fail when it is
//! hot or old.

use crate::{
    compute::{Backend, known_answers::passes},
    error::Error,
    kernels::{ALL, Kernel, cases::cases},
};
use std::cell::Cell;

/// Seed of the random test cases. Its value does not matter.
const SEED: u64 = 1;

/// A backend that is tested again and again.
pub(super) struct HealthCheck {
    backend: Backend,
    /// Index of the kernel that the next call of [`test_next`](Self::test_next) tests.
    next: Cell<usize>,
}

impl HealthCheck {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, next: Cell::new(0) }
    }

    /// Tests the known answers of one kernel. Each call tests the next kernel.
    pub(super) async fn test_next(&self) -> Result<(), Error> {
        let index = self.next.get();
        self.next.set((index + 1) % ALL.len());
        self.test(ALL[index]).await
    }

    /// Tests the known answers of all kernels.
    pub(super) async fn test_all(&self) -> Result<(), Error> {
        for kernel in ALL {
            self.test(kernel).await?;
        }
        Ok(())
    }

    async fn test(&self, kernel: &'static Kernel) -> Result<(), Error> {
        for case in cases(kernel, SEED) {
            passes(&self.backend, &case).await?;
        }
        Ok(())
    }
}
