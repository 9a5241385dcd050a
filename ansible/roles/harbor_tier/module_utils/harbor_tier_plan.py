"""What is to be changed at a Harbor: compares what is wanted with what is there, and changes nothing itself.

Each step says what it would do, for check mode and diff, before the first one is done.
"""

import re
import time

from ansible.module_utils.harbor_tier_client import Failure, in_path, repository_in_path

# By this description what the role made is told from what it found.
MADE = "Made by Ansible (harbor_tier)"

UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def size(text):
    """Bytes of `-1`, `1073741824` or `100GiB`; None where nothing is written."""
    text = "" if text is None else str(text).strip()
    if text == "":
        return None
    match = re.match(r"^(-1|\d+)\s*(|[KMGT]iB)$", text)
    if not match or (match.group(1) == "-1" and match.group(2)):
        raise Failure('storage_limit "%s" is no size; write "100GiB", or -1 for no limit' % text)
    return int(match.group(1)) * UNITS[match.group(2)]


class Step:
    """One change: what is before and after it, and how it is done."""

    def __init__(self, kind, name, verb, before, after, do):
        self.kind, self.name, self.verb = kind, name, verb
        self.before, self.after, self.do = before, after, do

    def __str__(self):
        return "%s %s: %s" % (self.kind, self.name, self.verb)


