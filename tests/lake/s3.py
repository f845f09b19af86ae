"""An object store that speaks as much of S3 as deltalake needs: one bucket, in memory, on 127.0.0.1."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree
from xml.sax.saxutils import escape


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.lock = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that hung up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: otherwise each answer waits for a delayed acknowledgement
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the test's output clean."""

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).lstrip("/").partition("/")[2]

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", headers.get("length", str(len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_GET(self) -> None:
        if "list-type" in self.query:
            self.list_objects()
            return
        data = self.server.objects.get(self.key)
        if data is None:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        headers = {"ETag": _etag(data), "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        span = self.headers.get("Range")
        if span is None or self.command == "HEAD":
            self.answer(200, data, **headers)
            return
        first, _, last = span.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(data) - int(last), 0)
        stop = min(int(last) + 1, len(data)) if first and last else len(data)
        self.answer(206, data[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(data)}", **headers)

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self) -> None:
        data = self.body()
        with self.server.lock:
            if "uploadId" in self.query:
                self.server.uploads[self.query["uploadId"]][int(self.query["partNumber"])] = data
            elif self.headers.get("If-None-Match") == "*" and self.key in self.server.objects:
                self.answer(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                return
            else:
                self.server.objects[self.key] = data
        self.answer(200, ETag=_etag(data))

    def do_POST(self) -> None:
        data = self.body()
        with self.server.lock:
            if "uploads" in self.query:
                upload = str(len(self.server.uploads))
                self.server.uploads[upload] = {}
                body = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            elif "delete" in self.query:
                keys = [key.text or "" for key in ElementTree.fromstring(data).iter() if key.tag.endswith("Key")]
                for key in keys:
                    self.server.objects.pop(key, None)
                body = f"<DeleteResult>{''.join(f'<Deleted><Key>{escape(key)}</Key></Deleted>' for key in keys)}</DeleteResult>"
            else:
                parts = self.server.uploads.pop(self.query["uploadId"])
                whole = self.server.objects[self.key] = b"".join(parts[number] for number in sorted(parts))
                body = f"<CompleteMultipartUploadResult><ETag>{escape(_etag(whole))}</ETag></CompleteMultipartUploadResult>"
        self.answer(200, body.encode())

    def do_DELETE(self) -> None:
        with self.server.lock:
            self.server.objects.pop(self.key, None)
        self.answer(204)

    def list_objects(self) -> None:
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter")
        after = self.query.get("start-after", "")
        contents, folders = [], set()
        with self.server.lock:
            objects = sorted(self.server.objects.items())
        for key, data in objects:
            if not key.startswith(prefix) or key <= after:
                continue
            folder, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if found:
                folders.add(f"{prefix}{folder}{delimiter}")
                continue
            contents.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><ETag>{escape(_etag(data))}</ETag>"
                "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in sorted(folders))
        self.answer(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(contents)}{common}</ListBucketResult>".encode())


def _etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


def _serve(port: Connection) -> None:
    server = _Server()
    port.send(server.server_port)
    server.serve_forever()


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A bucket that is being served."""

    address: str

    @property
    def options(self) -> dict[str, str]:
        """deltalake's storage options for it."""
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "someone",
            "AWS_SECRET_ACCESS_KEY": "hush-hush",
            "AWS_REGION": "eu-central-1",
            "AWS_CONDITIONAL_PUT": "etag",
        }

    def list_keys(self) -> list[str]:
        """The keys of all objects."""
        listed = ElementTree.fromstring(self._call("?list-type=2"))
        return [key.text or "" for key in listed.iter("Key")]

    def read(self, key: str) -> bytes:
        """The content of an object."""
        return self._call(key)

    def delete(self, key: str) -> None:
        """Take an object away."""
        self._call(key, method="DELETE")

    def write(self, key: str, content: bytes) -> None:
        """Put an object in the place of another."""
        self._call(key, method="PUT", content=content)

    def _call(self, key: str, *, method: str = "GET", content: bytes | None = None) -> bytes:
        with urlopen(Request(f"{self.address}/bucket/{key}", data=content, method=method)) as answer:
            answered: bytes = answer.read()
            return answered


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Serve a bucket from a process of its own: some calls of deltalake keep the interpreter's lock while they wait."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_serve, args=(there,), daemon=True)
    process.start()
    try:
        assert here.poll(30)
        yield ObjectStore(f"http://127.0.0.1:{here.recv()}")
    finally:
        process.kill()
        process.join()
        process.close()
        here.close()
        there.close()
