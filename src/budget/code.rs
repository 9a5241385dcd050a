//! The program's own code in memory. The start runs through most of it once: the command line, the configuration, certificates. The
//! kernel maps 64 KiB around each piece that is run, so that more of it stays mapped than an agent at rest uses (decision 44).

use rustix::mm::{Advice, madvise};
use std::ops::Range;
use std::ptr::without_provenance_mut;

/// Has the kernel unmap the code. What runs on is mapped again as it runs; the rest is free for the kernel to take.
pub fn release_code() {
    let Some(code) = mapped() else {
        return;
    };
    let start = without_provenance_mut(code.start);
    let length = code.len();
    #[allow(
        unsafe_code,
        reason = "rustix has no safe wrapper, and without it an agent at rest has twice as much resident (decision 44)"
    )]
    // SAFETY: these pages are the program's file, mapped for reading and running, and nobody writes to them: the kernel may drop
    // them at any time, and reads them again.
    unsafe {
        let _ = madvise(start, length, Advice::LinuxDontNeed);
    }
}

/// Where the code is that runs this.
fn mapped() -> Option<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let here = mapped as fn() -> Option<Range<usize>> as usize;
    let mut ranges = maps.lines().filter_map(code);
    ranges.find(|range| range.contains(&here))
}

/// The addresses of a line such as `55d0a0400000-55d0a1100000 r-xp 00400000 fe:00 1234 /usr/bin/harbor-pilot` (proc_pid_maps(5)); `None`
/// for what is not code of a file.
fn code(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let is_code = words.next()? == "r-xp" && words.nth(3)?.starts_with('/');
    let address = |text| usize::from_str_radix(text, 16).ok();
    let range = address(start)?..address(end)?;
    is_code.then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KiB of that mapping that are resident.
    fn resident(range: &Range<usize>) -> u64 {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let head = format!("{:x}-{:x} ", range.start, range.end);
        let (_, mapping) = smaps.split_once(&head).unwrap();
        let rss = mapping.lines().find_map(|line| line.strip_prefix("Rss:"));
        let rss = rss.unwrap().trim().trim_end_matches(" kB");
        rss.parse().unwrap()
    }

    #[test]
    fn released_code_is_mapped_again_as_it_runs() {
        let code = mapped().unwrap();
        let before = resident(&code);
        release_code();
        let after = resident(&code);
        assert!(0 < after && after < before, "{after} of {before} KiB");
    }

    #[test]
    fn only_code_of_a_file_is_code() {
        let line = "55d0a0400000-55d0a1100000 r-xp 00400000 fe:00 1234    /usr/bin/a b (deleted)";
        assert_eq!(code(line), Some(0x55d0_a040_0000..0x55d0_a110_0000));
        for other in [
            "55d0a0000000-55d0a0400000 r--p 00000000 fe:00 1234 /usr/bin/a",
            "7ffc0f5f0000-7ffc0f5f2000 r-xp 00000000 00:00 0 [vdso]",
            "7ffc0f5f0000-7ffc0f5f2000 r-xp 00000000 00:00 0",
            "rubbish",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
    }
}
