//! How much memory there is.

/// Four times `memory_mb`, or what the machine can spare; none when that is no more.
pub(crate) fn more_mb(memory_mb: u64) -> Option<u64> {
    let most = available_mb().map_or(MOST_MB, |available| available / 5 * 4);
    let more = memory_mb.saturating_mul(4).min(most);
    (more > memory_mb).then_some(more)
}

/// Where the system does not say what it has.
const MOST_MB: u64 = 8 << 10;

/// What Linux can give without swapping.
fn available_mb() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kibibytes >> 10)
}
