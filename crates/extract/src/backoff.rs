//! How long to wait for a server that is away.

use std::time::{Duration, SystemTime};

/// The shortest and the longest pause.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// Pauses between one try and the next.
#[derive(Debug)]
pub struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: PAUSES[0] }
    }
}

impl Backoff {
    /// Twice the last one, and never the same for many who lost one server.
    pub fn next_pause(&mut self) -> Duration {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let chance = f64::from(nanos.map_or(0, |time| time.subsec_nanos())) / 1e9;
        let pause = self.pause.mul_f64(0.5 + chance / 2.0);
        self.pause = (self.pause * 2).min(PAUSES[1]);
        pause
    }
}
