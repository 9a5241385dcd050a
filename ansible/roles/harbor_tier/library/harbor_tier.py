#!/usr/bin/python
"""Module of the role harbor_tier: registry endpoints, proxy-cache projects and robot accounts of a Harbor."""

DOCUMENTATION = r"""
---
module: harbor_tier
short_description: Registry endpoints, proxy-cache projects and system robot accounts of a Harbor
description:
  - Brings a Harbor into the state that is described, through its REST API v2.0, or takes out what it has made.
  - Compares everything first. Nothing is changed if something stands against it.
  - A robot's secret goes from Harbor's answer into a file, and is in no result, log or diff.
options:
  url:
    description: Harbor, without a path.
    type: str
    required: true
  username:
    description: An account with the rights of a system administrator.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  validate_certs:
    description: Whether Harbor's certificate is checked.
    type: bool
    default: true
  ca_path:
    description: Authorities beside the system's, a file on the host on which the module runs.
    type: path
  timeout:
    description: Seconds for one answer.
    type: int
    default: 30
  state:
    description: absent takes out endpoints and robots that carry the role's description, and the listed projects on such endpoints, whoever made them.
    type: str
    choices: [present, absent]
    default: present
  registries:
    description: Registry endpoints.
    type: list
    elements: dict
    default: []
  projects:
    description: Proxy-cache projects; registry is the name of an endpoint.
    type: list
    elements: dict
    default: []
  robots:
    description: System robot accounts. Each has a secret, a secret_file, or both.
    type: list
    elements: dict
    default: []
  robot_prefix:
    description: What Harbor writes before the name of a robot.
    type: str
    default: robot$
  update_secrets:
    description: Whether the passwords of registry endpoints that are there are written again. Harbor does not tell them.
    type: bool
    default: false
  reset_secrets:
    description: Whether robots get a new secret.
    type: bool
    default: false
  delete_repositories:
    description: With state absent, whether projects that hold something are removed with it.
    type: bool
    default: false
author:
  - The harbor-pilot project
"""

EXAMPLES = r"""
- name: Keep a proxy cache of quay.io
  harbor_tier:
    url: https://core.example.com
    username: admin
    password: "{{ vault_harbor_admin }}"
    registries: [{name: quay.io, type: docker-registry, url: https://quay.io}]
    projects: [{name: proxy-quay-io, registry: quay.io, public: true}]
"""

RETURN = r"""
changes:
  description: What was, or in check mode would be, done, one line each.
  type: list
  returned: always
kept:
  description: With state absent, what stays and why, one line each.
  type: list
  returned: always
"""

import os
import re
import stat
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.harbor_tier_client import Client, Failure
from ansible.module_utils.harbor_tier_plan import Plan

REGISTRY = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "insecure": {"type": "bool", "default": False},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
}
PROJECT = {
    "name": {"type": "str", "required": True},
    "registry": {"type": "str", "required": True},
    "public": {"type": "bool", "default": True},
    "storage_limit": {"type": "str"},
}
ROBOT = {
    "name": {"type": "str", "required": True},
    "duration": {"type": "int", "default": -1},
    "system": {"type": "list", "elements": "str", "default": []},
    "projects": {"type": "list", "elements": "str", "default": []},
    "access": {"type": "list", "elements": "str", "default": ["repository:pull"]},
    "secret": {"type": "str", "no_log": True},
    "secret_file": {"type": "path", "no_log": False},
}


