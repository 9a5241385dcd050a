//! A plan carried out: the ledger first, then file by file. As little as possible is decided here.

use super::{Plan, Step};
use crate::node::ledger::{self, Entry, Kind, Ledger, Store, fingerprint};
use crate::node::write;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What became of one step.
#[derive(Debug)]
pub struct Done {
    /// The file's absolute path.
    pub path: PathBuf,
    /// A CA certificate, a hosts.toml or registries.yaml.
    pub kind: Kind,
    /// What became of the file.
    pub outcome: Outcome,
}

/// How a step ended.
#[derive(Debug)]
pub enum Outcome {
    /// The new content is on disk.
    Written,
    /// It already was as it should be.
    Unchanged,
    /// Somebody changed the file since it was looked at: to be looked at again.
    Superseded,
    /// What it depends on (a certificate, a directory) could not be written.
    Waits,
    /// The old file stands.
    Failed(write::Error),
}

/// containerd opens a certificate up to some hundred milliseconds after it has read the file that names it: it reads the
/// system's certificates in between. So long a certificate stays that no file names any more.
const READERS: Duration = Duration::from_millis(500);

/// Carries the plan out and keeps the ledger. The caller holds the lock. Blocks on file I/O.
/// Fails where the ledger cannot be kept; then no file was touched.
pub(crate) fn execute(
    store: &Store,
    ledger: &mut Ledger,
    plan: &Plan,
) -> Result<Vec<Done>, ledger::Error> {
    for step in &plan.steps {
        record(ledger, step);
    }
    let made = plan.directories.iter().cloned();
    ledger.directories.extend(made);
    // On disk before anything else is.
    store.save(ledger)?;
    let done = carry_out_all(ledger, plan);
    settle(ledger, plan, &done);
    store.save(ledger)?;
    Ok(done)
}

/// Does the steps one by one, and keeps no ledger. Blocks on file I/O.
pub(super) fn carry_out_all(ledger: &Ledger, plan: &Plan) -> Vec<Done> {
    let mut failed: BTreeSet<&Path> = BTreeSet::new();
    for directory in &plan.directories {
        if let Err(error) = DirBuilder::new().mode(0o755).create(directory)
            && error.kind() != ErrorKind::AlreadyExists
        {
            tracing::debug!("cannot create {}: {error}", directory.display());
        }
    }
    let mut done: Vec<Done> = Vec::new();
    let mut has_waited = false;
    for step in &plan.steps {
        let directory = step.path.parent().unwrap_or(Path::new("/"));
        let written = |one: &Done| matches!(one.outcome, Outcome::Written);
        let is_rewritten = |one: &Done| one.kind == Kind::Hosts && written(one);
        let goes = step.kind == Kind::Ca && step.new.is_none();
        if goes && !has_waited && done.iter().any(is_rewritten) {
            std::thread::sleep(READERS);
            has_waited = true;
        }
        let outcome = if failed.contains(directory) {
            Outcome::Waits
        } else {
            carry_out(ledger, plan, step, directory).unwrap_or_else(|error| {
                failed.insert(directory);
                Outcome::Failed(error)
            })
        };
        done.push(Done {
            path: step.path.clone(),
            kind: step.kind,
            outcome,
        });
    }
    done
}

/// What the ledger says while the step is under way: both contents are ours.
fn record(ledger: &mut Ledger, step: &Step) {
    // Of a lost ledger: it stands, nobody knows it, and nothing of it would be there without us.
    let is_lost =
        step.old.is_some() && !ledger.files.contains_key(&step.path) && step.base.is_none();
    let mut entry = Entry::new(step.kind, step.base.as_ref(), &[&step.old, &step.new]);
    entry.written.dedup();
    ledger.files.insert(step.path.clone(), entry);
    if let Some(directory) = step.path.parent()
        && step.new.is_some()
        && step.kind != Kind::Registries
        && (is_lost || !directory.exists())
    {
        ledger.directories.insert(directory.to_owned());
    }
}

fn carry_out(
    ledger: &Ledger,
    plan: &Plan,
    step: &Step,
    directory: &Path,
) -> Result<Outcome, write::Error> {
    let current = write::read(&step.path)?;
    if current == step.new {
        // Also made or removed with another file of its directory.
        return Ok(match step.old == step.new {
            true => Outcome::Unchanged,
            false => Outcome::Written,
        });
    }
    if current != step.old {
        return Ok(Outcome::Superseded);
    }
    let steps = plan.steps.iter();
    let beside = steps.filter(|step| step.path.parent() == Some(directory));
    let beside = beside.filter_map(|step| Some((step.path.file_name()?.to_owned(), &step.new)));
    let is_made = ledger.directories.contains(directory);
    match &step.new {
        None => {
            let going = beside.filter(|(_, new)| new.is_none());
            let going: Vec<OsString> = going.map(|(name, _)| name).collect();
            if !is_made || !write::remove_directory(directory, &going)? {
                write::remove(&step.path)?;
            }
        }
        Some(_) if is_made && !directory.exists() => {
            let files = beside.filter_map(|(name, new)| Some((name, new.clone()?)));
            write::create_directory(directory, &files.collect::<Vec<_>>())?;
        }
        Some(new) => write::replace(&step.path, new)?,
    }
    Ok(Outcome::Written)
}

/// The ledger forgets what is as it would be without us, and of other files what they were before.
fn settle(ledger: &mut Ledger, plan: &Plan, done: &[Done]) {
    for (step, done) in plan.steps.iter().zip(done) {
        let is_done = matches!(done.outcome, Outcome::Written | Outcome::Unchanged);
        if is_done && step.restores() {
            ledger.files.remove(&step.path);
        } else if is_done && let Some(entry) = ledger.files.get_mut(&step.path) {
            entry.written = vec![fingerprint(step.new.as_ref())];
        }
    }
    let files = &ledger.files;
    let is_used = |directory: &PathBuf| files.keys().any(|path| path.starts_with(directory));
    // Deepest first: a registry's directory, then certs.d itself.
    let unused = ledger.directories.iter().rev();
    for directory in unused.filter(|directory| !is_used(directory)) {
        // One that is not empty is somebody else's by now.
        if let Err(error) = std::fs::remove_dir(directory) {
            tracing::debug!("{} stays: {error}", directory.display());
        }
    }
    ledger.directories.retain(is_used);
}
