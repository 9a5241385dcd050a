//! The projects that a tier was found to have, for people.

use super::{Page, plain};
use crate::admin::ProjectsStatus;
use crate::printable::printable;
use crate::telemetry::human_duration;
use std::fmt::{self, Write};
use std::time::Duration;

impl Page {
    pub(super) fn projects(&mut self, projects: &ProjectsStatus) -> fmt::Result {
        let asked = match projects.asked_seconds_ago {
            Some(seconds) => {
                let ago = human_duration(Duration::from_secs(seconds));
                format!("asked {ago} ago")
            }
            None => "Harbor has not told them yet".to_owned(),
        };
        writeln!(
            self.text,
            "    projects found: {} ({asked})",
            projects.found.len()
        )?;
        if let Some(error) = &projects.error {
            self.warning(&format!("the last discovery failed: {error}"));
        }
        if projects.registries_unreadable && !projects.found.is_empty() {
            self.warning(
                "guessed by their names: the account may not read Harbor's registries; give the robot account the system permission \"Registry: list\"",
            );
        }
        for warning in &projects.warnings {
            self.warning(warning);
        }
        let rows = projects.found.iter().map(|(registry, found)| {
            let how = if found.guessed { "guessed" } else { "known" };
            vec![plain(registry), plain(&found.project), plain(how)]
        });
        self.table(&[], rows);
        for (project, why) in &projects.unused {
            let (project, why) = (printable(project), printable(why));
            writeln!(self.text, "    project {project} is not used: {why}")?;
        }
        Ok(())
    }
}
