"""A real S3 server on loopback (moto's), and a line to it that can be cut or held up after so many bytes."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

BUCKET = "shared"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAOFTHETESTS", "AWS_SECRET_ACCESS_KEY": "the-secret-of-these-tests"}
SETTINGS = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


class S3:
    """The server: its port, and what an owner of the bucket can do."""

    def __init__(self, port: int) -> None:
        import boto3

        self.port = port
        names = {"aws_access_key_id": "owner-of-it", "aws_secret_access_key": "owner-of-it"}
        url = f"http://127.0.0.1:{port}"
        self.client: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1", **names)

    def names(self, prefix: str = "") -> dict[str, int]:
        """Name and bytes of every object."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", [])}

    def change(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=name, Body=data)

    def read(self, name: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read())

    def forbid(self, *actions: str) -> None:
        """Nobody may do ``actions`` in the bucket from now on; nothing is forbidden for none."""
        self.client.delete_bucket_policy(Bucket=BUCKET)
        if actions:
            place = [f"arn:aws:s3:::{BUCKET}/*", f"arn:aws:s3:::{BUCKET}"]
            rule = {"Effect": "Deny", "Principal": "*", "Action": list(actions), "Resource": place}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
            self.client.put_bucket_policy(Bucket=BUCKET, Policy=policy)


@contextmanager
def s3_server() -> Iterator[S3]:
    """The server with an empty bucket, until the block ends."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        found = S3(port)
        found.client.create_bucket(Bucket=BUCKET)
        yield found
    finally:
        server.stop()


class Line:
    """Forwards connections to ``port``.

    After ``limit`` bytes in the direction ``way`` ("up" to the server, "down" from it) it is ``cut``, and
    nobody can connect any more, or it is held up: it stays open and carries nothing; ``reached`` says so.
    """

    def __init__(self, port: int, way: str, limit: int, cut: bool) -> None:
        self._to, self._way, self._left, self._cut = port, way, limit, cut
        self.reached = threading.Event()
        self._lock, self._open = threading.Lock(), []  # type: ignore[var-annotated]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for way, source, target in (("up", near, far), ("down", far, near)):
                    threading.Thread(target=self._carry, args=(way, source, target), daemon=True).start()

    def _carry(self, way: str, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if way == self._way:
                    with self._lock:
                        data, over = data[: self._left], len(data) > self._left
                        self._left -= len(data)
                    if over:
                        self._end(target, data)
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _end(self, target: socket.socket, data: bytes) -> None:
        if data:
            target.sendall(data)
        self.reached.set()
        if self._cut:
            self.close()


@contextmanager
def line(server: S3, way: str, limit: int, cut: bool = True) -> Iterator[Line]:
    """A :class:`Line` to ``server`` until the block ends."""
    made = Line(server.port, way, limit, cut)
    try:
        yield made
    finally:
        made.close()
