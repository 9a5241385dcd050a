"""Filter of the role harbor_tier: what the Harbor shall have, from the role's variables."""

from ansible.errors import AnsibleFilterError

# The registries that the agent knows by itself, and where a Harbor asks for them. Of type docker-registry throughout: docker-hub logs in
# at hub.docker.com for each request, and quay is no longer taken for proxy caches since Harbor 2.14.
UPSTREAMS = {
    "docker.io": "https://registry-1.docker.io",
    "ghcr.io": "https://ghcr.io",
    "quay.io": "https://quay.io",
    "gcr.io": "https://gcr.io",
    "public.ecr.aws": "https://public.ecr.aws",
    "mcr.microsoft.com": "https://mcr.microsoft.com",
    "registry.k8s.io": "https://registry.k8s.io",
}

# docs/layouts.md. What `map` does not name is named by harbor_tier_projects.
LAYOUTS = {
    "glueops": lambda registry: "proxy-" + registry.replace(".", "-"),
    "dotted": lambda registry: "proxy." + registry,
    "map": {
        "docker.io": "docker-hub", "ghcr.io": "ghcr", "quay.io": "quay", "registry.k8s.io": "k8s-registry",
    }.get,
}

# The endpoint of a REPLICA.
CORE = "core"


def project_name(registry, layout, projects):
    """By the layout, unless it is written."""
    written = (projects.get(registry) or {}).get("name")
    name = written or LAYOUTS[layout](registry)
    if not name:
        raise AnsibleFilterError(
            'the layout "%s" has no project for %s: write harbor_tier_projects: {"%s": {name: …}}, or leave it out of harbor_tier_registries'
            % (layout, registry, registry)
        )
    return name


def endpoint(registry, upstreams):
    """The registry endpoint of a CORE."""
    written = dict(upstreams.get(registry) or {})
    url = written.pop("url", None) or UPSTREAMS.get(registry)
    if not url:
        raise AnsibleFilterError('where is %s? write harbor_tier_upstreams: {"%s": {url: https://…}}' % (registry, registry))
    return dict({"name": registry, "type": "docker-registry"}, url=url, **written)


def robot(wanted, kind, projects):
    """Exactly what the agent asks: pulls, and with discovery the two lists; its own expiry where expiry_warning is true."""
    wanted = dict(wanted)
    discovers, warned = wanted.pop("discovery", False), wanted.pop("expiry_warning", False)
    wanted["system"] = (["project:list", "registry:list"] if discovers else []) + (["robot:list"] if warned else [])
    wanted["access"] = ["repository:pull"]
    if discovers and kind == "replica":
        # Whether paths hold the project's name twice is tried with something that the project holds.
        wanted["access"] += ["repository:list", "artifact:list"]
    wanted.setdefault("projects", [one["name"] for one in projects])
    return wanted


def state(registries, kind, layout, upstreams, core, projects, defaults, robots):
    """The module's registries, projects and robots. `defaults` are public and storage_limit of a project."""
    for name in list(projects) + list(upstreams):
        if name not in registries:
            raise AnsibleFilterError("%s has settings of its own, but is not in harbor_tier_registries" % name)
    wanted = []
    for registry in registries:
        written = projects.get(registry) or {}
        wanted.append({
            "name": project_name(registry, layout, projects),
            "registry": CORE if kind == "replica" else registry,
            "public": written.get("public", defaults["public"]),
            "storage_limit": str(written.get("storage_limit", defaults["storage_limit"])),
        })
    names = [one["name"] for one in wanted]
    for name in names:
        if names.count(name) > 1:
            raise AnsibleFilterError("two registries would share the project %s" % name)
    if kind == "replica":
        endpoints = [dict({"name": CORE, "type": "harbor"}, **core)]
    else:
        endpoints = [endpoint(registry, upstreams) for registry in registries]
    return {"registries": endpoints, "projects": wanted, "robots": [robot(one, kind, wanted) for one in robots]}


class FilterModule:
    """The filter, by its name."""

    def filters(self):
        return {"harbor_tier_state": state}
