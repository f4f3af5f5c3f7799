//! Memory that one stage is done with goes back to the system before the next one asks for its own.

/// Gives free pages back. The allocator keeps what the ingest freed (hundreds of MB of Arrow buffers on a cold run), and
/// DuckDB's operators would come on top of it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the C library's own call, which takes no pointers and may be made at any time"
)]
pub(crate) fn give_back() {
    // SAFETY: `malloc_trim` is thread-safe and only touches memory that nobody owns.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators give back on their own.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}
