//! Runs a miner until it is stopped. The miner registers its payout address, then does one task after the other.

use super::{AcceptedTask, Miner, MiningError, TaskStage};
use crate::{
    agents::driver::{Agent, DriverState, Runtime, StepOutcome, Waits, run},
    client::{Backoff, Connection, Host, WorkFile},
};

/// What a miner reports while it mines, so that a program can show it.
#[derive(Debug)]
pub enum MiningEvent<'a> {
    /// The loop that runs the miner has started to work, to wait or to retry.
    State(DriverState<'a, MiningError>),
    /// The miner has reached a stage of its current task, such as its claim or its submission.
    Stage(TaskStage),
    /// The gradient of the current task was accepted.
    Accepted {
        /// The completed task, with its receipt, loss and transaction.
        task: &'a AcceptedTask,
        /// Time from the claim until the gradient was computed, in seconds. `None` if the gradient had been computed
        /// in an earlier attempt at the task.
        seconds: Option<f64>,
        /// Rewards of the miner that are held back in escrow, in micro-units; 0 if the node did not return the amount.
        escrow: u64,
    },
    /// The miner lost its claim on the current task and continues with another task.
    ClaimLost(&'a MiningError),
}

/// Mines until the runtime requests a stop. An error that no retry can resolve ends the run and is returned. If the
/// round has no chunk left to claim, waits `idle_ms` milliseconds before asking again.
pub async fn mine<H: Host + WorkFile>(
    miner: &mut Miner<H>,
    runtime: &impl Runtime,
    idle_ms: u32,
    on_event: impl FnMut(MiningEvent<'_>),
) -> Result<(), MiningError> {
    let mut mining = Mining { miner, runtime, on_event, is_registered: false };
    run(&mut mining, runtime, Waits { idle_ms, backoff: Backoff::default() }).await
}

struct Mining<'m, H, R, F> {
    miner: &'m mut Miner<H>,
    runtime: &'m R,
    on_event: F,
    is_registered: bool,
}

impl<H: Host + WorkFile, R: Runtime, F: FnMut(MiningEvent<'_>)> Agent for Mining<'_, H, R, F> {
    type Error = MiningError;

    async fn step(&mut self) -> Result<StepOutcome, MiningError> {
        let Self { miner, runtime, on_event, is_registered } = self;
        if !*is_registered {
            miner.register().await?;
            *is_registered = true;
        }
        let (mut start_ms, mut seconds) = (runtime.now_ms(), None);
        let on_stage = |stage: TaskStage| {
            match stage {
                TaskStage::Claimed { .. } => start_ms = runtime.now_ms(),
                TaskStage::Computed(_) => seconds = Some((runtime.now_ms() - start_ms) / 1000.0),
                _ => {}
            }
            on_event(MiningEvent::Stage(stage));
        };
        match miner.work(|| runtime.gives_up_waiting(), on_stage).await {
            Ok(None) => Ok(StepOutcome::Idle),
            Err(MiningError::Undecided(_)) => Ok(StepOutcome::Done),
            Ok(Some(task)) => {
                // the escrow is for information only, so an error in the request for it is ignored
                let escrow = miner.client().escrow().await.unwrap_or(0);
                on_event(MiningEvent::Accepted { task: &task, seconds, escrow });
                Ok(StepOutcome::Done)
            }
            Err(error @ MiningError::ClaimLost(_)) => {
                on_event(MiningEvent::ClaimLost(&error));
                Ok(StepOutcome::Done)
            }
            Err(error) => Err(error),
        }
    }

    fn connection(&self) -> &impl Connection {
        self.miner.client().host()
    }

    fn on_state(&mut self, state: DriverState<'_, MiningError>) {
        (self.on_event)(MiningEvent::State(state));
    }
}
