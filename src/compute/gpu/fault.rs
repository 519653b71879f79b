//! A fault: what a GPU says when it refuses, runs out of memory or is lost, as an [`Error`].

use super::{Gpu, signal::Signal};
use crate::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A slice takes milliseconds; a GPU silent for so long hangs.
#[cfg(not(target_arch = "wasm32"))]
const HANGS: std::time::Duration = std::time::Duration::from_secs(120);

/// What has gone wrong so far: why the GPU was lost, else the first error that no scope caught.
#[derive(Clone, Default)]
pub(super) struct GpuFault(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    lost: Option<String>,
    uncaptured: Option<Refusal>,
}

/// What is kept of a `wgpu::Error`, which in browsers may not change threads.
enum Refusal {
    GpuMemory,
    Other(String),
}

impl From<wgpu::Error> for Refusal {
    fn from(error: wgpu::Error) -> Self {
        match error {
            wgpu::Error::OutOfMemory { .. } => Self::GpuMemory,
            wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                Self::Other(description)
            }
        }
    }
}

impl GpuFault {
    /// Listens to the device, in place of wgpu's own handler, which panics.
    pub(super) fn watch(device: &wgpu::Device) -> Self {
        let fault = Self::default();
        let seen = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            seen.seen().uncaptured.get_or_insert(error.into());
        }));
        let seen = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            seen.lose(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        fault
    }

    fn lose(&self, reason: String) {
        self.seen().lost.get_or_insert(reason);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails with what has gone wrong while doing `what`.
    pub(super) fn check(&self, what: &str) -> Result<(), Error> {
        let mut seen = self.seen();
        let uncaptured = seen.uncaptured.take();
        match (&seen.lost, uncaptured) {
            (Some(reason), _) => Err(Error::GpuLost { reason: reason.clone() }),
            (None, Some(refusal)) => Err(named(what, refusal)),
            (None, None) => Ok(()),
        }
    }

    fn lost(&self, what: &str) -> Error {
        let silent = || Error::GpuLost { reason: format!("no answer while {what}") };
        self.check(what).err().unwrap_or_else(silent)
    }
}

fn named(what: &str, refusal: Refusal) -> Error {
    let what = what.to_owned();
    match refusal {
        Refusal::GpuMemory => Error::GpuMemory { what },
        Refusal::Other(reason) => Error::GpuRefused { what, reason },
    }
}

impl Gpu {
    /// Runs `make`, which creates things on the GPU, and catches what it raises.
    pub(super) async fn guarded<T>(&self, what: &str, make: impl FnOnce() -> T) -> Result<T, Error> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        self.0.fault.check(what)?;
        let [internal, memory, validation] =
            [Internal, OutOfMemory, Validation].map(|filter| self.0.device.push_error_scope(filter));
        let made = make();
        let caught = [validation.pop(), memory.pop(), internal.pop()];
        for error in caught {
            if let Some(error) = error.await {
                return Err(named(what, error.into()));
            }
        }
        self.0.fault.check(what)?;
        Ok(made)
    }

    /// Waits until a submission is done.
    pub(super) async fn finished(&self, what: &str, submission: QueueSubmission) -> Result<(), Error> {
        self.poll(what, submission.index)?;
        submission.done.wait().await.ok_or_else(|| self.0.fault.lost(what))?;
        self.0.fault.check(what)
    }

    /// Submits commands.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> QueueSubmission {
        let index = self.0.queue.submit([commands]);
        let (done, deliver) = Signal::new();
        self.0.queue.on_submitted_work_done(move || deliver(()));
        QueueSubmission { index, done }
    }

    /// Asks to read a buffer once what was submitted is done.
    pub(super) fn map(&self, buffer: &wgpu::Buffer) -> Mapped {
        let (mapped, deliver) = Signal::new();
        buffer.map_async(wgpu::MapMode::Read, .., deliver);
        mapped
    }

    /// Waits until a buffer is mapped that was asked for after `from`.
    pub(super) async fn mapped(&self, what: &str, mapped: Mapped, from: QueueSubmission) -> Result<(), Error> {
        self.poll(what, from.index)?;
        match mapped.wait().await {
            Some(Ok(())) => self.0.fault.check(what),
            _ => Err(self.0.fault.lost(what)),
        }
    }

    /// Natively, blocks until a submission is done and runs the callbacks that wait for it.
    #[cfg(not(target_arch = "wasm32"))]
    fn poll(&self, what: &str, index: wgpu::SubmissionIndex) -> Result<(), Error> {
        let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(HANGS) };
        // wgpu panics where the device is lost while it waits (`handle_error_fatal` in Device::poll).
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.0.device.poll(wait)));
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.0.fault.lose(format!("{what}: {error}"));
                Err(self.0.fault.lost(what))
            }
            Err(_) => {
                self.0.fault.lose("the driver lost it".to_owned());
                Err(self.0.fault.lost(what))
            }
        }
    }

    /// A browser polls by itself.
    #[cfg(target_arch = "wasm32")]
    fn poll(&self, _: &str, _: wgpu::SubmissionIndex) -> Result<(), Error> {
        Ok(())
    }
}

/// Work that the GPU has accepted.
pub(super) struct QueueSubmission {
    index: wgpu::SubmissionIndex,
    done: Signal<()>,
}

impl QueueSubmission {
    /// Whether its end has been heard of.
    pub(super) fn is_done(&self) -> bool {
        self.done.is_delivered()
    }
}

/// Whether a buffer can be read, once it is known.
pub(super) type Mapped = Signal<Result<(), wgpu::BufferAsyncError>>;
