//! Records the faults of a GPU and converts them into [`Error`]s. A fault is what the driver reports if it refuses
//! work, runs out of memory or loses the GPU.

use super::{Gpu, signal::Signal};
use crate::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The time after which a GPU that has not completed its work counts as lost. A slice of work normally takes
/// milliseconds.
#[cfg(not(target_arch = "wasm32"))]
const HANG_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(120);

/// The record of a GPU's faults. The callbacks of wgpu add to it.
#[derive(Clone, Default)]
pub(super) struct GpuFault(Arc<Mutex<Faults>>);

#[derive(Default)]
struct Faults {
    /// The reason why the GPU was lost; `None` as long as it is usable.
    lost: Option<String>,
    /// The first error that occurred outside an error scope of wgpu since the last call of [`check`](GpuFault::check).
    uncaptured: Option<UncapturedError>,
}

/// The content of a `wgpu::Error`. It can be sent to another thread, unlike a `wgpu::Error` in a browser.
enum UncapturedError {
    GpuMemory,
    Other(String),
}

impl From<wgpu::Error> for UncapturedError {
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
    /// Starts to record the faults of a device, and returns the record. wgpu's own handler, which panics, is replaced.
    pub(super) fn watch(device: &wgpu::Device) -> Self {
        let fault = Self::default();
        let faults = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            faults.faults().uncaptured.get_or_insert(error.into());
        }));
        let faults = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            faults.lose(if message.is_empty() { format!("{reason:?}") } else { message });
        });
        fault
    }

    fn lose(&self, reason: String) {
        self.faults().lost.get_or_insert(reason);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an error if a fault has been recorded. The error names the current work, which `what` describes. If the
    /// GPU has been lost, the error states the reason of the loss instead.
    pub(super) fn check(&self, what: &str) -> Result<(), Error> {
        let mut faults = self.faults();
        let uncaptured = faults.uncaptured.take();
        match (&faults.lost, uncaptured) {
            (Some(reason), _) => Err(Error::GpuLost { reason: reason.clone() }),
            (None, Some(refusal)) => Err(named(what, refusal)),
            (None, None) => Ok(()),
        }
    }

    fn lost(&self, what: &str) -> Error {
        let silent = || Error::GpuLost { reason: format!("the GPU did not respond during {what}") };
        self.check(what).err().unwrap_or_else(silent)
    }
}

fn named(what: &str, refusal: UncapturedError) -> Error {
    let what = what.to_owned();
    match refusal {
        UncapturedError::GpuMemory => Error::GpuMemory { what },
        UncapturedError::Other(reason) => Error::GpuRefused { what, reason },
    }
}

impl Gpu {
    /// Calls `make`, which creates GPU objects or submits work, and returns its result. If the driver reports an error,
    /// returns an error in which `what` describes the work that failed.
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

    /// Waits until the GPU has completed submitted work. Returns an error if the work fails or the GPU is lost. `what`
    /// describes the work in the error.
    pub(super) async fn finished(&self, what: &str, submission: QueueSubmission) -> Result<(), Error> {
        self.poll(what, submission.index)?;
        submission.done.wait().await.ok_or_else(|| self.0.fault.lost(what))?;
        self.0.fault.check(what)
    }

    /// Submits a command buffer to the GPU. The returned value reports when the work is complete.
    pub(super) fn submit(&self, commands: wgpu::CommandBuffer) -> QueueSubmission {
        let index = self.0.queue.submit([commands]);
        let (done, deliver) = Signal::new();
        self.0.queue.on_submitted_work_done(move || deliver(()));
        QueueSubmission { index, done }
    }

    /// Requests that a buffer be mapped for reading as soon as the work submitted so far is complete. Returns the
    /// pending result of the request.
    pub(super) fn map(&self, buffer: &wgpu::Buffer) -> Mapped {
        let (mapped, deliver) = Signal::new();
        buffer.map_async(wgpu::MapMode::Read, .., deliver);
        mapped
    }

    /// Waits until a buffer is mapped for reading. `mapped` is the pending result of the call of [`Self::map`], and
    /// `from` is the last work that was submitted before that call. Returns an error if mapping fails or the GPU is
    /// lost. `what` describes the work in the error.
    pub(super) async fn mapped(&self, what: &str, mapped: Mapped, from: QueueSubmission) -> Result<(), Error> {
        self.poll(what, from.index)?;
        match mapped.wait().await {
            Some(Ok(())) => self.0.fault.check(what),
            _ => Err(self.0.fault.lost(what)),
        }
    }

    /// Blocks until submitted work is complete, and runs the callbacks that report its completion. On native platforms,
    /// wgpu runs callbacks only during such a call. Returns an error if the GPU is lost or does not complete the work
    /// within [`HANG_TIMEOUT`].
    #[cfg(not(target_arch = "wasm32"))]
    fn poll(&self, what: &str, index: wgpu::SubmissionIndex) -> Result<(), Error> {
        let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(HANG_TIMEOUT) };
        // wgpu panics if the device is lost while it waits (`handle_error_fatal` in Device::poll).
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.0.device.poll(wait)));
        match polled {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.0.fault.lose(format!("{what}: {error}"));
                Err(self.0.fault.lost(what))
            }
            Err(_) => {
                self.0.fault.lose("the driver failed while the program waited for it".to_owned());
                Err(self.0.fault.lost(what))
            }
        }
    }

    /// Does nothing, because a browser runs the callbacks by itself when submitted work is complete.
    #[cfg(target_arch = "wasm32")]
    fn poll(&self, _: &str, _: wgpu::SubmissionIndex) -> Result<(), Error> {
        Ok(())
    }
}

/// Work that was submitted to the GPU and may still be running.
pub(super) struct QueueSubmission {
    index: wgpu::SubmissionIndex,
    done: Signal<()>,
}

impl QueueSubmission {
    /// Returns whether the GPU has reported that the work is complete.
    pub(super) fn is_done(&self) -> bool {
        self.done.is_delivered()
    }
}

/// The pending result of a request to map a buffer.
pub(super) type Mapped = Signal<Result<(), wgpu::BufferAsyncError>>;
