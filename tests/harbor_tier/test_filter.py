"""The filter of the role harbor_tier: layouts, upstreams, and what a robot may do."""

import importlib.util
import os
import unittest

from ansible.errors import AnsibleFilterError

ROLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../ansible/roles/harbor_tier")
SPEC = importlib.util.spec_from_file_location("filters", ROLE + "/filter_plugins/harbor_tier.py")
FILTERS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(FILTERS)
ALL = list(FILTERS.UPSTREAMS)


def state(registries=ALL, kind="core", layout="glueops", upstreams=None, core=None, projects=None, robots=()):
    defaults = {"public": True, "storage_limit": ""}
    return FILTERS.state(registries, kind, layout, upstreams or {}, core or {}, projects or {}, defaults, list(robots))


class Layouts(unittest.TestCase):
    def names(self, **given):
        return {one["registry"]: one["name"] for one in state(**given)["projects"]}

    def test_the_three_layouts_are_those_of_docs_layouts(self):
        self.assertEqual(
            self.names(),
            {
                "docker.io": "proxy-docker-io", "ghcr.io": "proxy-ghcr-io", "quay.io": "proxy-quay-io", "gcr.io": "proxy-gcr-io",
                "public.ecr.aws": "proxy-public-ecr-aws", "mcr.microsoft.com": "proxy-mcr-microsoft-com",
                "registry.k8s.io": "proxy-registry-k8s-io",
            },
        )
        self.assertEqual(self.names(layout="dotted")["mcr.microsoft.com"], "proxy.mcr.microsoft.com")
        four = ["docker.io", "ghcr.io", "quay.io", "registry.k8s.io"]
        self.assertEqual(
            self.names(layout="map", registries=four),
            {"docker.io": "docker-hub", "ghcr.io": "ghcr", "quay.io": "quay", "registry.k8s.io": "k8s-registry"},
        )
        with self.assertRaisesRegex(AnsibleFilterError, "no project for gcr.io"):
            state(layout="map")
        self.assertEqual(self.names(layout="map", registries=["gcr.io"], projects={"gcr.io": {"name": "google"}}), {"gcr.io": "google"})

    def test_settings_for_what_is_not_there_are_an_error(self):
        for given in ({"projects": {"quay.oi": {}}}, {"upstreams": {"quay.oi": {}}}):
            with self.assertRaisesRegex(AnsibleFilterError, "quay.oi"):
                state(**given)
        with self.assertRaisesRegex(AnsibleFilterError, "would share the project x"):
            state(projects={"quay.io": {"name": "x"}, "gcr.io": {"name": "x"}})
        with self.assertRaisesRegex(AnsibleFilterError, "where is r.example.com"):
            state(registries=["r.example.com"])


class Upstreams(unittest.TestCase):
    def test_a_core_has_an_endpoint_for_each_and_a_replica_one(self):
        endpoints = {one["name"]: one for one in state(upstreams={"docker.io": {"username": "me", "password": "word"}})["registries"]}
        self.assertEqual(
            endpoints["docker.io"],
            {"name": "docker.io", "type": "docker-registry", "url": "https://registry-1.docker.io", "username": "me", "password": "word"},
        )
        self.assertEqual(len(endpoints), 7)
        core = {"url": "https://core.example.com", "username": "robot$replica", "password": "word"}
        replica = state(kind="replica", core=core)
        self.assertEqual(replica["registries"], [dict(core, name="core", type="harbor")])
        self.assertEqual({one["registry"] for one in replica["projects"]}, {"core"})

    def test_a_projects_own_settings_win(self):
        projects = state(projects={"quay.io": {"public": False, "storage_limit": "100GiB"}})["projects"]
        self.assertEqual(
            [one for one in projects if not one["public"]],
            [{"name": "proxy-quay-io", "registry": "quay.io", "public": False, "storage_limit": "100GiB"}],
        )


class Robots(unittest.TestCase):
    def robot(self, kind="core", **given):
        return state(kind=kind, registries=["quay.io"], robots=[dict(given, name="node", secret_file="/x")])["robots"][0]

    def test_a_robot_may_what_the_agent_asks_and_no_more(self):
        base = {"name": "node", "secret_file": "/x", "projects": ["proxy-quay-io"], "system": [], "access": ["repository:pull"]}
        lists = ["project:list", "registry:list"]
        held = ["repository:pull", "repository:list", "artifact:list"]
        self.assertEqual(self.robot(), base)
        self.assertEqual(self.robot(discovery=True), dict(base, system=lists))
        self.assertEqual(self.robot(discovery=True, expiry_warning=True), dict(base, system=lists + ["robot:list"]))
        self.assertEqual(self.robot(kind="replica"), base)
        self.assertEqual(self.robot(kind="replica", discovery=True), dict(base, system=lists, access=held))
        self.assertEqual(self.robot(projects=["other"])["projects"], ["other"])


if __name__ == "__main__":
    unittest.main()
