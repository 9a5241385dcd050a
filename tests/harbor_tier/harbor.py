"""A Harbor for the tests of the role harbor_tier: its API with changes, and the answers of /v2/ that its nginx passes on.

    harbor.py --listen 127.0.0.1:8443 [--cert FILE --key FILE]

In Python and not part of tests/support: it runs on the machine of the Harbor host, behind that machine's nginx, where Python is there for
Ansible and nothing else is; and the module's tests start it in their own process. Nothing here is Harbor's code; it does what
Harbor 2.8 to 2.15 is known to do where the role meets it.
"""

import argparse
import base64
import json
import re
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

ADMIN = ("admin", "Harbor12345-admin")
# What a Harbor lets be the upstream of a proxy-cache project; quay went with 2.14.
PROXY_TYPES = {"docker-hub", "docker-registry", "harbor", "github-ghcr", "google-gcr", "aws-ecr", "azure-acr"}
LONGEST_PAGE = 100


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers)


class Harbor:
    """What it keeps: objects by number."""

    def __init__(self):
        self.lock = threading.RLock()
        self.registries, self.projects, self.quotas, self.robots = {}, {}, {}, {}
        self.repositories = {}  # of a project's name: names below it
        self.secrets = {}  # of a robot's or an endpoint's number
        self.changes = []  # METHOD PATH of each request that wanted a change
        self.jobservice = True
        self.unhealthy = None  # a component
        self.last = 0
        self.add_project({"project_name": "library", "metadata": {"public": "true"}})

    def number(self):
        self.last += 1
        return self.last

    # --- Who asks

    def account(self, authorization):
        """None: nobody. Else the account's name; who shows a wrong secret is nobody, too."""
        if not (authorization or "").startswith("Basic "):
            return None
        name, _, word = base64.b64decode(authorization[6:]).decode().partition(":")
        if (name, word) == ADMIN:
            return name
        for number, robot in self.robots.items():
            expired = 0 < robot["expires_at"] < time.time()
            if robot["name"] == name and self.secrets["robot %d" % number] == word and not robot["disable"] and not expired:
                return name
        return None

    def may(self, account, what):
        if account == ADMIN[0]:
            return True
        access = [
            "%s:%s" % (one["resource"], one["action"])
            for robot in self.robots.values() if robot["name"] == account
            for permission in robot["permissions"] if permission["kind"] == "system"
            for one in permission["access"]
        ]
        return what in access

    def need(self, account, what):
        if account is None:
            raise Refused(401, "UNAUTHORIZED", "unauthorized")
        if not self.may(account, what):
            raise Refused(403, "FORBIDDEN", "forbidden")

    # --- The API

    def answer(self, method, path, query, body, account):
        """Status, JSON or None, and headers."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if method != "GET":
            self.changes.append("%s %s" % (method, path))
        kind, rest = parts[0], parts[1:]
        handler = getattr(self, "%s_%s" % (kind, "one" if rest else "all"), None)
        if handler is None:
            raise Refused(404, "NOT_FOUND", "not found")
        return handler(method, rest, query, body, account) if rest else handler(method, query, body, account)

    def page(self, entries, query):
        number, length = int(query.get("page", 1)), int(query.get("page_size", 10))
        if length > LONGEST_PAGE:
            raise Refused(422, "UNPROCESSABLE_ENTITY", "page_size in query should be less than or equal to 100")
        for one in filter(None, query.get("q", "").split(",")):
            key, _, value = one.partition("=")
            if value.startswith("~"):
                entries = [entry for entry in entries if value[1:] in str(entry.get(key))]
            else:
                entries = [entry for entry in entries if str(entry.get(key)) == value]
        start = (number - 1) * length
        headers = {"X-Total-Count": str(len(entries))}
        return 200, entries[start:start + length], headers

    @staticmethod
    def created(kind, number, body=None):
        return 201, body, {"Location": "/api/v2.0/%s/%d" % (kind, number)}

    def registries_all(self, method, query, body, account):
        self.need(account, "registry:list" if method == "GET" else "registry:create")
        if method == "GET":
            return self.page(list(self.registries.values()), query)
        if any(one["name"] == body["name"] for one in self.registries.values()):
            raise Refused(409, "CONFLICT", "resource name conflict")
        number = self.number()
        given = body.get("credential") or {}
        self.secrets["registry %d" % number] = given.get("access_secret", "")
        credential = {"type": "basic", "access_key": given["access_key"], "access_secret": "*****"} if given else {}
        self.registries[number] = {
            "id": number, "name": body["name"], "type": body["type"], "url": body["url"].rstrip("/"), "status": "healthy",
            "insecure": body.get("insecure", False), "description": body.get("description", ""), "credential": credential,
        }
        return self.created("registries", number)

    def registries_one(self, method, rest, query, body, account):
        number = int(rest[0])
        there = self.registries.get(number)
        self.need(account, "registry:read" if method == "GET" else "registry:update")
        if there is None:
            raise Refused(404, "NOT_FOUND", "registry %d not found" % number)
        if method == "GET":
            return 200, there, {}
        if method == "DELETE":
            if any(one["registry_id"] == number for one in self.projects.values()):
                raise Refused(412, "PRECONDITION", "the registry %d is used by proxy cache project" % number)
            del self.registries[number]
            return 200, None, {}
        for key in ("name", "url", "insecure", "description"):
            there[key] = body.get(key, there[key])
        if "access_key" in body:
            there["credential"] = {"type": body["credential_type"], "access_key": body["access_key"], "access_secret": "*****"}
            self.secrets["registry %d" % number] = body["access_secret"]
        return 200, None, {}

    def add_project(self, body):
        number, quota = self.number(), self.number()
        self.projects[number] = {
            "project_id": number, "name": body["project_name"], "registry_id": body.get("registry_id"),
            "metadata": {"public": "false", **body.get("metadata", {})},
        }
        self.quotas[quota] = {
            "id": quota, "ref": {"id": number, "name": body["project_name"]}, "hard": {"storage": body.get("storage_limit", -1)},
            "used": {"storage": 0},
        }
        self.repositories[body["project_name"]] = []
        return number

    def projects_all(self, method, query, body, account):
        if method == "GET":
            sees = self.may(account, "project:list")
            return self.page([one for one in self.projects.values() if sees or one["metadata"]["public"] == "true"], query)
        self.need(account, "project:create")
        if any(one["name"] == body["project_name"] for one in self.projects.values()):
            raise Refused(409, "CONFLICT", "The project named %s already exists" % body["project_name"])
        if not re.fullmatch(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", body["project_name"]):
            raise Refused(400, "BAD_REQUEST", "project name is not in lower case or contains illegal characters")
        registry = self.registries.get(body.get("registry_id"))
        if body.get("registry_id") and registry is None:
            raise Refused(404, "NOT_FOUND", "registry %s not found" % body["registry_id"])
        if registry and registry["type"] not in PROXY_TYPES:
            raise Refused(400, "BAD_REQUEST", "unsupported registry type %s" % registry["type"])
        number = self.add_project(body)
        if not self.jobservice:
            raise Refused(500, "UNKNOWN", "internal server error")
        return self.created("projects", number)

    def projects_one(self, method, rest, query, body, account):
        self.need(account, "project:update")
        by = "project_id" if rest[0].isdigit() else "name"
        there = next((one for one in self.projects.values() if str(one[by]) == rest[0]), None)
        if there is None:
            raise Refused(404, "NOT_FOUND", "project %s not found" % rest[0])
        held = self.repositories[there["name"]]
        if len(rest) > 1:
            if method == "GET":
                return self.page([{"name": "%s/%s" % (there["name"], one)} for one in held], query)
            # A repository's name is encoded twice.
            held.remove(unquote(rest[2]))
            return 200, None, {}
        if method == "GET":
            return 200, there, {}
        if method == "DELETE":
            if held:
                raise Refused(412, "PRECONDITION", "the project contains repositories, can not be deleted")
            del self.projects[there["project_id"]]
            return 200, None, {}
        if body.get("registry_id", there["registry_id"]) != there["registry_id"]:
            raise Refused(403, "FORBIDDEN", "registry_id cannot be changed")
        there["metadata"].update(body.get("metadata", {}))
        return 200, None, {}

    def quotas_all(self, method, query, body, account):
        self.need(account, "quota:list")
        of = query.get("reference_id")
        return self.page([one for one in self.quotas.values() if of is None or str(one["ref"]["id"]) == of], query)

    def quotas_one(self, method, rest, query, body, account):
        self.need(account, "quota:update")
        self.quotas[int(rest[0])]["hard"].update(body["hard"])
        return 200, None, {}

    def robots_all(self, method, query, body, account):
        self.need(account, "robot:list" if method == "GET" else "robot:create")
        if method == "GET":
            return self.page(list(self.robots.values()), query)
        name = "robot$" + body["name"]
        if any(one["name"] == name for one in self.robots.values()):
            raise Refused(409, "CONFLICT", "robot %s already exists" % body["name"])
        number = self.number()
        secret = "Made0by1Harbor2number%d" % number
        self.robots[number] = {"id": number, "name": name, "editable": True, "level": body["level"], "creation_time": time.time()}
        self.write_robot(self.robots[number], body)
        self.secrets["robot %d" % number] = secret
        # Here alone the secret is told.
        return self.created("robots", number, {"id": number, "name": name, "secret": secret, "expires_at": -1})

    def write_robot(self, robot, body):
        names = {one["name"] for one in self.projects.values()}
        for permission in body["permissions"]:
            if permission["kind"] == "project" and permission["namespace"] not in names | {"*"}:
                raise Refused(404, "NOT_FOUND", "project %s not found" % permission["namespace"])
        for key in ("permissions", "disable", "description", "duration"):
            robot[key] = body.get(key)
        days = body["duration"]
        robot["expires_at"] = -1 if days == -1 else int(robot["creation_time"]) + days * 86400

    def robots_one(self, method, rest, query, body, account):
        self.need(account, "robot:update")
        number = int(rest[0])
        there = self.robots.get(number)
        if there is None:
            raise Refused(404, "NOT_FOUND", "robot %d not found" % number)
        if method == "DELETE":
            del self.robots[number]
        elif method == "PUT":
            if (body["name"], body["level"]) != (there["name"], there["level"]):
                raise Refused(400, "BAD_REQUEST", "cannot update the level or name of robot")
            self.write_robot(there, body)
        elif method == "PATCH":
            secret = body.get("secret", "")
            fits = 8 <= len(secret) <= 128 and all(re.search(kind, secret) for kind in ("[A-Z]", "[a-z]", "[0-9]"))
            if secret and not fits:
                raise Refused(400, "BAD_REQUEST", "the secret must be 8 to 128 characters, with a capital, a small letter and a number")
            self.secrets["robot %d" % number] = secret or "Made1again2by3Harbor%d" % self.number()
            return 200, {"secret": "" if secret else self.secrets["robot %d" % number]}, {}
        return 200, (there if method == "GET" else None), {}

    def health_all(self, method, query, body, account):
        parts = ["core", "database", "jobservice", "redis", "registry"]
        listed = [{"name": one, "status": "unhealthy" if one == self.unhealthy else "healthy"} for one in parts]
        return 200, {"components": listed, "status": "unhealthy" if self.unhealthy else "healthy"}, {}

    def test_one(self, method, rest, query, body, account):
        """Not Harbor's: the test's hand in it."""
        for key, value in (body or {}).items():
            setattr(self, key, value)
        return 200, {key: getattr(self, key) for key in rest if method == "GET"}, {}


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 before a Harbor."""

    protocol_version = "HTTP/1.1"
    server_version = "harbor"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def serve(self):
        harbor = self.server.harbor
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = self.chunked()
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        try:
            if not url.path.startswith("/api/v2.0/"):
                return self.server.registry(self, url, data)
            body = json.loads(data) if data else {}
            if self.command != "GET" and "sid=" in self.headers.get("Cookie", ""):
                raise Refused(403, "FORBIDDEN", "CSRF token not found in request")
            with harbor.lock:
                account = harbor.account(self.headers.get("Authorization"))
                query = dict(parse_qsl(url.query))
                status, said, headers = harbor.answer(self.command, url.path[len("/api/v2.0"):], query, body, account)
                text = b"" if said is None else json.dumps(said).encode()
            self.reply(status, text, headers)
        except Refused as refused:
            text = json.dumps({"errors": [{"code": refused.code, "message": refused.message}]}).encode()
            self.reply(refused.status, text, refused.headers)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def chunked(self):
        data = b""
        while True:
            length = int(self.rfile.readline(), 16)
            data += self.rfile.read(length)
            self.rfile.readline()
            if length == 0:
                return data

    def reply(self, status, text=b"", headers=()):
        self.send_response(status)
        for name, value in dict({"Content-Type": "application/json; charset=utf-8", "Set-Cookie": "sid=1; Path=/"}, **dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)


