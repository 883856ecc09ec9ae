//! What a path carries, by `iperf3(1)` and `ping(8)`.

use std::time::Duration;

use landline_testbed::{DockerHost, Error, Result, wait_for};
use serde_json::Value;

/// The two ends of a path: what begins a command at each of them, and the receiver's address.
#[derive(Debug)]
pub(super) struct Path {
    pub(super) sender: Vec<String>,
    pub(super) receiver: Vec<String>,
    pub(super) target: &'static str,
}

/// What begins a command in a container's network namespace.
pub(super) fn in_container(host: &DockerHost, name: &str) -> Result<Vec<String>> {
    let pid = host.container_pid(name)?.to_string();
    Ok(["nsenter", "-t", &pid, "-n"].map(str::to_owned).to_vec())
}

/// What begins a command in a named network namespace of the host.
pub(super) fn in_netns(name: &str) -> Vec<String> {
    ["ip", "netns", "exec", name].map(str::to_owned).to_vec()
}

impl Path {
    /// What `iperf3 -J OPTIONS` reports of a run.
    pub(super) fn iperf(&self, host: &DockerHost, options: &str) -> Result<Value> {
        let (sender, receiver, target) = (self.sender.join(" "), self.receiver.join(" "), self.target);
        // The server may need a moment until it listens, and is gone after an attempt that failed half-way. An attempt
        // that failed may be none to the shell: only the report has the error.
        wait_for(format!("a report of iperf3 to {target}"), Duration::from_secs(30), || {
            host.node().sh(&format!("{receiver} iperf3 -s -1 -D 2>/dev/null || true")).ok()?;
            let text = host.node().sh(&format!("{sender} iperf3 -J {options} -c {target} || true")).ok()?;
            let report: Value = serde_json::from_str(&text).ok()?;
            report["error"].is_null().then_some(report)
        })
    }

    /// Microseconds there and back, the mean of 100.
    pub(super) fn round_trip(&self, host: &DockerHost) -> Result<f64> {
        let ping = ["ping", "-q", "-c", "100", "-i", "0.005", self.target];
        let place: Vec<&str> = self.sender.iter().map(String::as_str).collect();
        let text = host.check(&[&place[..], &ping].concat())?;
        let mean =
            text.split("mdev = ").nth(1).and_then(|times| times.split('/').nth(1)?.parse::<f64>().ok());
        mean.map(|ms| ms * 1000.0).ok_or_else(|| Error::Unexpected(format!("no times: {text}")))
    }
}

/// A number in a part of iperf3's report.
pub(super) fn number(sum: &Value, key: &str) -> Result<f64> {
    sum[key].as_f64().ok_or_else(|| Error::Unexpected(format!("no {key} in {sum}")))
}

/// The middle one of a measurement's runs.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
