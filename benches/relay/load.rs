//! The clients: curl for bodies, wrk for many small requests.

use crate::Result;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What a slow stream reads in a second, as curl writes it, and in bytes.
const SLOW_RATE: (&str, u64) = ("4M", 4 << 20);

/// What wrk found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Requests {
    pub(crate) per_second: f64,
    pub(crate) count: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
}

/// Fetches a body whole.
pub(crate) fn fetch(url: &str) -> Result<Vec<u8>> {
    let output = Command::new("curl").args(["-sSf", url]).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{url}: {}", error.trim()).into());
    }
    Ok(output.stdout)
}

/// Downloads a body and throws it away; gives the seconds.
pub(crate) fn download(url: &str, ca_file: &Path, bytes: u64) -> Result<f64> {
    let output = Command::new("curl")
        .args(["-sSf", "-o", "/dev/null"])
        .args(["-w", "%{http_code} %{size_download} %{time_total}"])
        .arg("--cacert")
        .arg(ca_file)
        .arg(url)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let mut words = said.split_whitespace();
    let whole = words.next() == Some("200") && words.next() == Some(&bytes.to_string());
    if !output.status.success() || !whole {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{url}: {said} instead of {bytes} bytes; {}", error.trim()).into());
    }
    Ok(words.next().ok_or("curl gave no time")?.parse()?)
}

/// Whether requests at the same time are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// In turn by clients that take 56 different sets of kinds of manifest: no two requests at the same time are alike, each is
    /// relayed.
    Differently,
    /// As many pods of one image ask: the agent shares one search among those who ask at the same time.
    Alike,
}

/// Asks again and again over 16 kept-alive connections.
pub(crate) fn requests(
    url: &str,
    asking: Asking,
    time: Duration,
    directory: &Path,
) -> Result<Requests> {
    let script = directory.join("wrk.lua");
    let number = match asking {
        Asking::Differently => "n = n % #accepts + 1\n",
        Asking::Alike => "",
    };
    let text = [
        "local kinds = {\n\
         'application/vnd.oci.image.index.v1+json',\n\
         'application/vnd.docker.distribution.manifest.list.v2+json',\n\
         'application/vnd.docker.distribution.manifest.v2+json',\n\
         'application/vnd.oci.artifact.manifest.v1+json',\n\
         'application/vnd.docker.distribution.manifest.v1+json',\n\
         'application/vnd.docker.distribution.manifest.v1+prettyjws' }\n\
         local accepts, n = {}, 1\n\
         for set = 0, 63 do\n\
         local accept, rest = 'application/vnd.oci.image.manifest.v1+json', set\n\
         for _, kind in ipairs(kinds) do\n\
         if rest % 2 == 1 then accept = accept .. ', ' .. kind end\n\
         rest = math.floor(rest / 2)\n\
         end\n\
         if set % 8 ~= 7 then accepts[#accepts + 1] = accept end\n\
         end\n\
         request = function()\n",
        number,
        "return wrk.format('GET', nil, { ['Accept'] = accepts[n] })\n\
         end\n\
         done = function(summary, latency, requests)\n\
         local e = summary.errors\n\
         local errors = e.connect + e.read + e.write + e.status + e.timeout\n\
         io.write(string.format('\\nRESULT %d %d %d %d\\n',\n\
         summary.requests, summary.duration, latency:percentile(99), errors))\n\
         end\n",
    ];
    fs::write(&script, text.concat())?;
    let output = Command::new("wrk")
        .args(["-t1", "-c16", &format!("-d{}s", time.as_secs()), "-s"])
        .arg(&script)
        .arg(url)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| line.strip_prefix("RESULT "));
    let result = result.ok_or_else(|| format!("wrk on {url} said: {said}"))?;
    let numbers: Vec<f64> = result
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [count, microseconds, p99, errors] = numbers[..] else {
        return Err(format!("wrk said: {result}").into());
    };
    if errors > 0.0 || count == 0.0 {
        return Err(format!("{url}: {errors} of {count} requests failed").into());
    }
    Ok(Requests {
        per_second: count / (microseconds / 1e6),
        count,
        p99: p99 / 1000.0,
    })
}

/// Downloads a body over and over in so many streams, for so many seconds; gives the bytes of all together.
pub(crate) fn bytes_in(url: &str, streams: usize, seconds: u64) -> Result<u64> {
    let start = || {
        Command::new("curl")
            .args(["-sS", "-o", "/dev/null", "--max-time", &seconds.to_string()])
            .args(["-w", "%{size_download}", url])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    };
    let children: Vec<Child> = (0..streams).map(|_| start()).collect::<Result<_, _>>()?;
    let mut bytes = 0;
    for child in children {
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        // 28: the time is over, before the body.
        if output.status.code() != Some(28) {
            return Err(format!("{url}: curl ended before its time: {}", output.status).into());
        }
        bytes += said.trim().parse::<u64>()?;
    }
    Ok(bytes)
}

/// Slow readers of one body, which end when this is dropped.
pub(crate) struct SlowStreams(Vec<Child>);

impl SlowStreams {
    /// The size of a body that lasts this long.
    pub(crate) fn bytes_for(time: Duration) -> u64 {
        SLOW_RATE.1 * time.as_secs()
    }

    /// Starts `count` of them.
    pub(crate) fn start(url: &str, count: usize) -> Result<Self> {
        let mut streams = Self(Vec::with_capacity(count));
        for _ in 0..count {
            let child = Command::new("curl")
                .args(["-sSf", "--limit-rate", SLOW_RATE.0, "-o", "/dev/null", url])
                .stdin(Stdio::null())
                .spawn()?;
            streams.0.push(child);
        }
        Ok(streams)
    }

    /// Fails if one has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        for child in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                return Err(format!("a slow stream ended early: curl {status}").into());
            }
        }
        Ok(())
    }
}

impl Drop for SlowStreams {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Those that have ended are only reaped.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
