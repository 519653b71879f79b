//! Repeats the known-answer tests, which compare each kernel with its reference kernel, while a miner runs. A GPU that
//! computed correctly at the start may fail later, for example because of heat or age.

use crate::{
    compute::{Backend, known_answers::passes},
    error::Error,
    kernels::{ALL, Kernel, cases::cases},
};
use std::cell::Cell;

/// Seed of the pseudorandom test cases. Any other value would do as well.
const SEED: u64 = 1;

/// A backend whose kernels are tested again and again while a miner runs.
pub(super) struct HealthCheck {
    backend: Backend,
    /// Index in [`ALL`] of the kernel that the next call of [`test_next`](Self::test_next) tests.
    next: Cell<usize>,
}

impl HealthCheck {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, next: Cell::new(0) }
    }

    /// Tests one kernel: compares its outputs with the known answers. Each call tests the next kernel; the last is
    /// followed by the first. Returns an error if an output is wrong.
    pub(super) async fn test_next(&self) -> Result<(), Error> {
        let index = self.next.get();
        self.next.set((index + 1) % ALL.len());
        self.test(ALL[index]).await
    }

    /// Tests every kernel: compares its outputs with the known answers. Returns an error if an output is wrong.
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
