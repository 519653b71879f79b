//! Verifying: recompute what a node's chain draws this key for, say what was found, be paid; again.

use crate::{
    cli::VerifierArgs,
    client::{
        retry::{RetryPolicy, rest},
        sources::Sources,
        transport::{self, Remote, asked},
    },
    compute,
    interrupt::Interrupt,
    node::operator::{Done, Operator, SEQUENCES, told},
    output::{self, Exit, say},
    paths, wallet,
};
use anyhow::{Context, Result, anyhow};
use pollster::block_on;
use r3mes_wgpu::{
    agents::{Found, RoleError, leave, register},
    client::{Client, ErrorClass, Registered},
    dispute::prover::AdapterLayout,
    ledger::{PROPOSER, VALIDATOR},
    training::worker::Worker,
    tx::{DENOM, SessionKey},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks for a duty.
const IDLE: Duration = Duration::from_secs(1);
/// Idle looks between two at the stake: what a word cost shows only after others have spoken.
const STAKE_LOOKS: u32 = 10;

/// Verifies until Ctrl-C, or until it has left.
pub(crate) fn run(args: &VerifierArgs) -> Result<Exit> {
    let interrupt = Interrupt::listen()?;
    wallet::secrets::keep_out_of_dumps()?;
    let data_dir = paths::data_dir(args.data_dir.clone())?;
    let remote = Remote::nodes_at(&args.node)?;
    let key = match &args.wallet {
        Some(name) => wallet::unlock(&data_dir, name, args.passphrase_file.as_deref())?,
        None => SessionKey::new(&*wallet::operator_secret(&data_dir)?)?,
    };
    let client = Client::new(remote.with_sources(Sources::open(&args.gateway, &data_dir)?), key);
    let Some((job, targets)) = transport::job(&client, &interrupt)? else { return Ok(Exit::Interrupted) };
    let mut retry = RetryPolicy::new(&interrupt);
    if args.leave {
        match asked(retry.ask(&client, || block_on(leave(&client))))? {
            None => return Ok(Exit::Interrupted),
            Some(true) => return Ok(left(args, client.address())),
            Some(false) => {
                eprintln!("{} was drawn, or has work that is not settled: that comes first", client.address())
            }
        }
    }
    let compute = compute::choose(&args.compute)?;
    eprintln!("verifying on {} for {}, as {}", compute.name, args.node.join(" or "), client.address());
    let Some(model) = transport::model(&client, &job.model, &data_dir, &interrupt)? else {
        return Ok(Exit::Interrupted);
    };
    let worker = block_on(Worker::new(&model, &targets, &compute.backend, SEQUENCES))?;
    let reputation = match args.leave {
        true => retry.ask(&client, || block_on(client.registered())),
        // not before it can compute: who is drawn and says nothing pays
        false => retry.ask(&client, || block_on(register(&client, roles(args), args.stake))),
    };
    let Some(reputation) = asked(reputation)? else { return Ok(Exit::Interrupted) };
    let Some(least) = asked(retry.ask(&client, || block_on(client.min_stake())))? else {
        return Ok(Exit::Interrupted);
    };
    let operator = Operator::new(client, worker)?;
    let operator = match reputation.roles.contains(&PROPOSER) {
        true => operator.proposing(AdapterLayout::for_model(&model, &targets))?,
        false => operator,
    };
    let operator = operator.challenging(model, targets, compute.backend);
    Duties { operator, reputation, least, args }.work(&interrupt)
}

fn roles(args: &VerifierArgs) -> &'static [u32] {
    if args.proposer { &[VALIDATOR, PROPOSER] } else { &[VALIDATOR] }
}

fn left(args: &VerifierArgs, address: &str) -> Exit {
    tell(args, json!({ "event": "left", "address": address }), || {
        format!("{address} has left; its stake comes back after the network's unbonding time")
    });
    Exit::Ok
}

fn tell(args: &VerifierArgs, object: Value, words: impl FnOnce() -> String) {
    match args.json {
        true => output::line(object),
        false => say!("{}", words()),
    }
}

