//! The loop that runs an agent: a miner, an operator or a repeated request. The loop runs one step of the agent after
//! the other, waits when the agent has nothing to do, and retries after errors.
//!
//! The program around the loop implements [`Runtime`], which provides a clock, random numbers, a way to wait, and the
//! request to stop.

use crate::client::{Backoff, Classify, Connection, ErrorClass, Retry, RetryPolicy};

/// What the loop that runs an agent needs from the program around it.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Runtime {
    /// Returns whether the program wants the loop to end. The loop asks before each step of the agent.
    fn should_stop(&self) -> bool;
    /// Returns true if a step should end although the submitted work has not been accepted or rejected yet. By default,
    /// the step waits until the work is accepted or rejected.
    fn gives_up_waiting(&self) -> bool {
        false
    }
    /// Waits this many milliseconds, but stops as soon as [`should_stop`](Self::should_stop) returns true.
    async fn wait(&self, milliseconds: u32);
    /// Waits while work is paused, for example by the user. By default, work is never paused.
    async fn wait_while_paused(&self) {}
    /// Returns a uniformly random `u32`, which varies the waiting times.
    fn random(&self) -> u32;
    /// Returns the time in milliseconds since an arbitrary moment that stays the same while the program runs.
    fn now_ms(&self) -> f64;
}

/// The outcome of one step of an agent, such as a miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// The agent did a piece of work and may have more. The next step follows without a wait.
    Done,
    /// The agent found nothing to do. The next step follows after a wait.
    Idle,
    /// The agent has completed all its work. No step follows.
    Finished,
}

/// What a driver, the loop that runs an agent, is about to do.
#[derive(Clone, Copy, Debug)]
pub enum DriverState<'a, E> {
    /// The driver runs a step of the agent: the first one, or the next one after a wait.
    Working,
    /// The driver waits because the agent found nothing to do.
    Idle,
    /// The driver retries a step that failed with an error.
    Retrying {
        /// The error with which the step failed.
        error: &'a E,
        /// Whether the driver retries immediately with the next node, or waits first (and how long).
        retry: Retry,
    },
}

/// How long a driver, the loop that runs an agent, waits between steps.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// How long the driver waits after a step in which the agent found nothing to do, in milliseconds.
    pub idle_ms: u32,
    /// How long the driver waits after errors. The waits grow each time that all nodes have failed.
    pub backoff: Backoff,
}

/// Work that a driver runs step by step, such as the work of a miner or an operator.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Agent {
    /// An error that ends a step. Its class decides whether the driver retries the step.
    type Error: Classify;
    /// Does the next piece of work, if there is any, and returns the outcome.
    async fn step(&mut self) -> Result<StepOutcome, Self::Error>;
    /// Returns the connection to the agent's nodes. Before a retry, the driver makes it switch to the next node.
    fn connection(&self) -> &impl Connection;
    /// Returns the class of an error, which decides whether the driver retries the step.
    fn class(&self, error: &Self::Error) -> ErrorClass {
        error.class()
    }
    /// Called when the driver (the loop that runs the agent) starts to work, to wait because there is nothing to do, or
    /// to retry after an error.
    fn on_state(&mut self, _state: DriverState<'_, Self::Error>) {}
}

/// Runs an agent step by step until it is finished or the runtime requests a stop. An error that no retry can resolve
/// ends the run and is returned.
pub async fn run<A: Agent>(agent: &mut A, runtime: &impl Runtime, waits: Waits) -> Result<(), A::Error> {
    let mut policy = RetryPolicy::new(agent.connection().node_count(), waits.backoff);
    agent.on_state(DriverState::Working);
    while !runtime.should_stop() {
        runtime.wait_while_paused().await;
        let wait_ms = match agent.step().await {
            Ok(StepOutcome::Finished) => break,
            Ok(StepOutcome::Done) => {
                policy.reset();
                continue;
            }
            Ok(StepOutcome::Idle) => {
                policy.reset();
                agent.on_state(DriverState::Idle);
                waits.idle_ms
            }
            Err(error) => {
                let Some(retry) = policy.after(agent.class(&error), runtime.random()) else { return Err(error) };
                agent.on_state(DriverState::Retrying { error: &error, retry });
                agent.connection().fail_over();
                match retry {
                    Retry::NextNode => 0,
                    Retry::After(milliseconds) => milliseconds,
                }
            }
        };
        runtime.wait(wait_ms).await;
        agent.on_state(DriverState::Working);
    }
    Ok(())
}

