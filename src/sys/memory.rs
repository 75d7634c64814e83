//! Taking little memory, and giving back what only the start of a program
//! needed.

/// Takes what the program and its libraries have in memory of their files out
/// of it, as far as nobody can write it, and returns what the allocator holds
/// for nobody. Whoever needs a page again finds it where the kernel keeps
/// files, for the price of a fault.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
pub(crate) fn give_back() {
    // SAFETY: the function reads what it is given and calls the loader for
    // nothing; it is called before this returns.
    unsafe { libc::dl_iterate_phdr(Some(give_back_object), std::ptr::null_mut()) };
    // SAFETY: it takes a number, on any thread.
    unsafe { libc::malloc_trim(0) };
}

// On smaller machines a loader may have written into what is protected.
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64")))]
pub(crate) fn give_back() {}

/// Has the allocator of glibc make no more than two pools for all threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn few_pools() {
    // SAFETY: it takes two numbers, on any thread.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn few_pools() {}

/// One object that is loaded. The loader holds its lock, so none comes or goes.
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
unsafe extern "C" fn give_back_object(
    info: *mut libc::dl_phdr_info,
    _: libc::size_t,
    _: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: the loader gives a valid object with that many headers.
    let (info, headers) = unsafe {
        let info = &*info;
        (info, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    // The kernel's own object is no file.
    // SAFETY: a name is a text of C, or missing.
    let is_kernels = !info.dlpi_name.is_null()
        && unsafe { std::ffi::CStr::from_ptr(info.dlpi_name) }.to_bytes().starts_with(b"linux-");
    // SAFETY: it takes a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(0);
    if is_kernels || page == 0 {
        return 0;
    }
    for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
        // What may be written, or was before it was protected, has no copy in
        // the file.
        if header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let begin = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
        // Whole pages only: the others may be a neighbour's.
        let first = begin.next_multiple_of(page);
        let end = begin.saturating_add(header.p_memsz as usize) / page * page;
        if first < end {
            // SAFETY: the pages belong to a private mapping of a file that
            // nobody has written to; read again, they are what they were.
            unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(all(test, not(shuttle), target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_program_goes_on_as_before() {
        let texts: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
        few_pools();
        for _ in 0..3 {
            give_back();
            let lengths: usize = texts.iter().map(String::len).sum();
            assert_eq!(lengths, 10 + 180 + 2700);
        }
    }
}
