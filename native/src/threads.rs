//! Starts threads that the process needs: if one of them panics, the process exits. Also limits the memory that many
//! threads cost.

use crate::output::{Exit, note};
use anyhow::{Context, Result};
use std::{panic, process::exit, thread};

/// The number of memory pools from which glibc allocates.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MEMORY_POOLS: i32 = 2;

/// Limits the freed memory that glibc keeps instead of returning it to the system. By default, glibc has up to eight
/// pools of memory for each core, and each pool keeps as much as its threads have ever used. This function must be
/// called before the process starts other threads.
pub(crate) fn limit_memory_pools() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no other thread allocates memory while the setting changes.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, MEMORY_POOLS);
    }
}

/// If the system refuses to start a thread, libraries panic with a message that contains one of these texts.
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

/// A value that belongs to a thread and is dropped when the thread ends. If the thread has panicked, dropping the value
/// ends the process.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            note!("r3mes-wgpu: exiting because a thread panicked; all acknowledged data is on disk");
            exit(Exit::Failure as i32);
        }
    }
}

/// Starts a thread with the name `name`. If the thread panics, the process exits with code 1. If the process continued,
/// other threads could wait for the lost thread forever.
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
