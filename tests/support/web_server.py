"""A local server of one file that can fail as servers and networks do."""

import hashlib
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """What the server serves and how it fails; tests change it while it runs."""

    def __init__(self, content=b""):
        self.content = content
        self.break_after = []  # by answer: bytes after which the connection ends; None: it does not end
        self.statuses = []  # by answer: the status of a failure; None: it succeeds
        self.ranges = True  # honours Range
        self.checks_if_range = True
        self.etag = True
        self.length = True  # says how long the body is
        self.shift = 0  # bytes by which it answers a Range wrongly
        self.requests = []  # headers, in order
        self.paths = []
        self.url = ""

    def tag(self):
        return f'"{hashlib.sha256(self.content).hexdigest()[:8]}"'


@contextmanager
def serving(content=b""):
    """A running `Site`."""
    site = Site(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.requests.append(dict(self.headers))
            site.paths.append(self.path)
            status = site.statuses.pop(0) if site.statuses else None
            if status is not None:
                self.send_error(status)
                return
            start, total = 0, len(site.content)
            asked = self.headers.get("Range")
            current = not site.checks_if_range or self.headers.get("If-Range") == site.tag()
            if asked and site.ranges and current:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                if start >= total:
                    self.send_error(416)
                    return
                start += site.shift
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            if site.length:
                self.send_header("Content-Length", str(total - start))
            if site.etag:
                self.send_header("ETag", site.tag())
            self.end_headers()
            limit = site.break_after.pop(0) if site.break_after else None
            self.wfile.write(site.content[start:][:limit])
            self.close_connection = True

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
