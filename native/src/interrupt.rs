//! Handles requests to stop: Ctrl-C, and the signal SIGTERM, which service managers and containers send.
//!
//! A command that has something to finish [listens](Interrupt::listen) for the first request and stops after its
//! current task. The second request ends the process immediately, as the first one does in all other commands. In every
//! case, nothing that was accepted or saved is lost.

use crate::{
    output::{Exit, note},
    threads,
};
use anyhow::{Context, Result};
use std::{
    process::exit,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};
use tokio::runtime::Builder;

/// The time between a request to stop and the end of the process. A passphrase prompt, which also receives Ctrl-C, can
/// turn the terminal's echo on again in this time.
const PROMPT_TIME: Duration = Duration::from_millis(200);

/// Whether the running command itself stops after the first request to stop. If not, this request ends the process.
static LISTENING: AtomicBool = AtomicBool::new(false);
/// The time of the first request to stop.
static REQUESTED: OnceLock<Instant> = OnceLock::new();

/// Starts a thread that handles requests to stop until the process ends. Without this thread, the main process of a
/// container would ignore SIGTERM.
pub(crate) fn handle() -> Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build().context("listening for Ctrl-C")?;
    let mut requests = {
        let _runtime = runtime.enter();
        Requests::listen().context("listening for Ctrl-C")?
    };
    threads::start("interrupt", move || {
        runtime.block_on(async {
            loop {
                requests.next().await;
                stop();
            }
        });
    })
}

fn stop() {
    if !LISTENING.load(Ordering::SeqCst) || REQUESTED.set(Instant::now()).is_err() {
        sleep(PROMPT_TIME);
        exit(Exit::Interrupted as i32);
    }
    note!("Stopping after the current task. Press Ctrl-C again to stop immediately.");
}

/// The notifications of the operating system about requests to stop: Ctrl-C and, on Unix, SIGTERM.
struct Requests {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    ctrl_c: tokio::signal::unix::Signal,
    #[cfg(windows)]
    ctrl_c: tokio::signal::windows::CtrlC,
}

impl Requests {
    #[cfg(unix)]
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, ctrl_c: signal(SignalKind::interrupt())? })
    }

    #[cfg(windows)]
    fn listen() -> std::io::Result<Self> {
        Ok(Self { ctrl_c: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for the next request to stop.
    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.ctrl_c.recv() => {}
        }
        #[cfg(windows)]
        self.ctrl_c.recv().await;
    }
}

/// Permission to ask whether the process was requested to stop. Once a command holds this permission, the first request
/// to stop no longer ends the process, and the command must stop by itself.
#[derive(Clone, Copy)]
pub(crate) struct Interrupt(());

impl Interrupt {
    /// Makes the first request to stop set a flag instead of ending the process.
    pub(crate) fn listen() -> Self {
        LISTENING.store(true, Ordering::SeqCst);
        Self(())
    }

    /// Returns whether the user or the system has requested a stop.
    pub(crate) fn is_requested(self) -> bool {
        REQUESTED.get().is_some()
    }

    /// Returns whether the time `time` has passed since a stop was requested.
    pub(crate) fn was_requested_before(self, time: Duration) -> bool {
        REQUESTED.get().is_some_and(|requested| requested.elapsed() >= time)
    }
}
