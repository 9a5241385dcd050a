"""Harbor's REST API v2.0 over ansible's urls: JSON, pages, and errors in words that say what to do."""

import base64
import json
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode

from ansible.module_utils.urls import open_url

# Harbor serves no longer pages.
PAGE_SIZE = 100
# 10,000 objects.
PAGES = 100


class Failure(Exception):
    """Harbor did not do what it was asked, or was not reached. `status` is 0 in the second case."""

    def __init__(self, message, status=0):
        super().__init__(message)
        self.status = status


class Client:
    """One account at one Harbor. Keeps no cookies: with a session of its own each change would want a CSRF token."""

    def __init__(self, url, username, password, validate_certs=True, ca_path=None, timeout=30):
        self.url = url.rstrip("/")
        self.username = username
        self.options = {"validate_certs": validate_certs, "ca_path": ca_path, "timeout": timeout}
        word = base64.b64encode(("%s:%s" % (username, password)).encode("utf-8")).decode("ascii")
        self.authorization = "Basic " + word

    def as_account(self, username, password):
        """The same Harbor, asked by another account."""
        options = self.options
        return Client(self.url, username, password, options["validate_certs"], options["ca_path"], options["timeout"])

    def send(self, method, path, body=None, query=None):
        """The answer's JSON (None if it has no body), and its headers."""
        where = "%s %s" % (method, path)
        url = self.url + "/api/v2.0" + path + ("?" + urlencode(query) if query else "")
        headers = {"Authorization": self.authorization, "Accept": "application/json"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body)
        try:
            # Neither a proxy nor a redirect: the account's password goes to the Harbor that is named, and nowhere else.
            answer = open_url(
                url, data=data, headers=headers, method=method, follow_redirects="none", use_proxy=False, **self.options
            )
            text = answer.read().decode("utf-8", "replace")
        except HTTPError as error:
            raise Failure(self.explain(where, error), error.code)
        except (URLError, OSError, ValueError) as error:
            raise Failure("%s cannot be reached: %s" % (self.url, getattr(error, "reason", error)))
        except Exception as error:  # ansible's own: SSLValidationError, ConnectionError
            raise Failure("%s cannot be reached: %s" % (self.url, error))
        if not text.strip():
            return None, answer.headers
        try:
            return json.loads(text), answer.headers
        except ValueError:
            raise Failure("%s: the answer of %s is no JSON; is this the address of a Harbor?" % (where, self.url))

    def explain(self, where, error):
        """A refusal, in words."""
        try:
            text = error.read().decode("utf-8", "replace")
            said = "; ".join(one["message"] for one in json.loads(text)["errors"])
        except Exception:  # HTML of a proxy in front, or nothing at all
            said = ""
        said = ": " + said if said else ""
        if error.code == 401:
            return "%s: Harbor refuses the account %s (401)%s" % (where, self.username, said)
        if error.code == 403:
            return "%s: the account %s may not do this (403)%s; it needs the rights of a system administrator" % (
                where, self.username, said,
            )
        if error.code == 409:
            return "%s: somebody else has just made it (409)%s; run the play again" % (where, said)
        if 300 <= error.code < 400:
            return "%s: Harbor redirects to %s; write that address" % (where, error.headers.get("Location", "elsewhere"))
        if error.code == 404 and not said:
            return "%s: 404 without Harbor's error; is this the address of a Harbor?" % where
        if error.code >= 500 and where == "POST /projects":
            return "%s: Harbor failed (%d)%s; see that harbor-jobservice runs: without it no proxy-cache project is made whole" % (
                where, error.code, said,
            )
        return "%s: Harbor answered %d%s" % (where, error.code, said)

    def get(self, path, query=None):
        """One object."""
        return self.send("GET", path, query=query)[0]

    def every(self, path, query=None):
        """All objects of a list, over its pages. The number of all that Harbor tells decides, not the length of a page."""
        found = []
        for page in range(1, PAGES + 1):
            asked = dict(query or {}, page=page, page_size=PAGE_SIZE)
            entries, headers = self.send("GET", path, query=asked)
            if entries is None:
                entries = []
            if not isinstance(entries, list):
                raise Failure("GET %s: the answer of %s is no list; is this the address of a Harbor?" % (path, self.url))
            found += entries
            total = headers.get("X-Total-Count")
            if not entries or (len(found) >= int(total) if total else len(entries) < PAGE_SIZE):
                return found
        raise Failure("GET %s: more than %d entries" % (path, PAGES * PAGE_SIZE))

    def create(self, path, body):
        """The new object's number by its Location, and the answer's JSON."""
        said, headers = self.send("POST", path, body)
        return int((headers.get("Location") or "/0").rstrip("/").rsplit("/", 1)[-1]), said


def in_path(name):
    """A name as one part of a path."""
    return quote(name, safe="")


def repository_in_path(name):
    """A repository's name below its project: Harbor wants its slashes encoded twice."""
    return quote(quote(name, safe=""), safe="")
