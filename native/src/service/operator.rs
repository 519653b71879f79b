//! Runs the operator of a node in the node's process. The operator recomputes miners' gradients, aggregates rounds, and
//! takes part in disputes.

use crate::{
    client::{runtime::ThreadRuntime, transport::Remote},
    consensus::ValidatorKey,
    threads,
};
use anyhow::Result;
use pollster::block_on;
use r3mes_wgpu::{
    agents::{
        Action, CompletedDuty, Operator, Recomputation, RoleError,
        driver::{Agent, DriverState, StepOutcome, Waits, run},
    },
    client::{Backoff, Classify, Client, Connection, ErrorClass},
};
use tracing::{info, warn};

/// The number of sequences that an operator computes together in one batch. This number does not affect the results.
pub(crate) const SEQUENCES: usize = 2;
/// When the operator has nothing to do, it waits this many milliseconds before it asks the node again.
const IDLE_MS: u32 = 50;
/// The longest wait before a retry after an error, in milliseconds. It is short because the node runs in the same
/// process.
const MAX_BACKOFF_MS: u32 = 1000;
/// An error that a retry usually resolves, such as a missing block, is logged only once per this number of consecutive
/// failed attempts.
const REPORTED: u32 = 16;

/// Starts a thread that runs `operator` until the process ends. If the node is a replica, `validator_key` is the key of
/// its CometBFT, which the operator sets in the ledger.
pub(crate) fn start(operator: Operator<Client<Remote>>, validator_key: Option<ValidatorKey>) -> Result<()> {
    let work = move || {
        let waits = Waits { idle_ms: IDLE_MS, backoff: Backoff::up_to(MAX_BACKOFF_MS) };
        if let Err(error) = block_on(run(
            &mut EmbeddedOperator { operator, validator_key, failures: 0 },
            &ThreadRuntime::new(|| false),
            waits,
        )) {
            unreachable!("all errors are retried: {error}");
        }
    };
    threads::start("operator", work)
}

/// An operator that retries after every error and logs what users need to know.
struct EmbeddedOperator {
    operator: Operator<Client<Remote>>,
    validator_key: Option<ValidatorKey>,
    /// The number of failed attempts since the last successful one.
    failures: u32,
}

impl Agent for EmbeddedOperator {
    type Error = RoleError;

    async fn step(&mut self) -> Result<StepOutcome, RoleError> {
        let client = self.operator.client();
        if let Some(message) = self.validator_key.as_mut().and_then(|key| key.due(client.address())) {
            match client.send(message).await {
                Ok(_) => info!("The ledger now has the key with which the CometBFT of this node signs blocks"),
                Err(error) => warn!(%error, "cannot set the key of the CometBFT of this node; retrying in a minute"),
            }
        }
        let done = self.operator.work().await?;
        self.failures = 0;
        match done {
            None => return Ok(StepOutcome::Idle),
            Some(CompletedDuty::Recomputed(Recomputation { id, result, reason: Some(reason), .. })) => {
                warn!(gradient = id, result = %result, reason = %reason, "gradient not confirmed");
            }
            Some(CompletedDuty::Disputed(action)) => {
                if let Some(text) = describe(action) {
                    info!("{text}");
                }
            }
            Some(_) => {}
        }
        Ok(StepOutcome::Done)
    }

    fn connection(&self) -> &impl Connection {
        self.operator.client().host()
    }

    fn class(&self, _error: &RoleError) -> ErrorClass {
        ErrorClass::Retryable
    }

    fn on_state(&mut self, state: DriverState<'_, RoleError>) {
        let DriverState::Retrying { error, .. } = state else { return };
        self.failures += 1;
        if !error.is_retryable() || self.failures.is_multiple_of(REPORTED) {
            warn!(%error, attempts = self.failures, "an action of the operator failed; retrying");
        }
    }
}

/// Returns a message that tells users what an operator did in its role as a challenger (the role that disputes wrong
/// gradients and defends correct ones). Returns `None` if users do not need to know it.
pub(crate) fn describe(action: Action) -> Option<String> {
    Some(match action {
        Action::Recomputed(id, false) => format!("Gradient {id} is wrong"),
        Action::Disputed(id) => format!("Opened a dispute about gradient {id}"),
        Action::Appealed(id) => format!("Appealed, because gradient {id} is correct but verifiers found it wrong"),
        Action::Answered(dispute) => format!("Sent an answer in dispute {dispute}, to defend the disputed gradient"),
        Action::Moved(_) | Action::Recomputed(_, true) => return None,
    })
}
