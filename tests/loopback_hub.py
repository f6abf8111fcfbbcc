"""A Hub on this machine's loopback interface: what huggingface_hub's client asks of one, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote


class Hub(ThreadingHTTPServer):
    """``commits``: of each repository the files of each commit, by the commit's hash, oldest first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.commits: dict[str, dict[str, dict[str, bytes]]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def commit(self, repo: str, revision: str) -> str | None:
        made = self.commits.get(repo)
        return None if made is None else revision if revision in made else [*made][-1] if revision == "main" else None


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(self.path)
        if path == "/api/repos/create":
            asked = json.loads(raw)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.commits.setdefault(name, {"0" * 40: {}})
            self._json({"url": f"{self.server.address}/{name}", "name": name})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(raw)["files"]]
            self._json({"files": [{**one, "shouldIgnore": False, "oid": None} for one in files]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            self._json(self._committed(found[1], raw))
        else:
            self._json({"error": path}, 404)

    def _committed(self, repo: str, raw: bytes) -> dict[str, Any]:
        made = self.server.commits[repo]
        files = dict([*made.values()][-1])
        for line in map(json.loads, raw.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        sha = hashlib.sha1(raw).hexdigest()
        made[sha] = files
        return {"commitUrl": f"{self.server.address}/{repo}/commit/{sha}", "commitOid": sha, "success": True}

    def do_HEAD(self) -> None:
        self.do_GET(body=False)

    def do_GET(self, body: bool = True) -> None:
        path = unquote(self.path).partition("?")[0]
        if found := re.fullmatch(r"/api/models/(.+?)(?:/(?:revision|tree)/([^/]+))?", path):
            sha = self.server.commit(found[1], found[2] or "main")
            if sha is None:
                return self._json({"error": "not found"}, 404, {"X-Error-Code": "RevisionNotFound"})
            files = self.server.commits[found[1]][sha]
            if "/tree/" in path:
                about = {"type": "file", "oid": "0"}
                return self._json([{**about, "path": name, "size": len(raw)} for name, raw in files.items()])
            siblings = [{"rfilename": name} for name in files]
            return self._json({"id": found[1], "modelId": found[1], "sha": sha, "siblings": siblings})
        found = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", path)
        sha = self.server.commit(found[1], found[2]) if found else None
        if not (found and sha and found[3] in self.server.commits[found[1]][sha]):
            return self._json({"error": "not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        raw = self.server.commits[found[1]][sha][found[3]]
        headers = {"ETag": f'"{hashlib.sha1(raw).hexdigest()}"', "X-Repo-Commit": sha}
        return self._send(raw if body else b"", 200, headers, len(raw))

    def _json(self, values: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        raw = json.dumps(values).encode()
        self._send(raw, status, {"Content-Type": "application/json", **(headers or {})}, len(raw))

    def _send(self, raw: bytes, status: int, headers: dict[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


@contextmanager
def hub() -> Iterator[Hub]:
    """One that answers for as long as it is needed."""
    server = Hub()
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
