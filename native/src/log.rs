//! The log of `node`, `mine` and `verifier`: `tracing` events on stderr, as text for people or as JSON for log
//! collectors.

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use std::io::stderr;
use tracing_subscriber::EnvFilter;

/// Logging flags of the commands `node`, `mine` and `verifier`.
#[derive(Args, Clone)]
pub(crate) struct LogArgs {
    /// Log events of this level (off, error, warn, info, debug or trace) and more severe ones; a module can have a
    /// level of its own, as in info,r3mes_wgpu::consensus=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "R3MES_LOG")]
    pub(crate) log: String,
    /// Format of the log on stderr: text, or json (one object per line, with a timestamp)
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl LogArgs {
    /// Starts logging to stderr. Must be called only once per process. Events before this call are discarded.
    ///
    /// Returns an error if the filter given with `--log` cannot be parsed.
    pub(crate) fn start(&self) -> Result<()> {
        let filter = EnvFilter::try_new(&self.log).with_context(|| format!("--log {}: invalid filter", self.log))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
        let started = match self.log_format {
            // terminals and systemd's journal add the time themselves, and module paths do not help a reader
            LogFormat::Text => log.without_time().with_target(false).try_init(),
            LogFormat::Json => log.json().flatten_event(true).try_init(),
        };
        started.map_err(|error| anyhow!("logging could not be started: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_filter_is_an_error_that_names_the_flag() {
        let args = LogArgs { log: "info,node=loud=x".to_owned(), log_format: LogFormat::Text };
        assert!(args.start().unwrap_err().to_string().contains("--log info,node=loud=x: invalid filter"));
    }
}
