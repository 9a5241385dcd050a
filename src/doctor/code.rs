//! The stable words by which programs know findings.

use crate::printable::words;

words! {
    /// What was found, in one word. Words may be added, never changed: Ansible and others match them.
    /// docs/troubleshooting.md has each with its remedy, and a test holds it to that.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum Code {
        /// The files on disk are no configuration.
        ConfigInvalid = "config-invalid",
        /// The running agent uses other settings than the files say.
        ConfigNotInForce = "config-not-in-force",
        /// Nobody listens on the agent's port.
        AgentNotRunning = "agent-not-running",
        /// The agent holds its port and does not answer.
        AgentHangs = "agent-hangs",
        /// Another program holds the agent's port.
        PortStolen = "port-stolen",
        /// Every user may bind the agent's port.
        PortUnprivileged = "port-unprivileged",
        /// The agent serves, and says nothing about itself.
        AdminUnreachable = "admin-unreachable",
        /// The agent says that it is not ready.
        AgentNotReady = "agent-not-ready",
        /// containerd does not read the directory of host configurations.
        ConfigPathNotRead = "config-path-not-read",
        /// Nobody keeps the node's files, and none of them names the agent.
        FilesNotManaged = "files-not-managed",
        /// `restore` was run: the files are not kept until `apply`.
        FilesReleased = "files-released",
        /// Files lead to the agent, and the configuration has no tier for which they would be kept.
        FilesLeft = "files-left",
        /// A file is not as it should be.
        FilesDiffer = "files-differ",
        /// A file cannot be changed as it should.
        FileLeft = "file-left",
        /// The daemon may not write a file.
        FilesNotWritable = "files-not-writable",
        /// Somebody else keeps changing a file.
        FilesConflict = "files-conflict",
        /// containerd asks others before the agent.
        AgentNotFirst = "agent-not-first",
        /// containerd ignores a file that it cannot read.
        HostsUnreadable = "hosts-unreadable",
        /// A file names a certificate that is not there.
        CaMissing = "ca-missing",
        /// An entry of registries.yaml rewrites names.
        RegistriesRewrite = "registries-rewrite",
        /// k3s would wait for ever at its next start.
        RegistriesUnreadable = "registries-unreadable",
        /// The next start of k3s leaves the agent out.
        RestartLosesAgent = "restart-loses-agent",
        /// k3s lets containerd go past the tiers.
        DefaultEndpointOpen = "default-endpoint-open",
        /// The runtime's next start would bring something else.
        RestartPending = "restart-pending",
        /// The way out leads through a proxy, and the agent knows none.
        ProxyMissing = "proxy-missing",
        /// The configured proxy does not lead there.
        ProxyFails = "proxy-fails",
        /// containerd asks its proxy for the agent.
        ProxyCatchesAgent = "proxy-catches-agent",
        /// A registry cannot be asked directly.
        UpstreamUnreachable = "upstream-unreachable",
        /// A name has no addresses.
        DnsFails = "dns-fails",
        /// The configured name servers say something else than the system's.
        DnsDiffers = "dns-differs",
        /// No connection to an address of a tier.
        EndpointUnreachable = "endpoint-unreachable",
        /// A tier says that it is unhealthy.
        EndpointUnhealthy = "endpoint-unhealthy",
        /// No TLS with an address.
        TlsFails = "tls-fails",
        /// Nobody who is trusted signed the certificate.
        TlsUnknownIssuer = "tls-unknown-issuer",
        TlsExpired = "tls-expired",
        /// The certificate is not valid yet.
        TlsNotYetValid = "tls-not-yet-valid",
        /// The certificate ends soon.
        TlsExpiring = "tls-expiring",
        /// The robot account of a tier expires soon, has expired, or is disabled.
        RobotExpiring = "robot-expiring",
        /// The certificate is for another name.
        TlsWrongName = "tls-wrong-name",
        /// Certificates of a tier are not checked at all.
        TlsNotChecked = "tls-not-checked",
        ClockOff = "clock-off",
        /// A tier does not let us pull.
        TierDenied = "tier-denied",
        /// A tier has no such project.
        ProjectMissing = "project-missing",
        /// A tier does not answer a pull in time, or with a failure.
        TierFails = "tier-fails",
        /// containerd pulls without the agent.
        PullBypassesAgent = "pull-bypasses-agent",
        /// containerd asked the agent and could not pull all the same.
        PullFails = "pull-fails",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PAGE: &str = include_str!("../../docs/troubleshooting.md");

    #[test]
    fn words_are_words_and_differ() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for word in words {
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{word}"
            );
        }
        let sorted: BTreeSet<Code> = Code::ALL.iter().copied().collect();
        assert!(
            sorted.iter().eq(Code::ALL),
            "in the order of their list, none twice"
        );
    }

    /// The rows of the page's table of codes: code, severity, meaning, remedy.
    fn rows() -> Vec<Vec<&'static str>> {
        let table = PAGE
            .split("## What doctor finds")
            .nth(1)
            .expect("the page has the section");
        let table = table.split("\n## ").next().unwrap();
        let lines = table.lines().filter(|line| line.starts_with("| `"));
        lines
            .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
            .collect()
    }

    #[test]
    fn the_page_has_every_code_once_with_a_remedy() {
        let rows = rows();
        let documented: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        let due: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(
            documented, due,
            "docs/troubleshooting.md, \"What doctor finds\""
        );
        for row in rows {
            assert_eq!(row.len(), 3, "{row:?}");
            assert!(row[1].len() > 10 && row[2].len() > 10, "{row:?}");
        }
    }
}
