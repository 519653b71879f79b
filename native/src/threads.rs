//! Threads that the process can not do without.

use crate::output::Exit;
use anyhow::{Context, Result};
use std::{process::exit, thread};

/// Ends the process where its thread panics.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("r3mes-wgpu: ended, since one of its threads did; what was acknowledged is on disk");
            exit(Exit::Failure as i32);
        }
    }
}

/// Starts a thread. Where it panics the process ends: others would wait for it for ever.
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
    fn child() {
        start("falling", || panic!("on purpose")).unwrap();
        thread::sleep(Duration::from_secs(60));
    }

    #[test]
    fn a_panic_ends_the_process() {
        let arguments = ["--exact", "threads::tests::child", "--ignored", "--nocapture"];
        let output = Command::new(env::current_exe().unwrap()).args(arguments).output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(words.contains("on purpose") && words.contains("what was acknowledged is on disk"), "{words}");
        assert_eq!(output.status.code(), Some(Exit::Failure as i32));
    }
}
