//! The CIDs of the tasks for which gradients were submitted.

use anyhow::Result;
use r3mes_wgpu::{
    ledger::{Ledger, Submission},
    store::Cid,
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The number of stored CIDs at which old ones are removed, namely those whose submissions are no longer in the ledger.
const KEPT: usize = 1 << 14;

/// A map from the ID of each submission to the CID of its task. Each CID is computed only once and then stored, because
/// the computation is slow: it encodes the whole task. Responses that list disputes or the gradients of a round contain
/// the CIDs of many tasks.
#[derive(Default)]
pub(super) struct TaskCids(Mutex<HashMap<u64, Cid>>);

impl TaskCids {
    /// Returns the CID of the task for which the gradient of a submission was computed. `id` is the ID of the
    /// submission.
    pub(super) fn of(&self, ledger: &Ledger, id: u64, submission: &Submission) -> Result<Cid> {
        if let Some(cid) = self.known().get(&id) {
            return Ok(*cid);
        }
        let cid = ledger.task_of(submission)?.cid();
        let mut known = self.known();
        if known.len() >= KEPT {
            known.retain(|id, _| ledger.state().submission(*id).is_some());
        }
        known.insert(id, cid);
        Ok(cid)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Cid>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
