//! Ctrl-C: the first asks to stop at the next safe point, the second stops now. Nothing is lost either way.

use anyhow::{Context, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// What a prompt is given to put the terminal's echo back.
const MOMENT: Duration = Duration::from_millis(200);

/// For commands that have nothing to finish: Ctrl-C ends them, but not before a prompt without echo, which is told of it
/// too, has put the terminal back as it was.
pub(crate) fn end_at_once() -> Result<()> {
    ctrlc::set_handler(|| {
        std::thread::sleep(MOMENT);
        std::process::exit(super::output::Exit::Interrupted as i32);
    })
    .context("listening for Ctrl-C")
}

/// Whether somebody asked to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let flag = asked.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(super::output::Exit::Interrupted as i32);
            }
            eprintln!("stopping after this task; Ctrl-C again stops now");
        })
        .context("listening for Ctrl-C")?;
        Ok(Self(asked))
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
