//! `verifier`: recomputes the gradients for which the ledger has selected this machine's key as a verifier, attests the
//! results, and takes part in disputes, until Ctrl-C is pressed.

mod flags;

pub(crate) use flags::VerifierArgs;

use crate::{
    client::{
        runtime::{ThreadRuntime, fail_over_advice, report_retry, retry},
        sources::BlockSources,
        transport::{self, Remote, exit_if_refused},
    },
    compute,
    interrupt::Interrupt,
    output::{self, Exit, note, say},
    paths,
    service::operator::{SEQUENCES, describe},
    wallet,
};
use anyhow::{Error, Result, anyhow};
use pollster::block_on;
use r3mes_wgpu::{
    agents::{
        CompletedDuty, Operator, Recomputation, RoleError,
        driver::{self, Agent, DriverState, StepOutcome, Waits},
        register, unregister,
    },
    client::{Backoff, Classify, Client, Connection, ErrorClass, NodeRegistration},
    dispute::prover::AdapterLayout,
    ledger::{PROPOSER, VALIDATOR},
    training::worker::Worker,
    tx::DENOM,
};
use serde_json::{Value, json};
use std::time::Instant;

/// If the ledger has no duty (assigned work) for this node, the verifier asks for one again after this many
/// milliseconds.
const IDLE_MS: u32 = 1000;
/// Each time this many requests have shown that the ledger has no duty (assigned work) for this node, the verifier
/// checks its stake. More frequent checks would not help: a wrong attestation is slashed only after the other verifiers
/// have attested.
const STAKE_CHECK_WAITS: u32 = 10;

/// Verifies gradients until Ctrl-C is pressed, until `--max-gradients` is reached, or, with `--leave`, until the
/// operator's account is no longer registered as a verifier.
pub(crate) fn run(args: &VerifierArgs) -> Result<Exit> {
    args.log.start()?;
    let interrupt = Interrupt::listen();
    wallet::secrets::keep_out_of_dumps()?;
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let remote = Remote::nodes_at(&args.node)?;
    let key = wallet::operator_key(&data_dir, args.wallet.as_deref(), args.passphrase_file.as_deref())?;
    let client = Client::new(remote.with_sources(BlockSources::open(&args.gateway, &data_dir)?), key);
    let Some((job, targets)) = transport::job(&client, &interrupt)? else { return Ok(Exit::Interrupted) };
    if args.leave {
        match exit_if_refused(retry(&client, &interrupt, async || unregister(&client).await))? {
            None => return Ok(Exit::Interrupted),
            Some(true) => return Ok(report_unregistered(args, client.address())),
            Some(false) => {
                note!("{} still has duties or unsettled work. It leaves as soon as they are done.", client.address())
            }
        }
    }
    let compute = compute::choose(&args.compute)?;
    note!("Verifying on {} for {} as {}.", compute.name, args.node.join(" or "), client.address());
    let Some(model) = transport::model(&client, &job.model, &data_dir, &interrupt)? else {
        return Ok(Exit::Interrupted);
    };
    let worker = block_on(Worker::new(&model, &targets, &compute.backend, SEQUENCES))?;
    let registration = match args.leave {
        true => retry(&client, &interrupt, async || client.registration().await),
        // registers only now that the worker can compute, because a sampled verifier that does not attest is slashed
        false => retry(&client, &interrupt, async || register(&client, roles(args), args.stake).await),
    };
    let Some(registration) = exit_if_refused(registration)? else { return Ok(Exit::Interrupted) };
    let min_stake = exit_if_refused(retry(&client, &interrupt, async || client.min_stake().await))?;
    let Some(min_stake) = min_stake else {
        return Ok(Exit::Interrupted);
    };
    let operator = Operator::new(client, worker)?;
    let operator = match registration.roles.contains(&PROPOSER) {
        true => operator.with_proposer(AdapterLayout::for_model(&model, &targets))?,
        false => operator,
    };
    let operator = operator.with_challenger(model, targets, compute.backend);
    let mut duties = Duties { operator, registration, min_stake, args, recomputed: 0, waits: 0, outcome: None };
    duties.report_registration();
    let runtime = ThreadRuntime::new(|| interrupt.is_requested());
    match block_on(driver::run(&mut duties, &runtime, Waits { idle_ms: IDLE_MS, backoff: Backoff::default() })) {
        Ok(()) => duties.outcome.unwrap_or(Ok(Exit::Interrupted)),
        Err(RoleError::Client(error)) => exit_if_refused(Err(error)),
        // the backend failed, so the next attestations might be wrong and cost the stake
        Err(error) => Err(error.into()),
    }
}

fn roles(args: &VerifierArgs) -> &'static [u32] {
    if args.proposer { &[VALIDATOR, PROPOSER] } else { &[VALIDATOR] }
}

fn report_unregistered(args: &VerifierArgs, address: &str) -> Exit {
    print(args, json!({ "event": "left", "address": address }), || {
        format!("{address} is no longer registered. Its stake is returned after the network's unbonding time.")
    });
    Exit::Ok
}

/// Prints an event: `object` with `--json`, otherwise the result of `text`.
fn print(args: &VerifierArgs, object: Value, text: impl FnOnce() -> String) {
    match args.json {
        true => output::line(object),
        false => say!("{}", text()),
    }
}

