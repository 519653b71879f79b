//! Handles Ctrl-C. The first one requests a stop after the current task, and the second one stops the process
//! immediately. No work is lost in either case.

use anyhow::{Context, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The time that a passphrase prompt needs to turn the terminal's echo on again.
const PROMPT_TIME: Duration = Duration::from_millis(200);

/// Handles Ctrl-C for commands that have nothing to finish. The process ends after a short wait, in which a passphrase
/// prompt, which receives the signal too, can restore the terminal.
pub(crate) fn end_at_once() -> Result<()> {
    ctrlc::set_handler(|| {
        std::thread::sleep(PROMPT_TIME);
        std::process::exit(super::output::Exit::Interrupted as i32);
    })
    .context("listening for Ctrl-C")
}

/// A flag that Ctrl-C sets.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Starts to handle Ctrl-C.
    pub(crate) fn listen() -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let flag = requested.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(super::output::Exit::Interrupted as i32);
            }
            eprintln!("Stopping after the current task. Press Ctrl-C again to stop at once.");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(requested))
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
