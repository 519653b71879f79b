//! Backends: what plays a [`Recording`].

pub mod answers;
pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;

use crate::{
    error::Error,
    kernels::Saturated,
    recording::{BufferId, Recording},
};
use cpu::player::CpuPlayer;
use std::{ops::Range, sync::Arc};

/// A recording in a backend's memory. Methods are async for the GPU's sake; on the CPU they never wait.
pub enum Player {
    /// On CPU threads.
    Cpu(CpuPlayer),
    /// On a GPU.
    #[cfg(feature = "gpu")]
    Gpu(Box<gpu::GpuPlayer>),
}

/// Where to play.
#[derive(Clone)]
pub enum Backend {
    /// On this many threads (0: one per core), by these twins.
    Cpu {
        /// Threads.
        threads: usize,
        /// SIMD or scalar.
        choose: cpu::player::Choose,
    },
    /// On an opened GPU, by these lowerings.
    #[cfg(feature = "gpu")]
    Gpu {
        /// The GPU.
        gpu: gpu::Gpu,
        /// The lowering of each kernel.
        choice: gpu::Choice,
    },
}

impl Backend {
    /// Allocates and uploads what the recording needs.
    pub async fn player(&self, recording: &Arc<Recording>) -> Result<Player, Error> {
        Ok(match self {
            Self::Cpu { threads, choose } => Player::Cpu(CpuPlayer::new(recording.clone(), *threads, *choose)),
            #[cfg(feature = "gpu")]
            Self::Gpu { gpu, choice } => Player::Gpu(Box::new(gpu::GpuPlayer::new(gpu, recording, choice).await?)),
        })
    }
}

impl Player {
    /// Sets all words of a kept buffer.
    pub async fn write(&mut self, id: BufferId, words: &[u32]) -> Result<(), Error> {
        match self {
            Self::Cpu(player) => player.write(id, words),
            #[cfg(feature = "gpu")]
            Self::Gpu(player) => player.write(id, words).await,
        }
    }

    /// A buffer's words; of a scratch buffer, whatever its memory holds now.
    pub async fn read(&self, id: BufferId) -> Result<Vec<u32>, Error> {
        match self {
            Self::Cpu(player) => Ok(player.read(id).to_vec()),
            #[cfg(feature = "gpu")]
            Self::Gpu(player) => player.read(id).await,
        }
    }

    /// Plays a range of dispatches in order; says whether one of them saturated.
    pub async fn play(&mut self, dispatches: Range<usize>) -> Result<Saturated, Error> {
        match self {
            Self::Cpu(player) => Ok(player.play(dispatches)),
            #[cfg(feature = "gpu")]
            Self::Gpu(player) => player.play(dispatches).await,
        }
    }
}
