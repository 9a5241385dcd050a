//! Tests of metrics/process.

use super::*;

#[test]
fn proc_files_are_read() {
    let stat = "812 (a ) b) S 1 812 812 0 -1 4194560 900 0 1 0 250 75 0 0 20 0 9 0 12345 1 2";
    let status = "Name:\tx\nVmSize:\t  2048 kB\nVmRSS:\t    512 kB\n";
    let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                  Max open files            1024                 524288               files\n";
    let system = "cpu  1 2 3\nbtime 1700000000\nprocesses 5\n";
    assert_eq!(
        Process::parse(stat, status, limits, system),
        Process {
            cpu_seconds: Some(3.25),
            start_time_seconds: Some(1_700_000_123.45),
            resident_bytes: Some(512 * 1024),
            virtual_bytes: Some(2048 * 1024),
            open_files: None,
            max_files: Some(1024),
        }
    );
}

#[test]
fn what_cannot_be_read_is_left_out() {
    assert_eq!(Process::parse("", "", "", ""), Process::default());
    let unlimited = "Max open files            unlimited            unlimited            files\n";
    assert_eq!(Process::parse("", "", unlimited, "").max_files, None);
}

#[test]
fn this_process_can_be_read() {
    let process = Process::read();
    assert!(process.resident_bytes > Some(0));
    assert!(process.open_files > Some(0));
    assert!(process.max_files >= process.open_files);
    assert!(process.cpu_seconds.is_some());
    assert!(process.start_time_seconds > Some(1_500_000_000.0));
}
