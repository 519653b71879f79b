//! Waits for the chain to process a transaction, and detects when the chain has stopped producing blocks.

use super::{Client, ClientError, Connection, Timer};

/// The shortest time between two requests for the chain's block height, in milliseconds.
const CHECK_MS: u32 = 5_000;
/// The time without a new block after which the chain counts as halted, in milliseconds.
const HALT_MS: u32 = 30_000;

/// Observes the chain's block height while a caller waits, so that the wait ends with an error if the chain has stopped
/// producing blocks.
#[derive(Debug, Default)]
pub struct ProgressMonitor {
    waited_ms: u32,
    next_check_ms: u32,
    /// The latest block height, and how many milliseconds had been waited in total when this height was first seen.
    seen: Option<(u64, u32)>,
}

impl ProgressMonitor {
    /// Returns the total time that [`wait`](Self::wait) has waited so far, in milliseconds.
    pub fn waited_ms(&self) -> u32 {
        self.waited_ms
    }

    /// Waits for this many milliseconds. Returns [`ClientError::Halted`] if the chain's block height has stayed the
    /// same for 30 seconds. If the node does not report its height, the chain never counts as halted.
    pub async fn wait<H: Connection + Timer>(
        &mut self,
        client: &Client<H>,
        milliseconds: u32,
    ) -> Result<(), ClientError> {
        client.host().sleep(milliseconds).await;
        self.waited_ms = self.waited_ms.saturating_add(milliseconds);
        if self.waited_ms < self.next_check_ms.max(CHECK_MS) {
            return Ok(());
        }
        self.next_check_ms = self.waited_ms.saturating_add(CHECK_MS);
        let height = match client.job().await {
            Ok(job) => job.height,
            Err(ClientError::Unsupported(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        client.host().observe_height(height);
        match self.seen {
            Some((seen, since)) if seen == height => match self.waited_ms - since {
                waited if waited >= HALT_MS => Err(ClientError::Halted { height, seconds: waited / 1000 }),
                _ => Ok(()),
            },
            _ => {
                self.seen = Some((height, self.waited_ms));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        client::{Classify, ErrorClass, NoResponse, Request, Response},
        tx::{Message, SessionKey, Transfer},
    };
    use pollster::block_on;
    use serde_json::{Value, json};
    use std::cell::{Cell, RefCell};

    /// A simulated node with a simulated clock. It accepts every transaction, and executes it when the block height
    /// reaches `runs_at`.
    struct Chain {
        now_ms: Cell<u32>,
        /// Returns the block height at a given time, in milliseconds since the start of the test.
        height: fn(u32) -> u64,
        runs_at: u64,
        sequence: Cell<u64>,
        sent: RefCell<Vec<String>>,
    }

    impl Chain {
        fn new(height: fn(u32) -> u64, runs_at: u64) -> Self {
            Self { now_ms: Cell::new(0), height, runs_at, sequence: Cell::new(3), sent: RefCell::default() }
        }

        fn respond(&self, request: Request<'_>) -> (u16, Value) {
            let height = (self.height)(self.now_ms.get());
            let tx = |code: u32| {
                json!({ "tx_response": {
                "height": height.to_string(), "code": code, "raw_log": "", "data": "",
            } })
            };
            match (request.path, request.body) {
                ("/cosmos/tx/v1beta1/txs", Some((_, body))) => {
                    self.sent.borrow_mut().push(String::from_utf8_lossy(body).into_owned());
                    (200, tx(0))
                }
                (path, _) if path.starts_with("/cosmos/tx/") => match height >= self.runs_at {
                    true => (200, tx(0)),
                    false => (404, json!({})),
                },
                (path, _) if path.starts_with("/cosmos/auth/") => {
                    (200, json!({ "account": { "sequence": self.sequence.get().to_string() } }))
                }
                ("/remes/remes/v1/params", _) => (200, json!({ "params": { "chain_id": "a", "min_fee": "0" } })),
                _ => (
                    200,
                    json!({
                        "chain_id": "a", "genesis": "", "height": height, "time": 0, "arithmetic_version": 1, "model": "",
                        "rank": 4, "targets": [], "round": 0, "accepted": 0, "reward": 0,
                    }),
                ),
            }
        }
    }

    impl Connection for Chain {
        async fn request(&self, request: Request<'_>) -> Result<Response, NoResponse> {
            let (status, body) = self.respond(request);
            Ok(Response { status, body: body.to_string().into_bytes() })
        }
    }

    impl Timer for Chain {
        async fn sleep(&self, milliseconds: u32) {
            self.now_ms.set(self.now_ms.get() + milliseconds);
        }
    }

    fn client(chain: Chain) -> Client<Chain> {
        Client::new(chain, SessionKey::new(&[1; 32]).unwrap())
    }

    fn send(client: &Client<Chain>) -> Result<(), ClientError> {
        let own = client.address().to_owned();
        let transfer = Transfer { from: own.clone(), to: own, amount: 1 };
        block_on(client.send(Message::Send(transfer))).map(drop)
    }

    #[test]
    fn a_halted_chain_is_an_error_and_the_same_transaction_is_sent_again() {
        // the chain produces no block for an hour
        let client = client(Chain::new(|now_ms| if now_ms < 3_600_000 { 7 } else { 8 }, 8));
        let mut attempts = 0;
        while let Err(error) = send(&client) {
            assert!(matches!(error, ClientError::Halted { height: 7, seconds: 30.. }), "{error}");
            assert_eq!(error.class(), ErrorClass::Retryable);
            attempts += 1;
        }
        assert!(attempts > 50, "{attempts}");
        let sent = client.host().sent.borrow();
        assert!(sent.iter().all(|tx| *tx == sent[0]), "each attempt sends the same bytes");
    }

    #[test]
    fn a_slow_chain_is_waited_for_but_not_for_ever() {
        let client = client(Chain::new(|now_ms| u64::from(now_ms / 29_000), 15));
        assert_eq!(send(&client), Ok(()));
        let client = super::tests::client(Chain::new(|now_ms| u64::from(now_ms / 1_000), u64::MAX));
        assert!(matches!(send(&client), Err(ClientError::Lost(_))), "a transaction that no block contains is lost");
    }
}
