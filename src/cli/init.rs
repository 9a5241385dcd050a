//! `harbor-pilot init`: a commented starter configuration for one of the layouts of docs/layouts.md. What it
//! prints passes `check`.

mod discover;

use super::{FAILED, USAGE};
use crate::config::{Config, Problem};
use crate::node::write::{self, Standing};
use crate::printable::chain;
use rustix::process::{getegid, geteuid};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What `init` is told.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct InitArgs {
    /// URL of the first tier
    #[arg(long, value_name = "URL")]
    pub replica: Option<String>,
    /// URL of the second tier
    #[arg(long, value_name = "URL")]
    pub core: Option<String>,
    /// How the Harbor names its proxy-cache projects (docs/layouts.md)
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,
    /// Ask this Harbor for its proxy-cache projects instead, and write down what it has
    #[arg(long, value_name = "URL", conflicts_with_all = ["replica", "core", "layout"])]
    pub discover: Option<String>,
    /// The account that asks for the projects, and that the configuration names
    #[arg(long, value_name = "NAME", requires_all = ["discover", "password_file"])]
    pub username: Option<String>,
    /// The file with its secret (mode 0600)
    #[arg(long, value_name = "FILE", requires = "username")]
    pub password_file: Option<PathBuf>,
    /// CA certificate of the tiers
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Write it there, at once and as a whole; a file that configures something already is left as it is
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Why there is no configuration.
struct Failed {
    lines: Vec<String>,
    code: u8,
}

/// A way to name the proxy-cache projects.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The value of `--layout`.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    projects: Projects,
}