class Plan:
    """The steps, what stands against them, and what stays although it was asked to go."""

    def __init__(self, client, robot_prefix):
        self.client = client
        self.steps, self.problems, self.kept = [], [], []
        self.robot_prefix = robot_prefix
        self.registries = {one["name"]: one for one in client.every("/registries")}
        self.projects = {one["name"]: one for one in client.every("/projects")}
        self.robots = {one["name"]: one for one in client.every("/robots")}

    def step(self, *args):
        self.steps.append(Step(*args))

    def difference(self):
        """The changes as Ansible's diff: what is before and after, of that alone which changes."""
        before, after = {}, {}
        for one in self.steps:
            for side, value in ((before, one.before), (after, one.after)):
                if value:
                    side.setdefault(one.kind, {}).setdefault(one.name, {}).update(value)
        return {"before": before, "after": after, "before_header": self.client.url, "after_header": self.client.url}

    # --- Registry endpoints

    def want_registry(self, want, update_secrets):
        there = self.registries.get(want["name"])
        url = want["url"].rstrip("/")
        shown = {"type": want["type"], "url": url, "insecure": want["insecure"], "username": want["username"] or ""}
        if there is None:
            def create():
                body = {
                    "name": want["name"], "type": want["type"], "url": url, "insecure": want["insecure"], "description": MADE,
                }
                if want["username"]:
                    body["credential"] = {
                        "type": "basic", "access_key": want["username"], "access_secret": want["password"] or "",
                    }
                number, said = self.client.create("/registries", body)
                self.registries[want["name"]] = {"id": number, "name": want["name"]}

            self.step("registries", want["name"], "create", {}, shown, create)
            return
        if there["type"] != want["type"]:
            self.problems.append(
                "registry endpoint %s is of type %s, not %s, and Harbor cannot change that: give ours another name, or remove that one"
                % (want["name"], there["type"], want["type"])
            )
            return
        credential = there.get("credential") or {}
        is_now = {
            "url": there["url"].rstrip("/"),
            "insecure": bool(there.get("insecure")),
            "username": credential.get("access_key") or "",
        }
        before = {key: value for key, value in is_now.items() if value != shown[key]}
        after = {key: shown[key] for key in before}
        body = {key: after[key] for key in ("url", "insecure") if key in after}
        if want["username"] and update_secrets:
            before["password"], after["password"] = "(as it was)", "(as the play says)"
        if "username" in after or "password" in after:
            body.update(
                credential_type="basic" if want["username"] else "",
                access_key=want["username"] or "",
                access_secret=want["password"] or "",
            )
        if body:
            path = "/registries/%d" % there["id"]
            self.step(
                "registries", want["name"], "change " + ", ".join(sorted(after)), before, after,
                lambda: self.client.send("PUT", path, body),
            )

    # --- Projects

    def want_project(self, want):
        there = self.projects.get(want["name"])
        limit = size(want["storage_limit"])
        public = "true" if want["public"] else "false"
        if there is None:
            shown = {"registry": want["registry"], "public": want["public"]}
            if limit is not None:
                shown["storage_limit"] = limit

            def create():
                body = {
                    "project_name": want["name"],
                    "registry_id": self.registries[want["registry"]]["id"],
                    "metadata": {"public": public},
                }
                if limit is not None:
                    body["storage_limit"] = limit
                self.client.create("/projects", body)

            self.step("projects", want["name"], "create", {}, shown, create)
            return
        number = (self.registries.get(want["registry"]) or {}).get("id")
        if not there.get("registry_id") or there["registry_id"] != number:
            self.problems.append(
                "project %s is %s, not a proxy cache of %s, and Harbor cannot change that: give ours another name, or remove that one"
                % (want["name"], self.stands_for(there), want["registry"])
            )
            return
        path = "/projects/%d" % there["project_id"]
        is_now = (there.get("metadata") or {}).get("public", "false")
        if is_now != public:
            self.step(
                "projects", want["name"], "change public", {"public": is_now == "true"}, {"public": want["public"]},
                lambda: self.client.send("PUT", path, {"metadata": {"public": public}}),
            )
        if limit is not None:
            self.want_quota(want["name"], there["project_id"], limit)

    def want_quota(self, name, number, limit):
        quotas = self.client.every("/quotas", {"reference": "project", "reference_id": number})
        if not quotas:
            self.problems.append("project %s has no quota that could be set; Harbor keeps none, or the account may not see it" % name)
            return
        is_now = quotas[0]["hard"].get("storage", -1)
        if is_now != limit:
            path = "/quotas/%d" % quotas[0]["id"]
            self.step(
                "projects", name, "change storage_limit", {"storage_limit": is_now}, {"storage_limit": limit},
                lambda: self.client.send("PUT", path, {"hard": {"storage": limit}}),
            )

    def stands_for(self, project):
        names = [one["name"] for one in self.registries.values() if one["id"] == project.get("registry_id")]
        return "a proxy cache of %s" % names[0] if names else "no proxy cache"

    # --- Robot accounts

    def want_robot(self, want, secret_file, reset_secrets):
        name = self.robot_prefix + want["name"]
        there = self.robots.get(name)
        access = wanted_access(want)
        shown = {"access": sorted(access), "duration": want["duration"], "disabled": False}
        if there is None:
            def create():
                body = {
                    "name": want["name"], "description": MADE, "level": "system", "duration": want["duration"], "disable": False,
                    "permissions": as_permissions(access),
                }
                number, said = self.client.create("/robots", body)
                secret_file.hide(said["secret"])
                if want["secret"]:
                    self.set_secret(said.get("id") or number, want["secret"])
                secret_file.write(want["secret"] or said["secret"])

            secret_file.prepare(self.problems)
            self.step("robots", name, "create", {}, dict(shown, secret=secret_file.told()), create)
            return
        is_now = {
            "access": sorted(present_access(there)), "duration": there.get("duration"), "disabled": bool(there.get("disable")),
        }
        before = {key: value for key, value in is_now.items() if value != shown[key]}
        after = {key: shown[key] for key in before}
        if after:
            body = {
                "name": there["name"], "description": there.get("description", ""), "level": "system",
                "duration": want["duration"], "disable": False, "permissions": as_permissions(access),
            }
            path = "/robots/%d" % there["id"]
            self.step(
                "robots", name, "change " + ", ".join(sorted(after)), before, after,
                lambda: self.client.send("PUT", path, body),
            )
        expires = there.get("expires_at") or -1
        if 0 < expires < time.time() and "duration" not in after:
            self.problems.append("robot %s has expired: a longer duration (days since it was made; -1: never) makes it work again" % name)
            return
        # Its secret cannot be tried before it is enabled again.
        self.want_secret(name, there["id"], want, secret_file, reset_secrets, can_be_tried=not {"disabled", "duration"} & set(after))

    def want_secret(self, name, number, want, secret_file, reset_secrets, can_be_tried):
        """The secret of a robot that is there: what the play says, or what the file holds."""
        declared = want["secret"]
        kept = declared or secret_file.read()
        is_right = bool(kept) and (not can_be_tried or self.is_secret(name, kept))
        if is_right and (declared or not reset_secrets):
            if not secret_file.holds(kept):
                secret_file.prepare(self.problems)
                self.step("robots", name, "write its secret", {}, {"secret": secret_file.told()}, lambda: secret_file.write(kept))
            return
        if not declared and not reset_secrets:
            what = "is not its secret" if kept else "is missing"
            self.problems.append(
                "robot %s is there, but what should be in %s %s, and Harbor tells a secret only once: bring the right one there, or have "
                "a new one made by harbor_tier_reset_secrets=true (whoever uses the old one is refused then)"
                % (name, secret_file.path, what)
            )
            return

        def renew():
            secret = self.set_secret(number, declared)
            secret_file.hide(secret)
            secret_file.write(secret)

        secret_file.prepare(self.problems)
        self.step("robots", name, "set its secret", {"secret": "(another)"}, {"secret": secret_file.told()}, renew)

    def is_secret(self, name, secret):
        """Whether Harbor takes it. /registries is never open to everybody: a wrong secret is 401, a missing permission 403."""
        try:
            self.client.as_account(name, secret).send("GET", "/registries", query={"page": 1, "page_size": 1})
        except Failure as failure:
            if failure.status == 401:
                return False
            if failure.status != 403:
                raise
        return True

    def set_secret(self, number, secret):
        """The secret that it has then. Without one Harbor makes one, and tells it in its answer."""
        said = self.client.send("PATCH", "/robots/%d" % number, {"secret": secret or ""})[0] or {}
        return secret or said["secret"]

    # --- Taking out

    def drop_robot(self, want, secret_file):
        name = self.robot_prefix + want["name"]
        there = self.robots.get(name)
        if there and there.get("description") != MADE:
            self.kept.append("robot %s: not made by this role" % name)
            return
        self.drop_secret_file(name, there, want["secret"], secret_file)
        if there:
            path = "/robots/%d" % there["id"]
            self.step("robots", name, "remove", {"access": sorted(present_access(there))}, {}, lambda: self.client.send("DELETE", path))

    def drop_secret_file(self, name, there, declared, secret_file):
        """Other Harbors may keep theirs in a file of that name: it goes only if it holds what this robot alone has. Before the robot:
        once that is gone nobody can tell whose secret it was."""
        if not secret_file.exists():
            return
        if not there:
            why = "there is no such robot here, so it may be another one's"
        elif declared:
            why = "the play says what is in it, and other robots may have the same"
        elif not self.is_secret(name, secret_file.read()):
            why = "Harbor does not take what is in it as this robot's secret, so it may be another one's"
        else:
            self.step("robots", name, "remove its secret", {"secret": secret_file.told()}, {}, secret_file.remove)
            return
        self.kept.append("secret file %s of robot %s: %s" % (secret_file.path, name, why))

    def drop_project(self, want, delete_repositories):
        there = self.projects.get(want["name"])
        if there is None:
            return
        endpoint = self.registries.get(want["registry"])
        if endpoint is None or endpoint["id"] != there.get("registry_id") or endpoint.get("description") != MADE:
            self.kept.append("project %s: it is %s that this role has not made" % (want["name"], self.stands_for(there)))
            return
        base = "/projects/%s/repositories" % in_path(want["name"])
        repositories = [one["name"] for one in self.client.every(base)]
        if repositories and not delete_repositories:
            self.kept.append(
                "project %s: it holds %d repositories; harbor_tier_uninstall_repositories=true removes them as well"
                % (want["name"], len(repositories))
            )
            return

        def remove():
            for repository in repositories:
                below = repository.split("/", 1)[1]
                self.client.send("DELETE", "%s/%s" % (base, repository_in_path(below)))
            self.client.send("DELETE", "/projects/%d" % there["project_id"])

        shown = {"registry": want["registry"], "repositories": len(repositories)}
        self.step("projects", want["name"], "remove", shown, {}, remove)
        del self.projects[want["name"]]

    def drop_registry(self, want):
        there = self.registries.get(want["name"])
        if there is None:
            return
        if there.get("description") != MADE:
            self.kept.append("registry endpoint %s: not made by this role" % want["name"])
            return
        users = sorted(one["name"] for one in self.projects.values() if one.get("registry_id") == there["id"])
        if users:
            self.kept.append("registry endpoint %s: used by %s" % (want["name"], ", ".join(users)))
            return
        path = "/registries/%d" % there["id"]
        self.step("registries", want["name"], "remove", {"url": there["url"]}, {}, lambda: self.client.send("DELETE", path))


def wanted_access(robot):
    """`system project:list`, `proxy-docker-io repository:pull`."""
    access = {"system " + one for one in robot["system"]}
    for project in robot["projects"]:
        access |= {"%s %s" % (project, one) for one in robot["access"]}
    return access


def present_access(robot):
    """The same of a robot that is there."""
    access = set()
    for permission in robot.get("permissions") or []:
        where = "system" if permission.get("kind") == "system" else permission.get("namespace")
        for one in permission.get("access") or []:
            access.add("%s %s:%s" % (where, one.get("resource"), one.get("action")))
    return access


def as_permissions(access):
    """As Harbor wants it written."""
    permissions = {}
    for one in sorted(access):
        where, what = one.split(" ", 1)
        resource, action = what.split(":", 1)
        kind = {"kind": "system", "namespace": "/"} if where == "system" else {"kind": "project", "namespace": where}
        permissions.setdefault(where, dict(kind, access=[]))["access"].append({"resource": resource, "action": action})
    return list(permissions.values())
