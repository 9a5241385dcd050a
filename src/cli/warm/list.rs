//! Which images are meant: plain lists, Kubernetes manifests, and what `crictl images -o json` prints. Pure.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// The lists of a pod's specification.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// Why a text is no list of images.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("it begins as JSON, and is not what crictl images -o json prints: {0}")]
    Json(#[source] serde_json::Error),
    #[error("it begins as a Kubernetes manifest, and is no YAML: {0}")]
    Yaml(#[source] yaml_serde::Error),
}

#[derive(Deserialize)]
struct Crictl {
    images: Vec<CrictlImage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CrictlImage {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

/// The images that a text names, each once, in its order.
pub(super) fn images(text: &str) -> Result<Vec<String>, Unreadable> {
    let begins_with = text.trim_start();
    let all = if begins_with.starts_with('{') || begins_with.starts_with('[') {
        from_json(text)?
    } else if is_manifest(text) {
        from_yaml(text)?
    } else {
        from_lines(text)
    };
    let mut seen = BTreeSet::new();
    let once = all.into_iter().filter(|image| seen.insert(image.clone()));
    Ok(once.collect())
}

/// One image a line; what stands behind `#` is a remark.
fn from_lines(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.split('#').next());
    let names = lines.map(str::trim).filter(|line| !line.is_empty());
    names.map(str::to_owned).collect()
}

/// An image is named by its tags, and by its digest where it has none.
fn from_json(text: &str) -> Result<Vec<String>, Unreadable> {
    if let Ok(manifest) = serde_json::from_str::<Value>(text)
        && manifest.get("images").is_none()
        && manifest.get("kind").is_some()
    {
        let mut images = Vec::new();
        take_pods(&manifest, &mut images);
        return Ok(images);
    }
    let listed: Crictl = serde_json::from_str(text).map_err(Unreadable::Json)?;
    let named = listed.images.into_iter().flat_map(|image| {
        let tags = image.repo_tags.unwrap_or_default();
        let digests = image.repo_digests.unwrap_or_default();
        match tags.is_empty() {
            true => digests.into_iter().take(1).collect(),
            false => tags,
        }
    });
    Ok(named.filter(|name| !name.contains("<none>")).collect())
}

fn is_manifest(text: &str) -> bool {
    let has = |key: &str| text.lines().any(|line| line.trim_start().starts_with(key));
    has("kind:") && has("apiVersion:")
}

fn from_yaml(text: &str) -> Result<Vec<String>, Unreadable> {
    let mut images = Vec::new();
    for document in yaml_serde::Deserializer::from_str(text) {
        let document = Value::deserialize(document).map_err(Unreadable::Yaml)?;
        take_pods(&document, &mut images);
    }
    Ok(images)
}

/// Wherever a pod's specification stands: in a Pod, in a Deployment's template, in a CronJob's, in a List.
fn take_pods(value: &Value, images: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, below) in fields {
                match below {
                    Value::Array(containers) if CONTAINERS.contains(&key.as_str()) => {
                        let named = containers.iter().filter_map(|one| one.get("image"));
                        images.extend(named.filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => take_pods(below, images),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| take_pods(one, images)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_list_has_remarks_and_each_image_counts_once() {
        let text = "# for the edge\nnginx:1.27   # web\n\n  ghcr.io/org/app:2\nnginx:1.27\n";
        assert_eq!(images(text).unwrap(), ["nginx:1.27", "ghcr.io/org/app:2"]);
        assert!(images("").unwrap().is_empty());
    }

    #[test]
    fn a_manifests_containers_of_all_kinds_are_found() {
        let text = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {image: "not-this:1"}}
spec:
  template:
    spec:
      initContainers:
      - {name: i, image: busybox:1.36}
      containers:
      - name: web
        image: nginx:1.27
        env: [{name: image, value: "not-this:2"}]
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: j, image: "ghcr.io/org/job@sha256:aa"}]}}}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, spec: {containers: [{image: quay.io/org/a:1}, {name: without}]}}
"#;
        let due = [
            "busybox:1.36",
            "nginx:1.27",
            "ghcr.io/org/job@sha256:aa",
            "quay.io/org/a:1",
        ];
        let found: BTreeSet<String> = images(text).unwrap().into_iter().collect();
        assert_eq!(found, due.map(str::to_owned).into());
    }

    #[test]
    fn what_crictl_prints_is_read_by_tags_or_digest() {
        let text = r#"{"images": [
            {"id": "sha256:1", "repoTags": ["docker.io/library/nginx:1.27", "nginx:x"], "repoDigests": ["docker.io/library/nginx@sha256:aa"]},
            {"id": "sha256:2", "repoTags": [], "repoDigests": ["quay.io/a/b@sha256:bb"]},
            {"id": "sha256:3", "repoTags": ["<none>:<none>"], "repoDigests": null},
            {"id": "sha256:4"}
        ]}"#;
        let due = [
            "docker.io/library/nginx:1.27",
            "nginx:x",
            "quay.io/a/b@sha256:bb",
        ];
        assert_eq!(images(text).unwrap(), due);
        let pod =
            r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "nginx"}]}}"#;
        assert_eq!(images(pod).unwrap(), ["nginx"]);
        assert!(images("{\"x\": 1}").is_err());
        assert!(images("kind: Pod\napiVersion: v1\n  bad: [").is_err());
    }
}