#[derive(Clone, Copy, Debug)]
enum Projects {
    /// Registries with their projects, and no other.
    Named(&'static [(&'static str, &'static str)]),
    /// A rule for every registry.
    Template(&'static str),
}

/// The layouts of docs/layouts.md; the first one is the default.
pub const LAYOUTS: &[Layout] = &[
    Layout {
        name: "glueops",
        about: "proxy- and the registry with dashes: proxy-docker-io, proxy-public-ecr-aws",
        projects: Projects::Named(&[
            ("docker.io", "proxy-docker-io"),
            ("ghcr.io", "proxy-ghcr-io"),
            ("quay.io", "proxy-quay-io"),
            ("gcr.io", "proxy-gcr-io"),
            ("public.ecr.aws", "proxy-public-ecr-aws"),
            ("mcr.microsoft.com", "proxy-mcr-microsoft-com"),
            ("registry.k8s.io", "proxy-registry-k8s-io"),
        ]),
    },
    Layout {
        name: "map",
        about: "a name of its own for each registry: docker-hub, ghcr, quay, k8s-registry",
        projects: Projects::Named(&[
            ("docker.io", "docker-hub"),
            ("ghcr.io", "ghcr"),
            ("quay.io", "quay"),
            ("registry.k8s.io", "k8s-registry"),
        ]),
    },
    Layout {
        name: "dotted",
        about: "proxy. and the registry as it is: proxy.docker.io",
        projects: Projects::Template("proxy.{registry}"),
    },
];

const HEAD: &str = "\
# harbor-pilot: /etc/harbor-pilot/config.toml
#
# Drop-ins in /etc/harbor-pilot/config.d/*.toml are merged over this file in the order of their names.
# Every key and its default: docs/configuration.md. What is in force, and why: harbor-pilot check
";

const IN_FILE: &str = "\
# While the agent is down, containerd may ask this tier itself, so that pulls continue. What that means: containerd
# hands a pod's pull secret to any host that answers 401, and Harbor always does. Write false if this Harbor
# must never see those secrets. It has to be false once the tier gets a username.
in_file = true
";

const CASCADE: &str = "\
# Its proxy-cache projects point at the next Harbor, so that a layer that neither has may come empty the first
# time; the agent notices and asks the next tier. Write false if they point at the real registries.
cascade = true
";

const NODE: &str = "\
[node]
# The agent keeps itself in containerd's host files (hosts.toml; registries.yaml where k3s already lists a
# registry) and takes itself out again. `harbor-pilot plan` shows what it would change.
manage = true
";

/// Runs the command; the exit status is 0, 64 for wrong arguments, or 2 where the file that was named was left as it is. The
/// configuration goes to that file, else to `stdout`.
pub fn run(args: &InitArgs, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let text = match &args.discover {
        Some(url) => discover::text(args, url),
        None => starter(args, stderr)?,
    };
    match text.and_then(|text| put(args, &text)) {
        Ok(printed) => {
            stdout.write_all(printed.as_bytes())?;
            Ok(0)
        }
        Err(Failed { lines, code }) => {
            for line in lines {
                writeln!(stderr, "error: {line}")?;
            }
            Ok(code)
        }
    }
}

/// The configuration of a layout. What this machine has not got is a warning: the file is for the nodes.
fn starter(args: &InitArgs, stderr: &mut dyn Write) -> io::Result<Result<String, Failed>> {
    let named = args.layout.as_deref();
    let mut layouts = LAYOUTS.iter();
    let layout = layouts.find(|layout| named.is_none_or(|name| name == layout.name));
    let Some(layout) = layout else {
        let names: Vec<&str> = LAYOUTS.iter().map(|layout| layout.name).collect();
        let asked = named.unwrap_or_default();
        let line = format!(
            "{asked:?} is no layout; known are {} (docs/layouts.md)",
            names.join(", ")
        );
        return Ok(Err(Failed::new(USAGE, line)));
    };
    if args.replica.is_none() && args.core.is_none() {
        let line = "no Harbor is named; give --replica URL, --core URL or both, or --discover URL to have it asked for its projects";
        return Ok(Err(Failed::new(USAGE, line)));
    }
    if let Err(problems) = Config::from_toml(&text(args, layout, None)) {
        return Ok(Err(Failed::from_problems(&problems)));
    }
    let ca = args.ca.as_deref().map(std::path::absolute).transpose()?;
    let text = text(args, layout, ca.as_deref());
    if let Err(problems) = Config::from_toml(&text) {
        for Problem { what, instead, .. } in problems.iter().take(1) {
            writeln!(
                stderr,
                "warning: {what}; {instead} before the agent starts with this"
            )?;
        }
    }
    Ok(Ok(text))
}

impl Failed {
    fn new(code: u8, line: impl Into<String>) -> Self {
        let lines = vec![line.into()];
        Self { lines, code }
    }

    /// The lines of files are left out: they are those of a text that nobody has seen.
    fn from_problems(problems: &[Problem]) -> Self {
        let lines = problems
            .iter()
            .map(|problem| format!("{}: {}; {}", problem.key, problem.what, problem.instead));
        Self {
            lines: lines.collect(),
            code: USAGE,
        }
    }
}

/// Writes the file that was named. Comes back with what is to be printed: that, or the text itself.
fn put(args: &InitArgs, text: &str) -> Result<String, Failed> {
    let Some(output) = &args.output else {
        return Ok(text.to_owned());
    };
    write(output, text).map_err(|why| Failed::new(FAILED, why))?;
    Ok(format!("wrote {}\n", output.display()))
}

/// Puts the whole text there at once, or leaves what is there. A file that configures nothing, as the package brings it, gives
/// way.
fn write(output: &Path, text: &str) -> Result<(), String> {
    let path = std::path::absolute(output).map_err(|error| error.to_string())?;
    let shown = path.display();
    let old = write::read(&path).map_err(|error| chain(&error))?;
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let old_text = old.as_ref().map(|old| String::from_utf8_lossy(&old.bytes));
    if old_text.is_some_and(|text| text.lines().any(says)) {
        return Err(format!(
            "{shown} is left as it is, because it configures something already; to begin anew move it away first: mv {shown} {shown}.old"
        ));
    }
    let bytes = text.as_bytes().to_vec();
    let new = match old {
        Some(old) => Standing { bytes, ..old },
        None => Standing {
            bytes,
            mode: 0o644,
            uid: geteuid().as_raw(),
            gid: getegid().as_raw(),
        },
    };
    write::replace(&path, &new).map_err(|error| chain(&error))
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn text(args: &InitArgs, layout: &Layout, ca: Option<&Path>) -> String {
    let mut text = format!(
        "{HEAD}# Layout {}: {} (docs/layouts.md).\n",
        layout.name, layout.about
    );
    let tiers = [("replica", &args.replica), ("core", &args.core)];
    let named = tiers.iter().filter(|(_, url)| url.is_some()).count();
    for (name, url) in tiers {
        let Some(url) = url else { continue };
        // With both, REPLICA stands in front of CORE; one alone stands in front of the real registries.
        let cascade = name == "replica" && named > 1;
        tier(&mut text, name, url, cascade, layout, ca);
    }
    text.push('\n');
    text.push_str(NODE);
    text
}

fn tier(
    text: &mut String,
    name: &str,
    url: &str,
    cascade: bool,
    layout: &Layout,
    ca: Option<&Path>,
) {
    let mut line = |line: &str| {
        text.push_str(line);
        if !line.ends_with('\n') {
            text.push('\n');
        }
    };
    line("\n[[tier]]");
    line(&format!("name = {}", quoted(name)));
    line("kind = \"harbor\"");
    line("# Every address of this host is used by itself, with its own health.");
    line(&format!("url = {}", quoted(url)));
    match ca {
        Some(ca) => line(&format!("ca_file = {}", quoted(&ca.display().to_string()))),
        None => {
            line("# ca_file = \"/etc/harbor-pilot/ca.crt\"       # a private certificate authority")
        }
    }
    line(if cascade { CASCADE } else { IN_FILE });
    line("# username = \"robot$node\"                    # for private projects, with");
    line("# password_file = \"/etc/harbor-pilot/robot.secret\"   (mode 0600)");
    match layout.projects {
        Projects::Template(template) => {
            line("# The proxy-cache project of every registry, by a rule:");
            line(&format!("project = {}", quoted(template)));
        }
        Projects::Named(projects) => {
            line(
                "# Registry = its proxy-cache project there. A registry that is not listed skips this tier.",
            );
            line("[tier.projects]");
            let mut names = String::new();
            for (registry, project) in projects {
                // A String takes everything.
                let _ = writeln!(names, "{} = {}", quoted(registry), quoted(project));
            }
            line(&names);
        }
    }
}

#[cfg(test)]
mod tests;