class SecretFile:
    """Where a robot's secret is kept: mode 0600, replaced as a whole. Without a path nothing is read or written."""

    def __init__(self, module, path):
        self.module, self.path = module, path

    def hide(self, secret):
        self.module.no_log_values.add(secret)

    def told(self):
        return "(in %s)" % self.path if self.path else "(as the play says)"

    def exists(self):
        return bool(self.path) and os.path.lexists(self.path)

    def read(self):
        """What it holds; empty if it is not there."""
        if not self.exists():
            return ""
        with open(self.path) as file:
            text = file.read().strip()
        if text:
            self.hide(text)
        return text

    def holds(self, secret):
        """Whether nothing has to be written."""
        if not self.path:
            return True
        return self.read() == secret and stat.S_IMODE(os.stat(self.path).st_mode) == 0o600

    def prepare(self, problems):
        """Says beforehand that the secret could not be kept: Harbor tells it once."""
        folder = os.path.dirname(self.path) if self.path else ""
        if self.path and not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
            problems.append("%s cannot be written: %s is no directory, or not ours to write to" % (self.path, folder))

    def write(self, secret):
        if not self.path:
            return
        # Made with mode 0600, beside the file that it replaces.
        number, aside = tempfile.mkstemp(dir=os.path.dirname(self.path), prefix=".harbor_tier.")
        try:
            with os.fdopen(number, "w") as file:
                file.write(secret)
                file.flush()
                os.fsync(file.fileno())
            os.rename(aside, self.path)
        except BaseException:
            os.unlink(aside)
            raise

    def remove(self):
        os.unlink(self.path)


def secrets_that_do_not_do(robots):
    """Harbor's own rule, said before anything is made. A robot without either could never be used."""
    for one in robots:
        secret = one["secret"]
        if not secret and not one["secret_file"]:
            yield "robot %s: write a secret_file, where its secret is kept, or a secret" % one["name"]
        if one["secret_file"] and not os.path.isabs(one["secret_file"]):
            yield "robot %s: secret_file must be an absolute path" % one["name"]
        if secret and not (8 <= len(secret) <= 128 and all(re.search(kind, secret) for kind in ("[A-Z]", "[a-z]", "[0-9]"))):
            yield "robot %s: Harbor wants 8 to 128 characters with a capital, a small letter and a digit as secret" % one["name"]


def make_plan(module):
    """What is to be done; asks Harbor, and changes nothing."""
    given = module.params
    client = Client(
        given["url"], given["username"], given["password"], given["validate_certs"], given["ca_path"], given["timeout"]
    )
    plan = Plan(client, given["robot_prefix"])
    files = {one["name"]: SecretFile(module, one["secret_file"]) for one in given["robots"]}
    if given["state"] == "absent":
        for robot in given["robots"]:
            plan.drop_robot(robot, files[robot["name"]])
        for project in given["projects"]:
            plan.drop_project(project, given["delete_repositories"])
        for registry in given["registries"]:
            plan.drop_registry(registry)
        return plan
    plan.problems += secrets_that_do_not_do(given["robots"])
    for registry in given["registries"]:
        plan.want_registry(registry, given["update_secrets"])
    for project in given["projects"]:
        plan.want_project(project)
    for robot in given["robots"]:
        if robot["secret"] or robot["secret_file"]:
            plan.want_robot(robot, files[robot["name"]], given["reset_secrets"])
    return plan


def main():
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 30},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "registries": {"type": "list", "elements": "dict", "default": [], "options": REGISTRY},
            "projects": {"type": "list", "elements": "dict", "default": [], "options": PROJECT},
            "robots": {"type": "list", "elements": "dict", "default": [], "options": ROBOT},
            "robot_prefix": {"type": "str", "default": "robot$"},
            "update_secrets": {"type": "bool", "default": False, "no_log": False},
            "reset_secrets": {"type": "bool", "default": False, "no_log": False},
            "delete_repositories": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    done = []
    try:
        plan = make_plan(module)
        if plan.problems:
            module.fail_json(msg="Nothing was changed. " + " | ".join(plan.problems), problems=plan.problems)
        for one in plan.steps:
            if not module.check_mode:
                one.do()
            done.append(str(one))
    except (Failure, OSError) as failure:
        # What was done before stays; the next run continues there.
        module.fail_json(msg=str(failure), changed=bool(done), changes=done)
    result = {"changed": bool(done), "changes": done, "kept": plan.kept}
    if module._diff:
        result["diff"] = plan.difference()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
