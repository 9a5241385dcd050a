"""Filters of the role harbor_pilot: the configuration as TOML, and what a change of it needs."""

import calendar
import json
import re
import time

from ansible.errors import AnsibleFilterError

# docs/lifecycle.md: these wait for a restart, everything else comes into force by SIGHUP.
RESTART = ("server.listen", "server.admin", "server.metrics", "timeouts.", "limits.", "state.")

BARE_KEY = re.compile(r"^[A-Za-z0-9_-]+$")


def _key(name):
    name = str(name)
    return name if BARE_KEY.match(name) else _text(name)


def _text(text):
    # A JSON text is a TOML basic string but for DEL.
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value, where):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item, where) for item in value) + "]"
    if isinstance(value, dict):
        raise AnsibleFilterError("%s: a list of tables is written as harbor_pilot_tiers or harbor_pilot_registries" % where)
    return _text(value)


def _table(table, where):
    """The lines of one table: its values, then the tables below it, since TOML takes every line for the last one."""
    if not isinstance(table, dict):
        raise AnsibleFilterError("%s must be a dictionary, not %r" % (where, table))
    lines = []
    for name, value in table.items():
        if value is not None and not isinstance(value, dict):
            lines.append("%s = %s" % (_key(name), _value(value, "%s.%s" % (where, name))))
    for name, value in table.items():
        if isinstance(value, dict):
            path = "%s.%s" % (where, _key(name))
            lines += ["", "[%s]" % path] if lines else ["[%s]" % path]
            lines += _table(value, path)
    return lines


def toml(settings, tiers=(), registries=(), manage=None):
    """config.toml from the role's variables, in the order in which they are written."""
    settings = dict(settings or {})
    if manage is not None:
        node = dict(settings.pop("node", None) or {})
        node.setdefault("manage", bool(manage))
        settings["node"] = node
    blocks = []
    for name, entries in (("tier", tiers), ("registry", registries)):
        if name in settings:
            raise AnsibleFilterError("%s does not belong into the settings: use harbor_pilot_%s" % (name, "tiers" if name == "tier" else "registries"))
        for entry in entries or ():
            blocks.append(["[[%s]]" % name] + _table(entry, name))
    for name, value in settings.items():
        blocks.append(["[%s]" % _key(name)] + _table(value, _key(name)))
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def dropins(entries, header):
    """The drop-ins as files below /etc/harbor-pilot: their text, or what their settings come to."""
    files = []
    for entry in entries or ():
        content = entry.get("content")
        if not content:
            content = header + toml(entry.get("settings"), entry.get("tiers"), entry.get("registries"))
        files.append({"name": "config.d/" + entry["name"], "content": content})
    return files


def staged(text, names, etc, stage):
    """The text with the files that the role keeps below `etc` named as they lie in the staging directory."""
    text = str(text)
    for name in sorted(names, key=len, reverse=True):
        text = text.replace("%s/%s" % (etc, name), "%s/%s" % (stage, name))
    return text


def restart_keys(before, after):
    """Keys whose values differ between two answers of `check --json` and that wait for a restart."""
    def values(answer):
        found = {}
        for setting in answer.get("settings") or ():
            if setting["key"].startswith(RESTART):
                found[setting["key"]] = setting["value"]
        return found

    old, new = values(before), values(after)
    return sorted(key for key in set(old) | set(new) if old.get(key) != new.get(key))


def restart_reasons(status, version, written):
    """Why the running agent is not what is installed: another version, or files that it has not read.

    `status` is the answer of `status --json`, `version` that of `--version`, `written` the files' modification
    times. An upgrade that kept the old process leaves the first, a run that was cut off the second.
    """
    reasons = []
    installed = version.split()[-1]
    if status["version"] != installed:
        reasons.append("version %s runs, %s is installed" % (status["version"], installed))
    loaded = calendar.timegm(time.strptime(status["config"]["loaded_at"], "%Y-%m-%dT%H:%M:%SZ"))
    # loaded_at is in whole seconds.
    if any(int(mtime) > loaded for mtime in written):
        reasons.append("the files are newer than what is in force since %s" % status["config"]["loaded_at"])
    return reasons


def unhealthy(status, tiers):
    """What keeps a node from being healthy: the agent's own verdict by `status --json`; `tiers`: all, any or none of them must be ready."""
    if "verdict" not in status:
        # Of a version before 0.2.
        ills = list(status.get("not_ready") or ())
        config = status["config"]
        if not config["last_reload_ok"]:
            ills.append("the configuration on disk is refused: %s" % config["error"])
        if config["from_last_accepted"]:
            ills.append("the agent runs with the last accepted configuration, not with the one on disk")
        down = ["tier %s: not ready" % tier["name"] for tier in status["tiers"] if not tier["ready"]]
    else:
        reasons = [(reason["about"], " ".join(part for part in (reason["subject"], reason["what"]) if part)) for reason in status["reasons"]]
        ills = [text for about, text in reasons if about != "tier"]
        down = ["tier %s" % text for about, text in reasons if about == "tier"]
    if tiers == "all" or (tiers == "any" and len(down) == len(status["tiers"])):
        ills += down
    return ills


def findings(report, ignored=(), stops=True, only=None):
    """The findings of `doctor --json`, one line each: those that stop a rollout, or the others; of the codes `only`, if it is given.

    Errors do, unless their code is ignored.
    """
    lines = []
    for finding in report.get("findings") or ():
        if (only is None or finding["code"] in only) and stops == (finding["severity"] == "error" and finding["code"] not in ignored):
            lines.append("%s: %s: %s; %s" % (finding["code"], finding["subject"], finding["what"], finding["instead"]))
    return lines


def problems(answer):
    """The problems of `check --json`, one line each."""
    lines = []
    for problem in answer.get("problems") or ():
        place = ":".join(str(part) for part in (problem.get("file"), problem.get("line")) if part)
        parts = [part for part in (place, problem.get("key")) if part]
        lines.append(": ".join(parts + [problem.get("what") or ""]) + ("; " + problem["instead"] if problem.get("instead") else ""))
    return lines


class FilterModule:
    """What Ansible asks for."""

    def filters(self):
        return {
            "harbor_pilot_toml": toml,
            "harbor_pilot_dropins": dropins,
            "harbor_pilot_staged": staged,
            "harbor_pilot_restart_keys": restart_keys,
            "harbor_pilot_restart_reasons": restart_reasons,
            "harbor_pilot_unhealthy": unhealthy,
            "harbor_pilot_findings": findings,
            "harbor_pilot_problems": problems,
        }
