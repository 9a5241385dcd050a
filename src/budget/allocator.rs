//! What the allocator keeps after it was freed. By itself glibc returns pages to the kernel from the end of a heap alone:
//! whatever was freed below a block that lives on stays resident (decision 32 has the figures).

/// Has glibc return the free pages of all its heaps to the kernel. It takes milliseconds, in which threads that allocate wait
/// for each other: not for a data thread, and not often. Other C libraries do this by themselves.
pub fn release_freed() {
    #[cfg(target_env = "gnu")]
    #[allow(
        unsafe_code,
        reason = "glibc's malloc_trim has no safe wrapper, and without it an attack leaves more resident than is allowed (decision 32)"
    )]
    // SAFETY: it takes a number, touches nothing but pages that are free, and holds the allocator's own locks meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}
