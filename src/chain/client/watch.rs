//! Whether the chain moves while something waits for it.

use super::{Client, ClientError, Host};

/// Milliseconds between two looks at the height.
const LOOK_MS: u32 = 5_000;
/// So long a height must stay the same.
const HALT_MS: u32 = 30_000;

/// A wait for the chain, which ends where no block comes.
#[derive(Debug, Default)]
pub struct Watch {
    waited_ms: u32,
    look_at_ms: u32,
    /// A height, and when it was first seen.
    seen: Option<(u64, u32)>,
}

impl Watch {
    /// Milliseconds waited.
    pub fn waited_ms(&self) -> u32 {
        self.waited_ms
    }

    /// Waits so long. Fails with [`ClientError::Halted`] where the height has been the same for half a minute. A node
    /// that does not say its height is not watched.
    pub async fn wait<H: Host>(&mut self, client: &Client<H>, milliseconds: u32) -> Result<(), ClientError> {
        client.host().sleep(milliseconds).await;
        self.waited_ms = self.waited_ms.saturating_add(milliseconds);
        if self.waited_ms < self.look_at_ms.max(LOOK_MS) {
            return Ok(());
        }
        self.look_at_ms = self.waited_ms.saturating_add(LOOK_MS);
        let height = match client.job().await {
            Ok(job) => job.height,
            Err(ClientError::Lacks(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        client.host().saw(height);
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