/// Calls `attempt`, which sends a request, until the request succeeds. Before each retry, calls `on_retry`, switches to
/// the next node, and waits if all nodes have failed. Returns `None` if the runtime requests a stop first. An error
/// that no retry can resolve is returned.
pub async fn retry<T, E: Classify>(
    connection: &impl Connection,
    runtime: &impl Runtime,
    attempt: impl AsyncFnMut() -> Result<T, E>,
    on_retry: impl FnMut(&E, Retry),
) -> Result<Option<T>, E> {
    let mut request = RepeatedRequest { connection, attempt, on_retry, result: None };
    run(&mut request, runtime, Waits { idle_ms: 0, backoff: Backoff::default() }).await?;
    Ok(request.result)
}

/// An agent that sends a request again and again. It is finished when the request succeeds.
struct RepeatedRequest<'t, H, A, F, T> {
    connection: &'t H,
    attempt: A,
    on_retry: F,
    result: Option<T>,
}

impl<H, A, F, T, E> Agent for RepeatedRequest<'_, H, A, F, T>
where
    H: Connection,
    A: AsyncFnMut() -> Result<T, E>,
    F: FnMut(&E, Retry),
    E: Classify,
{
    type Error = E;

    async fn step(&mut self) -> Result<StepOutcome, E> {
        self.result = Some((self.attempt)().await?);
        Ok(StepOutcome::Finished)
    }

    fn connection(&self) -> &impl Connection {
        self.connection
    }

    fn on_state(&mut self, state: DriverState<'_, E>) {
        if let DriverState::Retrying { error, retry } = state {
            (self.on_retry)(error, retry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ClientError, NoResponse, Request, Response};
    use pollster::block_on;
    use std::cell::{Cell, RefCell};

    /// A connection that counts its failovers to the next node, and a clock that advances only during waits.
    #[derive(Default)]
    struct World {
        nodes: u32,
        failovers: Cell<u32>,
        now_ms: Cell<u32>,
        stop_at_ms: Cell<Option<u32>>,
    }

    impl Connection for World {
        async fn request(&self, _request: Request<'_>) -> Result<Response, NoResponse> {
            unreachable!("the scripted agent sends no request")
        }

        fn node_count(&self) -> u32 {
            self.nodes
        }

        fn fail_over(&self) {
            self.failovers.set(self.failovers.get() + 1);
        }
    }

    impl Runtime for World {
        fn should_stop(&self) -> bool {
            self.stop_at_ms.get().is_some_and(|end| self.now_ms.get() >= end)
        }

        async fn wait(&self, milliseconds: u32) {
            self.now_ms.set(self.now_ms.get() + milliseconds);
        }

        fn random(&self) -> u32 {
            0
        }

        fn now_ms(&self) -> f64 {
            self.now_ms.get().into()
        }
    }

    /// An agent whose steps return the given outcomes in order. After the last one, it is finished.
    struct Script<'w> {
        world: &'w World,
        outcomes: Vec<Result<StepOutcome, ClientError>>,
        states: RefCell<Vec<String>>,
    }

    impl Agent for Script<'_> {
        type Error = ClientError;

        async fn step(&mut self) -> Result<StepOutcome, ClientError> {
            if self.outcomes.is_empty() { Ok(StepOutcome::Finished) } else { self.outcomes.remove(0) }
        }

        fn connection(&self) -> &impl Connection {
            self.world
        }

        fn on_state(&mut self, state: DriverState<'_, ClientError>) {
            let name = match state {
                DriverState::Working => "working".to_owned(),
                DriverState::Idle => "idle".to_owned(),
                DriverState::Retrying { retry, .. } => format!("{retry:?}"),
            };
            self.states.borrow_mut().push(name);
        }
    }

    fn script(
        world: &World,
        outcomes: Vec<Result<StepOutcome, ClientError>>,
    ) -> (Result<(), ClientError>, Vec<String>) {
        let mut agent = Script { world, outcomes, states: RefCell::default() };
        let result = block_on(run(&mut agent, world, Waits { idle_ms: 7, backoff: Backoff::default() }));
        (result, agent.states.take())
    }

    fn no_response() -> Result<StepOutcome, ClientError> {
        Err(NoResponse("timed out".to_owned()).into())
    }

    fn refused() -> Result<StepOutcome, ClientError> {
        Err(ClientError::Refused { status: 500, message: String::new() })
    }

    #[test]
    fn an_idle_agent_waits_and_goes_on() {
        let world = World { nodes: 1, ..World::default() };
        let (result, states) =
            script(&world, vec![Ok(StepOutcome::Done), Ok(StepOutcome::Idle), Ok(StepOutcome::Done)]);
        assert_eq!((result, world.now_ms.get(), world.failovers.get()), (Ok(()), 7, 0));
        assert_eq!(states, ["working", "idle", "working"]);
    }

    #[test]
    fn a_retryable_error_is_retried_with_every_node_and_then_after_growing_waits() {
        let world = World { nodes: 2, ..World::default() };
        let failures = [no_response(), no_response(), no_response(), no_response()];
        let (result, states) = script(&world, failures.to_vec());
        assert_eq!((result, world.now_ms.get(), world.failovers.get()), (Ok(()), 1000 + 1000 + 2000, 4));
        assert_eq!(states[1], "NextNode");
    }

    #[test]
    fn a_success_starts_the_waits_over() {
        let world = World { nodes: 1, ..World::default() };
        let outcomes = vec![no_response(), no_response(), Ok(StepOutcome::Done), no_response()];
        assert_eq!(script(&world, outcomes).0, Ok(()));
        assert_eq!(world.now_ms.get(), 1000 + 2000 + 1000);
    }

    #[test]
    fn an_error_that_no_node_can_mend_ends_the_run() {
        for (nodes, failovers) in [(1, 0), (3, 2)] {
            let world = World { nodes, ..World::default() };
            let (result, _) = script(&world, vec![refused(), refused(), refused(), Ok(StepOutcome::Done)]);
            assert_eq!((result.map(|()| StepOutcome::Done), world.failovers.get()), (refused(), failovers));
        }
    }

    #[test]
    fn a_run_ends_when_the_runtime_stops_it() {
        let world = World { nodes: 1, stop_at_ms: Cell::new(Some(20)), ..World::default() };
        let (result, states) = script(&world, vec![Ok(StepOutcome::Idle); 9]);
        assert_eq!((result, states.len()), (Ok(()), 1 + 2 * 3));
        assert_eq!(block_on(retry(&world, &world, async || refused(), |_, _| {})), Ok(None));
    }

    #[test]
    fn a_request_is_retried_until_it_succeeds() {
        let world = World { nodes: 1, ..World::default() };
        let (attempts, retries) = (Cell::new(0), Cell::new(0));
        let attempt = async || {
            attempts.set(attempts.get() + 1);
            if attempts.get() < 3 { no_response() } else { Ok(StepOutcome::Done) }
        };
        let result = block_on(retry(&world, &world, attempt, |_, _| retries.set(retries.get() + 1)));
        assert_eq!((result, attempts.get(), retries.get()), (Ok(Some(StepOutcome::Done)), 3, 2));
    }
}
