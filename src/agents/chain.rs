//! The two parts of the network that verifiers, proposers and challengers use: the chain, and the store of blocks. A
//! [`Client`] gives access to both through the HTTP routes of a node. Simulations implement both without a node.

use crate::{
    client::{
        AggregationJob, BlockStore, Blocks, Client, ClientError, DisputeList, FetchError, Host, JobInfo, VerifierDuties,
    },
    protocol::Task,
    store::{Cid, Codec, Dag},
    tx::Message,
};

/// The chain, as seen by one account: what the account must do, and what it sends.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait Chain {
    /// Returns the address of the account that sends messages.
    fn address(&self) -> &str;
    /// Returns the description of the training job and the state of the chain.
    async fn job(&self) -> Result<JobInfo, ClientError>;
    /// Returns what the account must do as a verifier.
    async fn duties(&self) -> Result<VerifierDuties, ClientError>;
    /// Returns the aggregation (the computation of the next adapter) if the account takes part in one as a proposer
    /// now, or else `None`.
    async fn aggregation_job(&self) -> Result<Option<AggregationJob>, ClientError>;
    /// Returns the open disputes, the gradients that can be disputed, and the gradients that verifiers found wrong and
    /// that can be defended by an appeal.
    async fn disputes(&self) -> Result<DisputeList, ClientError>;
    /// Sends a message in a transaction, and waits until the transaction is executed.
    async fn send(&self, message: Message) -> Result<(), ClientError>;
}

/// A store of IPFS blocks: it returns the blocks of tasks, adapters and artifacts, and keeps adapters and artifacts.
#[expect(async_fn_in_trait, reason = "a browser's futures are never Send")]
pub trait ContentStore {
    /// Returns the bytes of one block.
    async fn block(&self, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError>;
    /// Returns the blocks that a task needs: its chunk, and the blocks of its adapter: the manifest and the leaves
    /// (data blocks without links).
    async fn task_inputs(&self, task: &Task) -> Result<Blocks, FetchError>;
    /// Returns the blocks of an adapter: the manifest and the leaves (data blocks without links).
    async fn adapter(&self, adapter: &Cid) -> Result<Blocks, FetchError>;
    /// Returns the blocks of an artifact: the manifest and the leaves (data blocks without links).
    async fn artifact(&self, artifact: &Cid) -> Result<Blocks, FetchError>;
    /// Stores the blocks of an adapter or an artifact.
    async fn store(&self, dag: &Dag) -> Result<(), ClientError>;
    /// Uses the next node for later requests, if there is another one.
    fn fail_over(&self);
}

impl<H: Host> Chain for Client<H> {
    fn address(&self) -> &str {
        self.address()
    }

    async fn job(&self) -> Result<JobInfo, ClientError> {
        self.job().await
    }

    async fn duties(&self) -> Result<VerifierDuties, ClientError> {
        self.duties().await
    }

    async fn aggregation_job(&self) -> Result<Option<AggregationJob>, ClientError> {
        self.aggregation_job().await
    }

    async fn disputes(&self) -> Result<DisputeList, ClientError> {
        self.disputes().await
    }

    async fn send(&self, message: Message) -> Result<(), ClientError> {
        self.send(message).await.map(drop)
    }
}

impl<H: Host> ContentStore for Client<H> {
    async fn block(&self, codec: Codec, cid: &Cid) -> Result<Vec<u8>, ClientError> {
        self.block(codec, cid).await
    }

    async fn task_inputs(&self, task: &Task) -> Result<Blocks, FetchError> {
        Blocks::of_task(self.host(), task).await
    }

    async fn adapter(&self, adapter: &Cid) -> Result<Blocks, FetchError> {
        Blocks::of_adapter(self.host(), adapter).await
    }

    async fn artifact(&self, artifact: &Cid) -> Result<Blocks, FetchError> {
        Blocks::of_artifact(self.host(), artifact).await
    }

    async fn store(&self, dag: &Dag) -> Result<(), ClientError> {
        self.put_dag(dag).await
    }

    fn fail_over(&self) {
        self.host().fail_over();
    }
}
