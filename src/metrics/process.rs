//! The `process_*` set that Prometheus' dashboards expect, read from /proc/self at each scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::fs;

/// Ticks per second in /proc: the kernel's `USER_HZ`, 100 on every architecture that Debian has.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(super) struct ProcessCollector;

/// What was read; what could not be read is left out.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) start_time_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_files: Option<u64>,
    pub(super) max_files: Option<u64>,
}

impl Process {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::parse(
            &text("/proc/self/stat"),
            &text("/proc/self/status"),
            &text("/proc/self/limits"),
            &text("/proc/stat"),
        );
        process.open_files = fs::read_dir("/proc/self/fd")
            .ok()
            // The directory itself is open while it is counted.
            .map(|files| (files.count() as u64).saturating_sub(1));
        process
    }

    pub(super) fn parse(stat: &str, status: &str, limits: &str, system: &str) -> Self {
        // The name in parentheses may hold anything; proc(5) counts fields from the process id as 1.
        let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let ticks = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let line = |text: &str, start: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
            rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        let kilobytes = |start| Some(line(status, start)? * 1024);
        let seconds = |ticks: f64| ticks / TICKS;
        let boot = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))
            .and_then(|text| text.trim().parse::<f64>().ok());
        Self {
            cpu_seconds: ticks(14).zip(ticks(15)).map(|(u, s)| seconds(u + s)),
            start_time_seconds: boot.zip(ticks(22)).map(|(boot, t)| boot + seconds(t)),
            resident_bytes: kilobytes("VmRSS:"),
            virtual_bytes: kilobytes("VmSize:"),
            open_files: None,
            max_files: line(limits, "Max open files"),
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let process = Process::read();
        if let Some(seconds) = process.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let kind = counter.metric_type();
            let help = "User and system CPU time";
            let metric = encoder.encode_descriptor("process_cpu_seconds", help, None, kind)?;
            counter.encode(metric)?;
        }
        let mut gauge = |name: &str, help: &str, value: Option<f64>| {
            let Some(value) = value else { return Ok(()) };
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        // Exact up to 2^53 bytes or files.
        let number = |value: Option<u64>| value.map(|value| value as f64);
        gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970",
            process.start_time_seconds,
        )?;
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            number(process.resident_bytes),
        )?;
        gauge(
            "process_virtual_memory_bytes",
            "Virtual memory",
            number(process.virtual_bytes),
        )?;
        gauge(
            "process_open_fds",
            "Open file descriptors",
            number(process.open_files),
        )?;
        gauge(
            "process_max_fds",
            "Limit of open file descriptors",
            number(process.max_files),
        )
    }
}

#[cfg(test)]
mod tests;
