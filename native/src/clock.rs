//! Clocks: the wall clock in seconds, and a monotonic clock in milliseconds.

use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Returns the seconds since 1970 by this machine's clock, or 0 if the clock is set to a time before 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Returns the milliseconds since this function was first called. The value never decreases.
pub(crate) fn elapsed_ms() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64() * 1000.0
}
