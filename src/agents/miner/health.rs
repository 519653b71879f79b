//! Known answers, asked again while a miner runs: a GPU that gave them at the start may fail when it is hot, or old.

use crate::{
    compute::{Backend, known_answers::passes},
    error::Error,
    kernels::{ALL, Kernel, cases::cases},
};
use std::cell::Cell;

/// Of random cases: any will do.
const SEED: u64 = 1;

/// A backend that answers for itself.
pub(super) struct Health {
    backend: Backend,
    next: Cell<usize>,
}

impl Health {
    pub(super) fn new(backend: Backend) -> Self {
        Self { backend, next: Cell::new(0) }
    }

    /// Asks about one kernel, another each time.
    pub(super) async fn ask_one(&self) -> Result<(), Error> {
        let at = self.next.get();
        self.next.set((at + 1) % ALL.len());
        self.ask(ALL[at]).await
    }

    /// Asks about every kernel.
    pub(super) async fn ask_all(&self) -> Result<(), Error> {
        for kernel in ALL {
            self.ask(kernel).await?;
        }
        Ok(())
    }

    async fn ask(&self, kernel: &'static Kernel) -> Result<(), Error> {
        for case in cases(kernel, SEED) {
            passes(&self.backend, &case).await?;
        }
        Ok(())
    }
}