def registry(handler, url, data):
    """/v2/ and the token service: says in X-Seen what has come, as it has come."""
    seen = {"X-Seen": handler.path, "X-Seen-Host": handler.headers.get("Host", ""), "X-Seen-Proto": handler.headers.get("X-Forwarded-Proto", "")}
    origin = "https://" + handler.headers.get("Host", "")
    if url.path == "/service/token":
        return handler.reply(200, b'{"token":"a.b.c","access_token":"","expires_in":1800}', seen)
    if url.path == "/v2/_catalog":
        raise Refused(401, "UNAUTHORIZED", "unauthorized", dict(seen, **{"Www-Authenticate": 'Basic realm="harbor"'}))
    if url.path == "/v2/":
        realm = 'Bearer realm="%s/service/token",service="harbor-registry"' % origin
        raise Refused(401, "UNAUTHORIZED", "unauthorized: unauthorized", dict(seen, **{"Www-Authenticate": realm}))
    if "/blobs/uploads/" in url.path:
        if url.path.split("/")[2].startswith("proxy"):
            raise Refused(403, "DENIED", "can not push artifact to a proxy project", seen)
        where = url.path if handler.command == "PATCH" else url.path + "1b4db7eb"
        status = {"POST": 202, "PATCH": 202, "PUT": 201}[handler.command]
        return handler.reply(status, b"", dict(seen, Location=origin + where, **{"X-Length": str(len(data))}))
    if url.path.endswith("/moved"):
        return handler.reply(301, b"", dict(seen, Location=url.path.replace("/moved", "/library/moved")))
    if url.path.endswith("/tags/list"):
        return handler.reply(200, b'{"tags":["a"]}', dict(seen, Link='<%s?last=a&n=1>; rel="next"' % url.path))
    if url.path.endswith("/broken"):
        # A source that broke off: no last chunk, and the connection ends.
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        handler.close_connection = True
        return None
    return handler.reply(200, b"bytes of a blob", seen)


def start(listen, cert=None, key=None):
    """A server that runs until it is shut down."""
    host, _, port = listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    server.harbor, server.registry = Harbor(), registry
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", default="127.0.0.1:8443")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    given = parser.parse_args()
    start(given.listen, given.cert, given.key).serve_forever()


if __name__ == "__main__":
    main()
