//! Flags, typed.

use crate::commands::{model::ModelCommand, wallet::WalletCommand};
use axum::http::HeaderValue;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Exact LoRA training over BitNet backbones: the same gradient bytes on every GPU and CPU.
///
/// Exit codes: 0 ok, 1 failure, 2 usage, 3 no usable GPU, 4 reproducibility mismatch,
/// 5 refused by the node, 130 after Ctrl-C. There is no developer fee.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Claim tasks, compute gradients, submit them, and get paid (by a node inside this process)
    Mine(Box<MineArgs>),
    /// Serve a node, and the page, for miners elsewhere
    Node(NodeArgs),
    /// Write what a network of its own starts from: its rules, its job, its first coins and nodes
    Genesis(GenesisArgs),
    /// Recompute what others submit, with a stake that answers for it, and get paid
    Verifier(VerifierArgs),
    /// Fine-tune an adapter on your own text, locally
    Train(TrainArgs),
    /// Continue a text, to see what a model or an adapter has learned
    Generate(GenerateArgs),
    /// Recompute a receipt's gradient and compare every bit
    Verify(VerifyArgs),
    /// Look at adapters, fold them, and exchange them with PEFT
    Adapter(crate::commands::adapter::AdapterArgs),
    /// Compute known answers and golden digests on every backend here
    Check(CheckArgs),
    /// List GPUs
    Devices(DevicesArgs),
    /// Time a whole step of training
    Bench(BenchArgs),
    /// Import models of other programs, and say what one takes
    #[command(subcommand)]
    Model(ModelCommand),
    /// Say what exactness costs: gradients and losses by integers beside f64, f32 and bfloat16
    Quality(QualityArgs),
    /// Keep a wallet's key, send coins, and let sessions mine for it
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// Exit with 0 if this machine lists a real GPU, else with 3
    #[command(hide = true)]
    Probe,
}

/// Where to compute.
#[derive(Args, Clone)]
pub(crate) struct ComputeArgs {
    /// auto takes the fastest real GPU that passes its known answers, else the CPU
    #[arg(long, value_enum, default_value_t = BackendKind::Auto, env = "R3MES_BACKEND")]
    pub(crate) backend: BackendKind,
    /// GPU, by number or by part of its name (see `devices`); of several, the fastest that passes
    #[arg(short, long, value_name = "GPU", env = "R3MES_DEVICE")]
    pub(crate) device: Vec<String>,
    /// List GPUs and stop
    #[arg(long)]
    pub(crate) list_devices: bool,
    /// CPU threads; 0 is one per core
    #[arg(long, default_value_t = 0, env = "R3MES_THREADS")]
    pub(crate) threads: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendKind {
    Auto,
    Cpu,
    Gpu,
}

/// What to train on what.
#[derive(Args, Clone)]
pub(crate) struct JobArgs {
    /// Folder with a model, as `model import` writes it [default: the one that comes with the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Texts, instead of the one that comes with the program; in tokens of the model's tokenizer.json, if it has one,
    /// else in bytes
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) text: Vec<PathBuf>,
    /// Rank of the adapter, 4..=64
    #[arg(long, default_value_t = 8)]
    pub(crate) rank: usize,
    /// Where to keep models, ledger and receipts [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

/// How a node in this process is reached.
#[derive(Args, Clone)]
pub(crate) struct ServeArgs {
    /// Where the node listens [default: 127.0.0.1:7717, another port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT", env = "R3MES_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// Folder with the built page [default: dist]
    #[arg(long, value_name = "DIR", env = "R3MES_PAGE")]
    pub(crate) page: Option<PathBuf>,
    /// Origin of another site whose pages may use this node, like https://example.org
    #[arg(long, value_name = "ORIGIN", value_parser = crate::server::origin::read)]
    pub(crate) allow_origin: Vec<HeaderValue>,
    /// Micro-units that a transaction must pay to be taken by this node
    #[arg(long, value_name = "MICRO", default_value_t = 0, env = "R3MES_MIN_FEE")]
    pub(crate) min_fee: u64,
}

/// How a node is one of many.
#[derive(Args, Clone, Default)]
pub(crate) struct ReplicaArgs {
    /// Be one replica of many: take blocks from a CometBFT 0.38, which connects here by ABCI, instead of cutting them
    #[arg(long, value_name = "ADDRESS:PORT", requires = "consensus", env = "R3MES_ABCI")]
    pub(crate) abci: Option<SocketAddr>,
    /// With --abci: the RPC of that CometBFT, like http://127.0.0.1:26657; transactions go there
    #[arg(long, value_name = "URL", requires = "abci", env = "R3MES_CONSENSUS")]
    pub(crate) consensus: Option<String>,
    /// With --abci: blocks from one snapshot for new replicas to the next
    #[arg(long, value_name = "BLOCKS", requires = "abci", default_value_t = 1000)]
    pub(crate) snapshot_blocks: u64,
    /// Get blocks of bytes that the ledger names and that are not here from this trustless gateway, another replica's URL or
    /// a Kubo's gateway; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
}

#[derive(Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// What the network starts from, as `genesis` writes it [default: a network of this machine's own]
    #[arg(long, value_name = "FILE", conflicts_with = "rank", env = "R3MES_GENESIS")]
    pub(crate) genesis: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) replica: ReplicaArgs,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// The rule profile of a genesis: docs/LEDGER.md.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rules {
    /// One process that trusts itself: everything is recomputed, nothing is at stake
    Embedded,
    /// Many that do not trust each other
    Network,
}

