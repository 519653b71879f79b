//! Starts threads that the process needs: if one of them panics, the process exits.

use crate::output::{Exit, note};
use anyhow::{Context, Result};
use std::{panic, process::exit, thread};

/// Parts of the messages with which libraries panic if the system refuses to start a thread that they need.
const REFUSED: [&str; 2] = ["can't spawn worker thread", "failed to spawn thread"];

/// Makes the process exit with an explanation, instead of a panic, if the system refuses to start a thread.
pub(crate) fn explain_refusals() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let message = panic.payload_as_str().unwrap_or_default();
        if REFUSED.iter().any(|words| message.contains(words)) {
            note!(
                "r3mes-wgpu: the system refuses another thread ({message}); raise its limit of processes and threads"
            );
            exit(Exit::Failure as i32);
        }
        default(panic);
    }));
}

/// A value that a thread owns. If the thread panics, dropping the value ends the process.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            note!("r3mes-wgpu: exiting because a thread panicked; all acknowledged data is on disk");
            exit(Exit::Failure as i32);
        }
    }
}

/// Starts a thread named `name`. If it panics, the process exits with code 1; otherwise, other threads would wait for
/// it forever.
pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    let guarded = || {
        let _guard = Guard;
        work();
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).context("starting a thread").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, process::Command, time::Duration};

    #[test]
    #[ignore = "the child process of another test"]
    fn panicking_child() {
        start("panicking", || panic!("on purpose")).unwrap();
        thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn a_panic_ends_the_process() {
        let arguments = ["--exact", "threads::tests::panicking_child", "--ignored", "--nocapture"];
        let output = Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.contains("on purpose") && message.contains("all acknowledged data is on disk"), "{message}");
        assert_eq!(output.status.code(), Some(Exit::Failure as i32));
    }
}
