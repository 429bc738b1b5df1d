"""A stand-in for the Hugging Face Hub: what is committed to dataset repositories can be listed and downloaded again."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class Hub:
    """Its repositories; tests read them, and let it refuse."""

    def __init__(self):
        self.files = {}  # of each repository, by path
        self.private = set()
        self.commits = []
        self.refuse = 0  # status of every answer to what would change something
        self.url = ""


@contextmanager
def hub_serving():
    """A running `Hub`."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = urlsplit(self.path).path
            if hub.refuse:
                self.answer({"error": "refused"}, hub.refuse)
            elif path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
                hub.files.setdefault(name, {})
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.add(name)
                self.answer({"url": f"{hub.url}/datasets/{name}"})
            elif match := re.fullmatch(r"/api/datasets/(.+)/preupload/main", path):
                files = [file["path"] for file in json.loads(body)["files"]]
                modes = [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in files]
                self.answer({"files": modes})
            elif match := re.fullmatch(r"/api/datasets/(.+)/commit/main", path):
                lines = [json.loads(line) for line in body.splitlines()]
                hub.commits.append([line["value"]["path"] for line in lines if line["key"] == "file"])
                for line in lines:
                    if line["key"] == "file":
                        content = base64.b64decode(line["value"]["content"])
                        hub.files[match[1]][line["value"]["path"]] = content
                commit = f"{hub.url}/datasets/{match[1]}/commit/{'0' * 40}"
                self.answer({"success": True, "commitOid": "0" * 40, "commitUrl": commit})
            else:
                self.answer({"error": path}, 404)

        def do_GET(self):
            url = urlsplit(self.path)
            if url.path == "/api/whoami-v2":
                self.answer({"name": "me", "type": "user"})
            elif url.path == "/api/datasets":
                asked = parse_qs(url.query)
                names = [name for name in hub.files if name.split("/")[0] == asked["author"][0]]
                self.answer([{"id": name, "_id": name, "private": False, "tags": [], "downloads": 0} for name in names])
            elif (match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", url.path)) is not None:
                content = hub.files.get(match[1], {}).get(unquote(match[2]))
                if content is None:
                    code = "EntryNotFound" if match[1] in hub.files else "RepoNotFound"
                    self.answer({"error": code}, 404, {"X-Error-Code": code})
                else:
                    self.answer(
                        content, 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": "0" * 40}
                    )
            elif (match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(/revision/.+|/tree/.+)?", url.path)) is not None:
                files = hub.files.get(match[1], {})
                if (match[2] or "").startswith("/tree"):
                    kind = {"type": "file", "oid": "0" * 40}
                    self.answer([{"path": path, "size": len(content), **kind} for path, content in files.items()])
                else:
                    known = [{"rfilename": path} for path in files]
                    self.answer(
                        {
                            "id": match[1],
                            "_id": match[1],
                            "sha": "0" * 40,
                            "siblings": known,
                            "private": False,
                            "tags": [],
                        }
                    )
            else:
                self.answer({"error": url.path}, 404)

        do_HEAD = do_GET

        def answer(self, content, status=200, headers=()):
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
