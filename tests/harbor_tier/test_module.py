"""The module of the role harbor_tier against a scripted Harbor on loopback. No root, seconds: python3 tests/harbor_tier/test_module.py"""

import contextlib
import importlib.util
import io
import json
import os
import socket
import stat
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

import harbor
from ansible import module_utils
from ansible.module_utils import basic

ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../ansible/roles/harbor_tier")
# As for ansible-playbook, the role's module_utils are ansible.module_utils.
module_utils.__path__.append(ROLE + "/module_utils")


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], os.path.join(ROLE, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = load("library/harbor_tier.py")
PASSWORD = "Dont0tell1anyone"
DECLARED = "Declared0in1a2vault"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Case(unittest.TestCase):
    def setUp(self):
        self.server = harbor.start("127.0.0.1:%d" % free_port())
        self.harbor = self.server.harbor
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.folder = tempfile.TemporaryDirectory()
        self.file = os.path.join(self.folder.name, "robot.secret")
        self.wanted = {
            "url": "http://127.0.0.1:%d" % self.server.server_address[1],
            "username": harbor.ADMIN[0],
            "password": harbor.ADMIN[1],
            "registries": [
                {"name": "quay.io", "type": "docker-registry", "url": "https://quay.io"},
                {"name": "docker.io", "type": "docker-registry", "url": "https://registry-1.docker.io", "username": "me", "password": PASSWORD},
            ],
            "projects": [
                {"name": "proxy-quay-io", "registry": "quay.io", "public": True},
                {"name": "proxy-docker-io", "registry": "docker.io", "public": False, "storage_limit": "100GiB"},
            ],
            "robots": [
                {
                    "name": "node", "secret_file": self.file, "system": ["project:list", "registry:list"],
                    "projects": ["proxy-quay-io", "proxy-docker-io"],
                }
            ],
        }

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()
        self.folder.cleanup()

    def run_module(self, check=False, **other):
        given = dict(self.wanted, _ansible_check_mode=check, _ansible_diff=True, **other)
        self.harbor.changes.clear()
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            MODULE.main()
        said = out.getvalue()
        secrets = [one for one in self.harbor.secrets.values() if one] + [PASSWORD, DECLARED, harbor.ADMIN[1]]
        for secret in secrets:
            self.assertNotIn(secret, said)
        result = json.loads(said)
        if check:
            self.assertEqual(self.harbor.changes, [], "check mode changes nothing")
        return result

    def good(self, check=False, **other):
        result = self.run_module(check, **other)
        self.assertFalse(result.get("failed"), result)
        self.assertEqual(result["changed"], bool(result["changes"]))
        return result["changes"]

    def bad(self, **other):
        """Why it failed."""
        result = self.run_module(**other)
        self.assertTrue(result.get("failed"), result)
        return result["msg"]

    def by_name(self, kind, name):
        return next(one for one in getattr(self.harbor, kind).values() if one["name"] == name)

    def limit(self, name):
        number = self.by_name("projects", name)["project_id"]
        return next(one["hard"]["storage"] for one in self.harbor.quotas.values() if one["ref"]["id"] == number)

    def read(self):
        with open(self.file) as file:
            return file.read()

    def robot_secret(self, name="robot$node"):
        return self.harbor.secrets["robot %d" % self.by_name("robots", name)["id"]]


class Present(Case):
    def test_the_first_run_makes_all_and_the_second_nothing(self):
        foretold = self.good(check=True)
        self.assertFalse(os.path.exists(self.file))
        made = self.good()
        self.assertEqual(foretold, made, "check mode says what the run does")
        self.assertEqual(
            made,
            [
                "registries quay.io: create", "registries docker.io: create", "projects proxy-quay-io: create",
                "projects proxy-docker-io: create", "robots robot$node: create",
            ],
        )
        self.assertEqual(self.good(), [])
        self.assertEqual(self.harbor.changes, [])
        self.assertEqual(self.good(check=True), [])
        self.assertEqual(self.limit("proxy-docker-io"), 100 << 30)
        self.assertEqual(self.limit("proxy-quay-io"), -1)
        self.assertEqual(self.by_name("projects", "proxy-docker-io")["metadata"]["public"], "false")
        number = self.by_name("registries", "docker.io")["id"]
        self.assertEqual(self.harbor.secrets["registry %d" % number], PASSWORD)

    def test_a_robot_has_exactly_what_it_needs_and_its_secret_is_kept_once(self):
        self.good()
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertEqual(self.read(), self.robot_secret())
        self.assertEqual(os.listdir(self.folder.name), ["robot.secret"])
        before = self.read()
        self.good()
        self.assertEqual((self.read(), self.robot_secret()), (before, before), "never rotated")
        pull = [{"resource": "repository", "action": "pull"}]
        self.assertEqual(
            self.by_name("robots", "robot$node")["permissions"],
            [
                {"kind": "project", "namespace": "proxy-docker-io", "access": pull},
                {"kind": "project", "namespace": "proxy-quay-io", "access": pull},
                {
                    "kind": "system", "namespace": "/",
                    "access": [{"resource": "project", "action": "list"}, {"resource": "registry", "action": "list"}],
                },
            ],
        )

    def test_what_was_changed_by_hand_is_corrected_and_said(self):
        self.good()
        self.by_name("projects", "proxy-quay-io")["metadata"]["public"] = "false"
        project = self.by_name("projects", "proxy-docker-io")["project_id"]
        next(one for one in self.harbor.quotas.values() if one["ref"]["id"] == project)["hard"]["storage"] = 5
        self.by_name("registries", "quay.io")["url"] = "https://elsewhere.example.com"
        self.by_name("registries", "docker.io")["credential"]["access_key"] = "somebody"
        robot = self.by_name("robots", "robot$node")
        robot["permissions"][0]["access"].append({"resource": "repository", "action": "push"})
        robot["disable"] = True
        os.chmod(self.file, 0o644)
        foretold = self.run_module(check=True)
        self.assertEqual(
            foretold["diff"]["before"],
            {
                "registries": {"quay.io": {"url": "https://elsewhere.example.com"}, "docker.io": {"username": "somebody"}},
                "projects": {"proxy-quay-io": {"public": False}, "proxy-docker-io": {"storage_limit": 5}},
                "robots": {
                    "robot$node": {
                        "access": [
                            "proxy-docker-io repository:pull", "proxy-docker-io repository:push", "proxy-quay-io repository:pull",
                            "system project:list", "system registry:list",
                        ],
                        "disabled": True,
                    }
                },
            },
        )
        self.assertEqual(foretold["diff"]["after"]["projects"], {"proxy-quay-io": {"public": True}, "proxy-docker-io": {"storage_limit": 100 << 30}})
        done = self.good()
        self.assertEqual(foretold["changes"], done)
        self.assertEqual(len(done), 6)
        self.assertEqual(self.good(), [])
        self.assertEqual(self.by_name("registries", "quay.io")["url"], "https://quay.io")
        self.assertEqual(stat.S_IMODE(os.stat(self.file).st_mode), 0o600)
        self.assertEqual(self.robot_secret(), self.read())

    def test_others_are_left_alone_also_behind_the_first_page(self):
        for number in range(250):
            self.harbor.add_project({"project_name": "team-%d" % number})
        self.good()
        self.assertEqual(self.good(), [])
        self.assertEqual(len(self.harbor.projects), 253)

    def test_secrets_that_harbor_does_not_tell_are_written_again_when_asked(self):
        self.good()
        self.wanted["registries"][1]["password"] = DECLARED
        self.assertEqual(self.good(), [], "Harbor does not tell the one that it has")
        self.assertEqual(self.good(update_secrets=True), ["registries docker.io: change password"])
        number = self.by_name("registries", "docker.io")["id"]
        self.assertEqual(self.harbor.secrets["registry %d" % number], DECLARED)

    def test_a_declared_secret_is_tried_and_set(self):
        robot = self.wanted["robots"][0]
        robot["secret"] = PASSWORD
        self.good()
        self.assertEqual((self.robot_secret(), self.read()), (PASSWORD, PASSWORD))
        self.assertEqual(self.good(), [])
        self.assertEqual(self.good(reset_secrets=True), [], "it is what the play says already")
        robot["secret"] = DECLARED
        self.assertEqual(self.good(check=True), ["robots robot$node: set its secret"])
        self.assertEqual(self.good(), ["robots robot$node: set its secret"])
        self.assertEqual((self.robot_secret(), self.read()), (DECLARED, DECLARED))
        # Of two Harbors behind one name: the same secret at both, and no file.
        del robot["secret_file"]
        self.assertEqual(self.good(), [])
        robot["secret"] = "weak"
        self.assertIn("a capital, a small letter and a digit", self.bad())
        del robot["secret"]
        self.assertIn("write a secret_file", self.bad())

    def test_a_lost_secret_is_said_and_made_anew_only_when_asked(self):
        self.good()
        os.unlink(self.file)
        self.assertIn("is missing", self.bad())
        with open(self.file, "w") as file:
            file.write("Something0else")
        said = self.bad()
        self.assertIn("is not its secret", said)
        self.assertIn("harbor_tier_reset_secrets=true", said)
        self.assertEqual(self.good(reset_secrets=True), ["robots robot$node: set its secret"])
        self.assertEqual(self.read(), self.robot_secret())
        self.assertEqual(self.good(), [])

    def test_a_secret_that_could_not_be_kept_is_not_made(self):
        self.wanted["robots"][0]["secret_file"] = self.folder.name + "/none/robot.secret"
        self.assertIn("cannot be written", self.bad())
        self.assertEqual(self.harbor.changes, [])

    def test_an_expired_robot_is_said(self):
        self.wanted["robots"][0]["duration"] = 30
        self.good()
        robot = self.by_name("robots", "robot$node")
        robot["creation_time"] = time.time() - 31 * 86400
        robot["expires_at"] = int(time.time()) - 86400
        self.assertIn("robot robot$node has expired", self.bad())
        self.wanted["robots"][0]["duration"] = -1
        self.assertEqual(self.good(), ["robots robot$node: change duration"])
        self.assertEqual(self.good(), [])


class Refusals(Case):
    def test_all_that_stands_against_it_is_said_at_once_and_nothing_changed(self):
        self.good()
        self.wanted["registries"][0]["type"] = "quay"
        self.wanted["projects"] += [
            {"name": "library", "registry": "quay.io"},
            {"name": "proxy-docker-io", "registry": "quay.io"},
            {"name": "another", "registry": "quay.io"},
        ]
        said = self.bad()
        self.assertIn("quay.io is of type docker-registry, not quay", said)
        self.assertIn("project library is no proxy cache, not a proxy cache of quay.io", said)
        self.assertIn("project proxy-docker-io is a proxy cache of docker.io", said)
        self.assertEqual(self.harbor.changes, [])
        self.wanted["projects"][-1]["storage_limit"] = "100 GB"
        self.assertIn('write "100GiB"', self.bad())

    def test_accounts_that_may_not(self):
        self.assertIn("refuses the account admin (401)", self.bad(password="Wrong0word"))
        self.good()
        said = self.bad(username="robot$node", password=self.read())
        self.assertIn("the rights of a system administrator", said)

    def test_a_harbor_without_jobservice_leaves_a_project_half_made(self):
        self.harbor.jobservice = False
        self.assertIn("harbor-jobservice runs", self.bad())
        self.harbor.jobservice = True
        done = self.good()
        self.assertNotIn("projects proxy-quay-io: create", done, "it is there, and checked like any other")
        self.assertEqual(self.good(), [])

    def test_somebody_else_makes_it_meanwhile(self):
        page = self.harbor.page
        self.harbor.add_project({"project_name": "proxy-quay-io"})
        self.harbor.page = lambda entries, query: page([one for one in entries if one.get("name") != "proxy-quay-io"], query)
        self.assertIn("somebody else has just made it (409)", self.bad())

    def test_what_is_no_harbor(self):
        class Page(BaseHTTPRequestHandler):
            answer = 200, {}

            def do_GET(self):
                status, headers = self.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"<html>")

            def log_message(self, *_):
                pass

        port = free_port()
        url = "http://127.0.0.1:%d" % port
        self.assertIn(url + " cannot be reached", self.bad(url=url))
        with HTTPServer(("127.0.0.1", port), Page) as server:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
            self.assertIn("is no JSON; is this the address of a Harbor?", self.bad(url=url))
            Page.answer = 308, {"Location": "https://core.example.com/"}
            self.assertIn("redirects to https://core.example.com/; write that address", self.bad(url=url))
            Page.answer = 404, {}
            self.assertIn("is this the address of a Harbor?", self.bad(url=url))
            Page.answer = 502, {}
            self.assertIn("Harbor answered 502", self.bad(url=url))
            server.shutdown()


