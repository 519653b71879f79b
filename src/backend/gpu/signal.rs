//! A signal: one value that a callback of the GPU delivers, once.

use std::sync::{Arc, Mutex, PoisonError};

/// Where the value will be.
pub(super) struct Signal<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    value: Option<T>,
    #[cfg(target_arch = "wasm32")]
    waker: Option<std::task::Waker>,
}

impl<T> Signal<T> {
    /// The signal, and what delivers it.
    pub(super) fn new() -> (Self, impl FnOnce(T) + use<T>) {
        let state = State {
            value: None,
            #[cfg(target_arch = "wasm32")]
            waker: None,
        };
        let state = Arc::new(Mutex::new(state));
        let sender = state.clone();
        let deliver = move |value| {
            let mut state = sender.lock().unwrap_or_else(PoisonError::into_inner);
            state.value = Some(value);
            #[cfg(target_arch = "wasm32")]
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        };
        (Self(state), deliver)
    }

    /// The value. Natively the caller has polled the device, so it is there by now, or the device is gone.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) async fn wait(self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).value.take()
    }

    /// The value, when the browser delivers it.
    #[cfg(target_arch = "wasm32")]
    pub(super) async fn wait(self) -> Option<T> {
        std::future::poll_fn(|context| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
