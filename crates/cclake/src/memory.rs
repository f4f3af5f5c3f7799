//! How much memory there is: what one stage is done with goes back to the system as the next one begins, and no stage asks
//! for more than the machine has.

/// Gives free pages of all arenas back. The allocator keeps what the ingest freed (hundreds of MB of Arrow buffers on a cold
/// run), longer than its settings say where the thread has ended, and DuckDB's operators would come on top of it.
#[expect(
    unsafe_code,
    reason = "the allocator's own call, which reads and writes nothing here and may be made at any time"
)]
pub(crate) fn give_back() {
    // 4096 is jemalloc's `MALLCTL_ARENAS_ALL`.
    // SAFETY: `purge` of all arenas takes no value and returns none, so that all pointers but the name's may be null.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            c"arena.4096.purge".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        );
    }
}

/// Lets the arenas of threads that begin from now on keep free pages for five seconds instead of one: a thread that fills the
/// same buffers again and again, for as long as a large extract takes, gets the pages it gave back a moment ago instead of new
/// ones, each of which the kernel must clear first. With a minute, upkeep finds them still there: 140 MB more at the peak.
#[expect(
    unsafe_code,
    reason = "the allocator's own call, which reads one number that outlives it and may be made at any time"
)]
pub(crate) fn keep_for_new_threads() {
    let mut milliseconds: isize = 5_000;
    // SAFETY: the setting is an `ssize_t`, as wide as an `isize`, whose address and size are handed over; nothing is asked back.
    unsafe {
        tikv_jemalloc_sys::mallctl(
            c"arenas.dirty_decay_ms".as_ptr(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            (&raw mut milliseconds).cast(),
            size_of_val(&milliseconds),
        );
    }
}

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
