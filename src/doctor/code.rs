//! The stable words by which programs know findings.

/// What was found, in one word. Words may be added, never changed: Ansible and others match them.
/// docs/troubleshooting.md has each with its remedy, and a test holds it to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Code {
    /// The files on disk are no configuration.
    ConfigInvalid,
    /// The running agent uses other settings than the files say.
    ConfigNotInForce,
    /// Nobody listens on the agent's port.
    AgentNotRunning,
    /// The agent holds its port and does not answer.
    AgentHangs,
    /// Another program holds the agent's port.
    PortStolen,
    /// Every user may bind the agent's port.
    PortUnprivileged,
    /// The agent serves, and says nothing about itself.
    AdminUnreachable,
    /// The agent says that it is not ready.
    AgentNotReady,
    /// containerd does not read the directory of host configurations.
    ConfigPathNotRead,
    /// Nobody keeps the node's files, and none of them names the agent.
    FilesNotManaged,
    /// `restore` was run: the files are not kept until `apply`.
    FilesReleased,
    /// Files lead to the agent, and the configuration has no tier for which they would be kept.
    FilesLeft,
    /// A file is not as it should be.
    FilesDiffer,
    /// A file cannot be changed as it should.
    FileLeft,
    /// The daemon may not write a file.
    FilesNotWritable,
    /// Somebody else keeps changing a file.
    FilesConflict,
    /// containerd asks others before the agent.
    AgentNotFirst,
    /// containerd ignores a file that it cannot read.
    HostsUnreadable,
    /// A file names a certificate that is not there.
    CaMissing,
    /// An entry of registries.yaml rewrites names.
    RegistriesRewrite,
    /// k3s would wait for ever at its next start.
    RegistriesUnreadable,
    /// The next start of k3s leaves the agent out.
    RestartLosesAgent,
    /// k3s lets containerd go past the tiers.
    DefaultEndpointOpen,
    /// The runtime's next start would bring something else.
    RestartPending,
    /// The way out leads through a proxy, and the agent knows none.
    ProxyMissing,
    /// The configured proxy does not lead there.
    ProxyFails,
    /// containerd asks its proxy for the agent.
    ProxyCatchesAgent,
    /// A registry cannot be asked directly.
    UpstreamUnreachable,
    /// A name has no addresses.
    DnsFails,
    /// The configured name servers say something else than the system's.
    DnsDiffers,
    /// No connection to an address of a tier.
    EndpointUnreachable,
    /// A tier says that it is not well.
    EndpointUnhealthy,
    /// No TLS with an address.
    TlsFails,
    /// Nobody who is trusted signed the certificate.
    TlsUnknownIssuer,
    TlsExpired,
    /// The certificate is not valid yet.
    TlsNotYetValid,
    /// The certificate ends soon.
    TlsExpiring,
    /// The robot account of a tier expires soon, has expired, or is disabled.
    RobotExpiring,
    /// The certificate is for another name.
    TlsWrongName,
    /// Certificates of a tier are not checked at all.
    TlsNotChecked,
    ClockOff,
    /// A tier does not let us pull.
    TierDenied,
    /// A tier has no such project.
    ProjectMissing,
    /// A tier does not answer a pull in time, or with a failure.
    TierFails,
    /// containerd pulls without the agent.
    PullBypassesAgent,
    /// containerd asked the agent and could not pull all the same.
    PullFails,
}

// === impl Code ===