#[derive(Args)]
pub(crate) struct GenesisArgs {
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// The rules to start from; every number of them stands in the file, to be changed there
    #[arg(long, value_enum, default_value_t = Rules::Network)]
    pub(crate) rules: Rules,
    /// What signatures are bound to
    #[arg(long, value_name = "ID", default_value = "r3mes-1")]
    pub(crate) chain_id: String,
    /// Accepted tasks of a round, 1..=4096
    #[arg(long, default_value_t = crate::node::embedded::QUOTA)]
    pub(crate) quota: u32,
    /// A validator and proposer, with its stake in micro-units [default: this machine's operator]
    #[arg(long, value_name = "ADDRESS=MICRO", value_parser = crate::commands::genesis::coins)]
    pub(crate) operator: Vec<(String, u64)>,
    /// Micro-units of the pool that pays newcomers' fees
    #[arg(long, value_name = "MICRO", value_parser = crate::commands::wallet::micro, default_value = "0")]
    pub(crate) pool: u64,
    /// An account, with its coins in micro-units
    #[arg(long, value_name = "ADDRESS=MICRO", value_parser = crate::commands::genesis::coins)]
    pub(crate) account: Vec<(String, u64)>,
}

/// When to stop mining.
pub(crate) struct Limits {
    tasks: Option<u64>,
    end: Option<Instant>,
    counted: u64,
}

impl MineArgs {
    /// From now on.
    pub(crate) fn limits(&self) -> Limits {
        let end = self.time_limit.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Limits { tasks: self.max_tasks, end, counted: 0 }
    }
}

impl Limits {
    /// Whether there is room for another task.
    pub(crate) fn go_on(&self) -> bool {
        self.tasks.is_none_or(|tasks| self.counted < tasks) && self.end.is_none_or(|end| Instant::now() < end)
    }

    /// A task was accepted.
    pub(crate) fn count(&mut self) {
        self.counted += 1;
    }

    /// Tasks accepted.
    pub(crate) fn counted(&self) -> u64 {
        self.counted
    }
}

impl Command {
    /// Where to compute, of the commands that are told.
    pub(crate) fn compute(&self) -> Option<&ComputeArgs> {
        match self {
            Self::Mine(args) => Some(&args.compute),
            Self::Node(args) => Some(&args.compute),
            Self::Verifier(args) => Some(&args.compute),
            Self::Train(args) => Some(&args.compute),
            Self::Generate(args) => Some(&args.compute),
            Self::Verify(args) => Some(&args.compute),
            Self::Bench(args) => Some(&args.compute),
            Self::Quality(args) => Some(&args.compute),
            Self::Genesis(_)
            | Self::Adapter(_)
            | Self::Check(_)
            | Self::Devices(_)
            | Self::Model(_)
            | Self::Wallet(_)
            | Self::Probe => None,
        }
    }
}

