//! Handles Ctrl-C. The first Ctrl-C requests a stop after the current task, and the second one ends the process
//! immediately. In both cases, nothing that was accepted or saved is lost.

use anyhow::{Context, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The time for which the process waits after Ctrl-C, so that a passphrase prompt can turn the terminal's echo on
/// again.
const PROMPT_TIME: Duration = Duration::from_millis(200);

/// Handles Ctrl-C for commands that have nothing to finish. The process ends after a short wait. During this wait a
/// passphrase prompt, which also receives the signal, can restore the terminal.
pub(crate) fn end_at_once() -> Result<()> {
    ctrlc::set_handler(|| {
        std::thread::sleep(PROMPT_TIME);
        std::process::exit(super::output::Exit::Interrupted as i32);
    })
    .context("listening for Ctrl-C")
}

/// A flag that is set when the user presses Ctrl-C.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handler for Ctrl-C. The first Ctrl-C sets the returned flag, and the second one ends the process.
    pub(crate) fn listen() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let flag = requested.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(super::output::Exit::Interrupted as i32);
            }
            eprintln!("Stopping after the current task. Press Ctrl-C again to stop immediately.");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(requested))
    }

    /// Returns whether the user has pressed Ctrl-C.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
