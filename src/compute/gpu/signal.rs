//! A signal is a value that a callback of the GPU delivers once, and for which a task can wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The receiving end of a signal, a value that a callback of the GPU delivers once. A task waits here for the value.
pub(super) struct Signal<T>(Arc<SignalShared<T>>);

struct SignalShared<T> {
    state: Mutex<SignalState<T>>,
    #[cfg(not(target_arch = "wasm32"))]
    delivered: std::sync::Condvar,
}

struct SignalState<T> {
    value: Option<T>,
    #[cfg(target_arch = "wasm32")]
    waker: Option<std::task::Waker>,
}

impl<T> SignalShared<T> {
    fn state(&self) -> MutexGuard<'_, SignalState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Signal<T> {
    /// Returns a signal, and the function that delivers the signal's value.
    pub(super) fn new() -> (Self, impl FnOnce(T) + use<T>) {
        let state = SignalState {
            value: None,
            #[cfg(target_arch = "wasm32")]
            waker: None,
        };
        let shared = Arc::new(SignalShared {
            state: Mutex::new(state),
            #[cfg(not(target_arch = "wasm32"))]
            delivered: std::sync::Condvar::new(),
        });
        let sender = shared.clone();
        let deliver = move |value| {
            let mut state = sender.state();
            state.value = Some(value);
            #[cfg(target_arch = "wasm32")]
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
            #[cfg(not(target_arch = "wasm32"))]
            sender.delivered.notify_one();
        };
        (Self(shared), deliver)
    }

    /// Returns whether the value has been delivered, so that [`Self::wait`] would return immediately.
    pub(super) fn is_delivered(&self) -> bool {
        self.0.state().value.is_some()
    }

    /// Waits for the value. Before this call, the caller must poll the device until the GPU has completed the work to
    /// which the value belongs. The callback that delivers the value has then run, or is still running on another
    /// thread. Returns `None` if no value arrives within 10 s.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) async fn wait(self) -> Option<T> {
        const MOMENT: std::time::Duration = std::time::Duration::from_secs(10);
        let missing = |state: &mut SignalState<T>| state.value.is_none();
        let waited = self.0.delivered.wait_timeout_while(self.0.state(), MOMENT, missing);
        waited.unwrap_or_else(PoisonError::into_inner).0.value.take()
    }

    /// Waits until a callback of the browser delivers the value. Never returns `None`.
    #[cfg(target_arch = "wasm32")]
    pub(super) async fn wait(self) -> Option<T> {
        std::future::poll_fn(|context| {
            let mut state = self.0.state();
            match state.value.take() {
                Some(value) => std::task::Poll::Ready(Some(value)),
                None => {
                    state.waker = Some(context.waker().clone());
                    std::task::Poll::Pending
                }
            }
        })
        .await
    }
}