/// An operator (the agent that recomputes, aggregates and disputes), with everything that the command needs to print
/// the operator's results.
struct Duties<'a> {
    operator: Operator<Client<Remote>>,
    registration: NodeRegistration,
    /// The minimum stake that the network demands of a verifier, in micro-units.
    min_stake: u64,
    args: &'a VerifierArgs,
    /// The number of gradients recomputed so far.
    recomputed: u64,
    /// The number of requests that found no duty (work that the ledger assigns to this node).
    waits: u32,
    /// The result with which the command ends; `None` while the command continues.
    outcome: Option<Result<Exit>>,
}

impl Agent for Duties<'_> {
    type Error = RoleError;

    async fn step(&mut self) -> Result<StepOutcome, RoleError> {
        if self.args.max_gradients.is_some_and(|limit| self.recomputed >= limit) {
            return Ok(self.end(Ok(Exit::Ok)));
        }
        let start = Instant::now();
        if let Some(duty) = self.operator.work().await? {
            self.recomputed += u64::from(matches!(duty, CompletedDuty::Recomputed(_)));
            self.report(&duty, start.elapsed().as_secs_f64());
            return Ok(StepOutcome::Done);
        }
        self.waits += 1;
        if self.waits.is_multiple_of(STAKE_CHECK_WAITS)
            && let Err(error) = self.check_stake().await
        {
            return Ok(self.end(Err(error)));
        }
        if self.args.leave {
            match unregister(self.operator.client()).await {
                Ok(true) => {
                    let exit = report_unregistered(self.args, self.operator.client().address());
                    return Ok(self.end(Ok(exit)));
                }
                Err(error) if error.class() == ErrorClass::Fatal => {
                    return Ok(self.end(Err(Error::new(error).context(Exit::Refused))));
                }
                Ok(false) | Err(_) => {}
            }
        }
        Ok(StepOutcome::Idle)
    }

    fn connection(&self) -> &impl Connection {
        self.operator.client().host()
    }

    /// Returns the class of an error. An error after which other commands would switch to another node counts as
    /// temporary here, so the verifier tries again and does not stop. A verifier that stops misses attestations and is
    /// slashed.
    fn class(&self, error: &RoleError) -> ErrorClass {
        match error.class() {
            ErrorClass::Failover => ErrorClass::Retryable,
            class => class,
        }
    }

    fn on_state(&mut self, state: DriverState<'_, RoleError>) {
        if let DriverState::Retrying { error, retry } = state {
            report_retry(error, retry, fail_over_advice(self.connection().node_count()));
        }
    }
}

impl Duties<'_> {
    fn end(&mut self, outcome: Result<Exit>) -> StepOutcome {
        self.outcome = Some(outcome);
        StepOutcome::Finished
    }

    fn report_registration(&self) {
        let (address, NodeRegistration { roles, stake }) = (self.operator.client().address(), &self.registration);
        print(self.args, json!({ "event": "registered", "address": address, "roles": roles, "stake": stake }), || {
            format!("{address} is registered with a stake of {stake}{DENOM}")
        });
    }

    fn report(&self, duty: &CompletedDuty, seconds: f64) {
        match duty {
            CompletedDuty::Recomputed(Recomputation { id, result, reason, .. }) => {
                let object = json!({
                    "event": "recomputed", "gradient": id, "result": result, "reason": reason, "seconds": seconds,
                });
                let reason = reason.as_ref().map_or(String::new(), |reason| format!(" · {reason}"));
                print(self.args, object, || {
                    format!("gradient {id:5} · {result} · recomputed in {seconds:.1} s{reason}")
                });
            }
            CompletedDuty::Disputed(action) => {
                if let Some(text) = describe(*action) {
                    print(self.args, json!({ "event": "dispute", "what": text }), || text.clone());
                }
            }
            CompletedDuty::Aggregated(adapter) => {
                let object = json!({ "event": "aggregated", "adapter": adapter.to_string(), "seconds": seconds });
                print(self.args, object, || format!("aggregated a round · the next adapter has the CID {adapter}"));
            }
        }
    }

    /// Prints how much of the stake was slashed since the last check. Returns an error if the stake is now below the
    /// network's minimum.
    async fn check_stake(&mut self) -> Result<()> {
        let registration = match self.operator.client().registration().await {
            Ok(registration) => registration,
            Err(error) if error.class() == ErrorClass::Fatal => return Err(error.into()),
            // the next check may succeed
            Err(_) => return Ok(()),
        };
        let before = std::mem::replace(&mut self.registration, registration).stake;
        let (stake, min_stake) = (self.registration.stake, self.min_stake);
        if stake < before {
            let lost = before - stake;
            print(self.args, json!({ "event": "slashed", "amount": lost, "stake": stake }), || {
                format!(
                    "{lost}{DENOM} of the stake was slashed for a wrong or missing attestation, leaving {stake}{DENOM}"
                )
            });
        }
        if stake < min_stake {
            let error = anyhow!(
                "the stake is {stake}{DENOM}, but the minimum is {min_stake}{DENOM}; restart with a larger --stake"
            );
            return Err(error.context(Exit::Refused));
        }
        Ok(())
    }
}