impl Code {
    #[must_use]
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "config-invalid",
            Self::ConfigNotInForce => "config-not-in-force",
            Self::AgentNotRunning => "agent-not-running",
            Self::AgentHangs => "agent-hangs",
            Self::PortStolen => "port-stolen",
            Self::PortUnprivileged => "port-unprivileged",
            Self::AdminUnreachable => "admin-unreachable",
            Self::AgentNotReady => "agent-not-ready",
            Self::ConfigPathNotRead => "config-path-not-read",
            Self::FilesNotManaged => "files-not-managed",
            Self::FilesReleased => "files-released",
            Self::FilesLeft => "files-left",
            Self::FilesDiffer => "files-differ",
            Self::FileLeft => "file-left",
            Self::FilesNotWritable => "files-not-writable",
            Self::FilesConflict => "files-conflict",
            Self::AgentNotFirst => "agent-not-first",
            Self::HostsUnreadable => "hosts-unreadable",
            Self::CaMissing => "ca-missing",
            Self::RegistriesRewrite => "registries-rewrite",
            Self::RegistriesUnreadable => "registries-unreadable",
            Self::RestartLosesAgent => "restart-loses-agent",
            Self::DefaultEndpointOpen => "default-endpoint-open",
            Self::RestartPending => "restart-pending",
            Self::ProxyMissing => "proxy-missing",
            Self::ProxyFails => "proxy-fails",
            Self::ProxyCatchesAgent => "proxy-catches-agent",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::DnsFails => "dns-fails",
            Self::DnsDiffers => "dns-differs",
            Self::EndpointUnreachable => "endpoint-unreachable",
            Self::EndpointUnhealthy => "endpoint-unhealthy",
            Self::TlsFails => "tls-fails",
            Self::TlsUnknownIssuer => "tls-unknown-issuer",
            Self::TlsExpired => "tls-expired",
            Self::TlsNotYetValid => "tls-not-yet-valid",
            Self::TlsExpiring => "tls-expiring",
            Self::RobotExpiring => "robot-expiring",
            Self::TlsWrongName => "tls-wrong-name",
            Self::TlsNotChecked => "tls-not-checked",
            Self::ClockOff => "clock-off",
            Self::TierDenied => "tier-denied",
            Self::ProjectMissing => "project-missing",
            Self::TierFails => "tier-fails",
            Self::PullBypassesAgent => "pull-bypasses-agent",
            Self::PullFails => "pull-fails",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const PAGE: &str = include_str!("../../docs/troubleshooting.md");

    const ALL: [Code; 46] = [
        Code::ConfigInvalid,
        Code::ConfigNotInForce,
        Code::AgentNotRunning,
        Code::AgentHangs,
        Code::PortStolen,
        Code::PortUnprivileged,
        Code::AdminUnreachable,
        Code::AgentNotReady,
        Code::ConfigPathNotRead,
        Code::FilesNotManaged,
        Code::FilesReleased,
        Code::FilesLeft,
        Code::FilesDiffer,
        Code::FileLeft,
        Code::FilesNotWritable,
        Code::FilesConflict,
        Code::AgentNotFirst,
        Code::HostsUnreadable,
        Code::CaMissing,
        Code::RegistriesRewrite,
        Code::RegistriesUnreadable,
        Code::RestartLosesAgent,
        Code::DefaultEndpointOpen,
        Code::RestartPending,
        Code::ProxyMissing,
        Code::ProxyFails,
        Code::ProxyCatchesAgent,
        Code::UpstreamUnreachable,
        Code::DnsFails,
        Code::DnsDiffers,
        Code::EndpointUnreachable,
        Code::EndpointUnhealthy,
        Code::TlsFails,
        Code::TlsUnknownIssuer,
        Code::TlsExpired,
        Code::TlsNotYetValid,
        Code::TlsExpiring,
        Code::RobotExpiring,
        Code::TlsWrongName,
        Code::TlsNotChecked,
        Code::ClockOff,
        Code::TierDenied,
        Code::ProjectMissing,
        Code::TierFails,
        Code::PullBypassesAgent,
        Code::PullFails,
    ];

    #[test]
    fn words_are_words_and_differ() {
        let words: BTreeSet<&str> = ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), ALL.len());
        for word in words {
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{word}"
            );
        }
        let sorted: BTreeSet<Code> = ALL.into_iter().collect();
        assert!(
            sorted.into_iter().eq(ALL),
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
        let due: Vec<&str> = ALL.iter().map(|code| code.word()).collect();
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