#[derive(Args)]
pub(crate) struct MineArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// Mine for the node at this URL instead of one in this process; may be repeated with others of the same chain, which
    /// are asked where it is of no use
    #[arg(long, value_name = "URL", env = "R3MES_NODE", value_delimiter = ',')]
    pub(crate) node: Vec<String>,
    /// The address that is paid; with --node, an address of its chain [default there: the session's own]
    #[arg(long, default_value = "local", env = "R3MES_ADDRESS")]
    pub(crate) address: String,
    /// With --node: mine for this account, which granted a session to this machine's key, and be paid there
    #[arg(long, value_name = "ADDRESS", requires = "node", conflicts_with = "address", env = "R3MES_GRANTER")]
    pub(crate) granter: Option<String>,
    /// With --node: sign with this wallet's key instead of this machine's session key
    #[arg(long, value_name = "NAME", requires = "node", conflicts_with = "granter")]
    pub(crate) wallet: Option<String>,
    /// A file with the wallet's passphrase [default: R3MES_PASSPHRASE of the environment, else it is asked for]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sources: crate::client::sources::SourceArgs,
    /// Say what would be mined, on what and for whom, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Stop after so many accepted tasks
    #[arg(long)]
    pub(crate) max_tasks: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) time_limit: Option<u64>,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct VerifierArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// The node to verify for; may be repeated with others of the same chain, which are asked where it is of no use
    #[arg(long, value_name = "URL", env = "R3MES_NODE", value_delimiter = ',', required = true)]
    pub(crate) node: Vec<String>,
    /// Sign with this wallet's key, whose coins are the stake [default: the operator's key of this machine]
    #[arg(long, value_name = "NAME")]
    pub(crate) wallet: Option<String>,
    /// A file with the wallet's passphrase [default: R3MES_PASSPHRASE of the environment, else it is asked for]
    #[arg(long, value_name = "FILE", requires = "wallet")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Bring the stake up to so many micro-units; what wrong words cost is taken of it [default: the least that the
    /// network takes]
    #[arg(long, value_name = "MICRO", value_parser = crate::commands::wallet::micro)]
    pub(crate) stake: Option<u64>,
    /// Also add up full rounds
    #[arg(long)]
    pub(crate) proposer: bool,
    /// Give up all roles as soon as everything drawn for is done, and stop; the stake comes back after the network's
    /// unbonding time
    #[arg(long, conflicts_with_all = ["stake", "proposer"])]
    pub(crate) leave: bool,
    /// Where the node lacks a block, ask this trustless gateway; may be repeated
    #[arg(long, value_name = "URL", env = "R3MES_GATEWAY", value_delimiter = ',')]
    pub(crate) gateway: Vec<String>,
    /// Where to keep the model and keys [default: the user's data folder]
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Stop after so many gradients
    #[arg(long)]
    pub(crate) max_gradients: Option<u64>,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Optimizer steps
    #[arg(long, default_value_t = 100)]
    pub(crate) steps: u64,
    /// Chunks of 2048 tokens a step
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) chunks: u32,
    /// Learning rate
    #[arg(long)]
    pub(crate) learning_rate: Option<f64>,
    /// AdamW or Lion
    #[arg(long, value_enum, default_value_t = OptimizerKind::Adamw)]
    pub(crate) optimizer: OptimizerKind,
    /// A text to tell the loss of, all of it, instead of the last tenth of the chunks
    #[arg(long, value_name = "FILE")]
    pub(crate) eval: Option<PathBuf>,
    /// Steps between evaluations; a checkpoint is written with each
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) eval_steps: u64,
    /// Folder for the checkpoint; one that is there is continued
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Seed of the adapter and of the dither
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OptimizerKind {
    Adamw,
    Lion,
}

#[derive(Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Folder with a model, as `model import` writes it [default: the one that comes with the program]
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// A checkpoint of `train` or its folder, a PEFT adapter's folder, a data folder, or the URL of a node
    #[arg(long, value_name = "SOURCE")]
    pub(crate) adapter: Option<String>,
    /// The text to continue
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: String,
    /// Tokens to add
    #[arg(long, default_value_t = 400)]
    pub(crate) max_tokens: usize,
    /// Divides the scores: 0 for always the likeliest token, 1 for the model's own shares
    #[arg(long, default_value_t = 0.7)]
    pub(crate) temperature: f64,
    /// Draw from so many of the likeliest tokens; 0 for all
    #[arg(long, default_value_t = 40)]
    pub(crate) top: usize,
    /// The same seed gives the same text, on every GPU and CPU
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Where models are
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// One JSON object on stdout at the end, instead of the text as it comes
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// A receipt's file, or the CID of an artifact that a receipt in the data folder names
    pub(crate) receipt: String,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// The model that the task names
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Where models, ledger and receipts are
    #[arg(long, value_name = "DIR", env = "R3MES_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// Leave out software GPUs, which take minutes
    #[arg(long)]
    pub(crate) skip_software: bool,
    /// Play so many dispatches of a step on each backend and the rest by the scalar references: where one more makes the
    /// digest differ, that dispatch is wrong there
    #[arg(long, value_name = "DISPATCHES")]
    pub(crate) prefix: Option<usize>,
    /// One JSON object a line on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Default)]
pub(crate) struct DevicesArgs {
    /// Also ask every GPU the known answers
    #[arg(long)]
    pub(crate) test: bool,
    /// One JSON object a line on stdout; asks the known answers too
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrialShape {
    Small,
    Wide,
}

#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Sizes of the model: 3 M ternary weights and 64 tokens, or 51 M and 128
    #[arg(long, value_enum, default_value_t = TrialShape::Wide)]
    pub(crate) shape: TrialShape,
    /// Time the model in this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "shape")]
    pub(crate) model: Option<PathBuf>,
    /// Tokens of the one sequence, with --model [default: the model's context]
    #[arg(long, requires = "model")]
    pub(crate) tokens: Option<usize>,
    /// On the GPU named, run this kernel by this lowering, others by the plain ones, and ask no known answers
    #[arg(long, value_name = "KERNEL=LOWERING")]
    pub(crate) lowering: Vec<String>,
    /// Steps to time after one to warm up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) steps: u32,
    /// Exit with 4 unless the step's digest is this
    #[arg(long, value_name = "HEX")]
    pub(crate) expect: Option<String>,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct QualityArgs {
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) job: JobArgs,
    /// Steps of one sequence, by each way, before losses and gradients are compared
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) steps: u32,
    /// Sequences whose gradients are compared
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) sequences: u32,
    /// One JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
