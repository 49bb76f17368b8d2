#!/usr/bin/env python3
"""An instance metadata service as EC2 has it (IMDSv2 alone), for one connection on stdin and stdout.

    imds.py FOLDER

FOLDER/meta-data/... and FOLDER/user-data are what it serves, below /latest/. Every request goes as a line into FOLDER/log:
method, path, status. Without a token, or with a wrong one, nothing is served: 401, as EC2 answers where version 1 is off.
"""

import hashlib
import http.server
import os
import sys

FOLDER = sys.argv[1]
TOKEN = hashlib.sha256(FOLDER.encode()).hexdigest()[:56] + "=="


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self):
        self.rfile = sys.stdin.buffer
        self.wfile = sys.stdout.buffer
        self.client_address = ("guest", 0)
        self.close_connection = True
        self.handle_one_request()

    def answer(self, status, body=b""):
        with open(os.path.join(FOLDER, "log"), "a") as log:
            log.write(f"{self.command} {self.path} {status}\n")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_PUT(self):
        ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if self.path != "/latest/api/token":
            self.answer(404)
        elif not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
            self.answer(400)
        else:
            self.answer(200, TOKEN.encode())

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self.answer(401)
            return
        path = os.path.normpath(self.path.removeprefix("/latest/"))
        try:
            with open(os.path.join(FOLDER, path), "rb") as file:
                self.answer(200, file.read())
        except (FileNotFoundError, IsADirectoryError):
            self.answer(404)

    def log_message(self, *_):
        pass


Handler()