class Absent(Case):
    def test_takes_out_what_it_made_and_nothing_else(self):
        theirs = {"name": "theirs", "type": "docker-registry", "url": "https://theirs.example.com"}
        status, _, headers = self.harbor.registries_all("POST", {}, theirs, "admin")
        self.assertEqual(status, 201)
        number = int(headers["Location"].rsplit("/", 1)[1])
        self.harbor.add_project({"project_name": "proxy-theirs", "registry_id": number})
        robot = {"name": "theirs", "level": "system", "duration": -1, "permissions": [], "description": "by hand", "disable": False}
        self.harbor.robots_all("POST", {}, robot, "admin")
        before = json.dumps([self.harbor.registries, self.harbor.projects, self.harbor.robots])
        self.good()
        self.harbor.repositories["proxy-quay-io"] += ["org/a", "org/b"]
        # Named by the play, but found there: they stay.
        self.wanted["registries"].append(theirs)
        self.wanted["projects"].append({"name": "proxy-theirs", "registry": "theirs"})
        self.wanted["robots"].append({"name": "theirs", "secret": DECLARED})

        foretold = self.run_module(check=True, state="absent")
        gone = self.run_module(state="absent")
        self.assertEqual((foretold["changes"], foretold["kept"]), (gone["changes"], gone["kept"]))
        self.assertEqual(
            gone["changes"],
            ["robots robot$node: remove its secret", "robots robot$node: remove", "projects proxy-docker-io: remove", "registries docker.io: remove"],
        )
        kept = " | ".join(gone["kept"])
        for word in (
            "proxy-quay-io: it holds 2 repositories", "quay.io: used by proxy-quay-io", "robot robot$theirs: not made", "theirs: not made",
            "project proxy-theirs: it is a proxy cache of theirs that this role has not made",
        ):
            self.assertIn(word, kept)
        self.assertFalse(os.path.exists(self.file))
        self.assertEqual(self.good(state="absent"), [])
        self.assertEqual(
            self.good(state="absent", delete_repositories=True), ["projects proxy-quay-io: remove", "registries quay.io: remove"]
        )
        self.assertEqual(json.dumps([self.harbor.registries, self.harbor.projects, self.harbor.robots]), before)
        self.assertEqual(self.good(state="absent", delete_repositories=True), [])

    def kept_by_uninstalling(self, changes):
        """What an uninstallation says of what stays, and check mode says before it."""
        foretold = self.run_module(check=True, state="absent")
        gone = self.run_module(state="absent")
        self.assertEqual((foretold["changes"], foretold["kept"]), (gone["changes"], gone["kept"]))
        self.assertEqual([one for one in gone["changes"] if one.startswith("robots")], changes)
        return " | ".join(gone["kept"])

    def test_a_secret_file_goes_only_with_the_robot_whose_secret_it_holds(self):
        self.good()
        there = self.read()
        # Another Harbor, or this one a second time: the robot is not here, and the file is somebody else's.
        self.run_module(state="absent")
        with open(self.file, "w") as file:
            file.write(there)
        self.assertIn("there is no such robot here", self.kept_by_uninstalling([]))
        self.assertEqual(self.read(), there)
        # A robot of the same name with another secret.
        os.unlink(self.file)
        self.good()
        with open(self.file, "w") as file:
            file.write(there)
        self.assertIn("does not take what is in it", self.kept_by_uninstalling(["robots robot$node: remove"]))
        self.assertEqual(self.read(), there)

    def test_a_secret_that_several_harbors_share_stays_in_its_file(self):
        self.wanted["robots"][0]["secret"] = DECLARED
        self.good()
        kept = self.kept_by_uninstalling(["robots robot$node: remove"])
        self.assertIn("secret file %s of robot robot$node: the play says what is in it" % self.file, kept)
        self.assertEqual(self.read(), DECLARED)

    def test_a_run_that_was_cut_leaves_no_secret_file_behind(self):
        self.good()
        answer = self.harbor.answer

        def fail(method, *rest):
            if method == "DELETE":
                raise harbor.Refused(500, "UNKNOWN", "internal server error")
            return answer(method, *rest)

        self.harbor.answer = fail
        self.assertIn("500", self.bad(state="absent"))
        self.harbor.answer = answer
        self.assertEqual(self.kept_by_uninstalling(["robots robot$node: remove"]), "")
        self.assertFalse(os.path.exists(self.file))

    def test_a_project_made_by_hand_on_the_roles_endpoint_is_the_roles_if_the_play_names_it(self):
        self.wanted["projects"] = self.wanted["projects"][:1]
        self.wanted["robots"] = []
        self.good()
        number = self.by_name("registries", "docker.io")["id"]
        for name in ("proxy-docker-io", "by-hand"):
            self.harbor.add_project({"project_name": name, "registry_id": number, "metadata": {"public": "true"}})
        self.wanted["projects"].append({"name": "proxy-docker-io", "registry": "docker.io", "public": True})
        self.assertEqual(self.good(), [])
        gone = self.run_module(state="absent")
        self.assertIn("projects proxy-docker-io: remove", gone["changes"])
        self.assertEqual(gone["kept"], ["registry endpoint docker.io: used by by-hand"])
        self.assertEqual({one["name"] for one in self.harbor.projects.values()}, {"library", "by-hand"})


if __name__ == "__main__":
    unittest.main()