/// A node with a stake, at work.
struct Duties<'a> {
    operator: Operator,
    reputation: Registered,
    /// The stake below which nobody is drawn.
    least: u64,
    args: &'a VerifierArgs,
}

impl Duties<'_> {
    fn work(mut self, interrupt: &Interrupt) -> Result<Exit> {
        let Registered { roles, stake } = &self.reputation;
        let address = self.operator.client().address().to_owned();
        tell(self.args, json!({ "event": "registered", "address": address, "roles": roles, "stake": stake }), || {
            format!("{address} answers for what it says with {stake}{DENOM}")
        });
        let (mut retry, mut recomputed, mut idle) = (RetryPolicy::new(interrupt), 0u64, 0u32);
        while self.args.max_gradients.is_none_or(|most| recomputed < most) {
            if interrupt.asked() {
                return Ok(Exit::Interrupted);
            }
            let start = Instant::now();
            match self.operator.work() {
                Ok(Some(done)) => {
                    retry.renew();
                    recomputed += u64::from(matches!(done, Done::Recomputed(_)));
                    self.tell(&done, start.elapsed());
                }
                Ok(None) => {
                    retry.renew();
                    idle += 1;
                    if idle.is_multiple_of(STAKE_LOOKS) {
                        self.look_at_stake()?;
                    }
                    if self.args.leave && self.leave()? {
                        return Ok(left(self.args, &address));
                    }
                    rest(IDLE, interrupt);
                }
                Err(RoleError::Client(error)) if error.class() == ErrorClass::Fatal => return asked(Err(error)),
                // the backend's, which has a stake to lose
                Err(error) if error.class() == ErrorClass::Fatal => return Err(error.into()),
                // a stake is at risk: whatever a node says for itself alone is waited for
                Err(error) => retry.wait(&error, self.operator.client().host()),
            }
        }
        Ok(Exit::Ok)
    }

    fn tell(&self, done: &Done, took: Duration) {
        let seconds = took.as_secs_f64();
        match done {
            Done::Recomputed(Found { id, result, reason, .. }) => {
                let object = json!({
                    "event": "recomputed", "gradient": id, "result": result, "reason": reason, "seconds": seconds,
                });
                let reason = reason.as_ref().map_or(String::new(), |reason| format!(" · {reason}"));
                tell(self.args, object, || format!("gradient {id:5} · {result} · {seconds:.1} s{reason}"));
            }
            Done::Disputed(deed) => {
                if let Some(words) = told(*deed) {
                    tell(self.args, json!({ "event": "dispute", "what": words }), || words.clone());
                }
            }
            Done::Aggregated(adapter) => {
                let object = json!({ "event": "aggregated", "adapter": adapter.to_string(), "seconds": seconds });
                tell(self.args, object, || format!("a round is added up · the next adapter is {adapter}"));
            }
        }
    }

    /// Says how the stake and the balance have changed; ends the program where the stake is not enough any more.
    fn look_at_stake(&mut self) -> Result<()> {
        let client = self.operator.client();
        let present = match block_on(client.registered()) {
            Ok(present) => present,
            Err(error) if error.class() == ErrorClass::Fatal => return Err(error.into()),
            // it is looked at again
            Err(_) => return Ok(()),
        };
        let before = std::mem::replace(&mut self.reputation, present).stake;
        let stake = self.reputation.stake;
        if stake < before {
            let lost = before - stake;
            tell(self.args, json!({ "event": "slashed", "amount": lost, "stake": stake }), || {
                format!("lost {lost}{DENOM} of the stake: a word of this node was wrong, or did not come in time")
            });
        }
        if stake < self.least {
            let least = self.least;
            let below = anyhow!("the stake is {stake}{DENOM}, below the network's least, {least}{DENOM}");
            return Err(below.context(Exit::Refused));
        }
        Ok(())
    }

    /// Whether it could leave now.
    fn leave(&self) -> Result<bool> {
        match block_on(leave(self.operator.client())) {
            Ok(left) => Ok(left),
            Err(error) if error.class() == ErrorClass::Fatal => Err(error).context(Exit::Refused),
            Err(_) => Ok(false),
        }
    }
}
