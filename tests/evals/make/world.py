"""The systems that the provoked tasks meet: a real PostgreSQL, and small servers that misbehave on purpose.

Everything listens on loopback on a free port. `World.env` is what Airflow is started with; `World.public` maps each
local address to the name it has in the published logs.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from canned_aws import AWS_ANSWERS

HTTP_HOSTS = {
    "crm": "api.crm-vendor.example",
    "fx": "rates.fxfeed.example",
    "ads": "reporting.adnet.example",
    "erp": "erp-gw.acme.example",
    "slow": "geo.slowmaps.example",
}

SCHEMA = """
create role etl login password 'etl-pw'; create role bi_reader login password 'bi-pw';
create role loader login password 'ld-pw' connection limit 2;
create database dwh owner etl;
"""

TABLES = """
create schema staging authorization etl; create schema mart authorization etl; create schema finance;
set role etl;
create table staging.orders(order_id bigint primary key, customer_id int not null, amount numeric(8,2),
  currency char(3) check (currency = upper(currency)), ordered_at timestamp);
insert into staging.orders select n, n % 97, n, 'EUR', timestamp '2026-11-20' + n * interval '1 minute'
  from generate_series(1, 2000) n;
create table mart.stock(sku int primary key, qty int); insert into mart.stock values (1, 5), (2, 9), (3, 0);
create table mart.daily_revenue(day date primary key, revenue numeric);
create table mart.customers(id int primary key, email text unique, country text not null);
insert into mart.customers values (1, 'a@example.com', 'DE');
create table staging.clicks(id int, payload text); insert into staging.clicks values (7, '12,5'), (8, 'n/a');
reset role;
create table finance.salaries(employee int, salary numeric); revoke all on finance.salaries from public;
grant usage on schema finance to etl;
"""


class Vendor(BaseHTTPRequestHandler):
    """One handler for all HTTP vendors: the path says how it fails."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """Answer as the path wants."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        answers = {
            "/v2/contacts": (401, {"error": "invalid_token", "error_description": "The access token expired"}),
            "/v2/deals": (403, {"error": "insufficient_scope", "message": "Token lacks scope crm.objects.deals.read"}),
            "/v2/export": (429, {"message": "Rate limit exceeded: 100 requests per 60 seconds", "retry_after": 41}),
            "/v1/latest": (500, {"error": "internal server error", "incident": "INC-48213"}),
            "/v1/history": (502, "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"),
            "/reports/2026-11-21/campaigns.csv": (404, {"error": "report for 2026-11-21 is not available yet"}),
            "/oauth/token": (400, {"error": "invalid_grant", "error_description": "refresh token revoked"}),
            "/maintenance": (200, "<html><title>We'll be back soon: scheduled maintenance</title></html>"),
            "/v3/orders": (400, {"errors": [{"field": "amount", "detail": "must be greater than 0", "row": 17}]}),
            "/v1/geocode": (503, {"message": "Service Unavailable: all upstreams are down"}),
            "/v1/empty": (200, {"status": "ok", "rows": []}),
        }
        path = self.path.partition("?")[0]
        if path == "/hang":
            time.sleep(12)
        if path == "/reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            for part in (self.rfile, self.wfile, self.connection):
                part.close()
            return
        if path == "/cut":
            self.send_response(200)
            self.send_header("content-length", "1048576")
            self.end_headers()
            self.wfile.write(b"x" * 5000)
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, body = answers.get(path, (404, {"error": "no such route"}))
        self.answer(status, body if isinstance(body, str) else json.dumps(body), json_body=not isinstance(body, str))

    do_POST = do_GET

    def answer(self, status: int, body: str, json_body: bool = True) -> None:
        """Send a whole answer."""
        data = body.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json" if json_body else "text/html")
        self.send_header("content-length", str(len(data)))
        if status == 429:
            self.send_header("retry-after", "41")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class Aws(Vendor):
    """AWS services with canned answers: the first entry whose operation and text fit the request."""

    def do_GET(self) -> None:
        """Find the answer in the table."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode("utf-8", "replace")
        target = self.headers.get("x-amz-target", "").rpartition(".")[2]
        for operation, text, status, answer in AWS_ANSWERS:
            seen = f"{target} {self.command} {self.path} {body}"
            if operation in seen and text in seen:
                return self.aws_answer(status, answer)
        return self.aws_answer(200, {})

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def aws_answer(self, status: int, answer: object) -> None:
        """JSON, or XML when it is a text; a ``__headers`` entry becomes headers."""
        headers = dict(answer.get("__headers", {})) if isinstance(answer, dict) else {}
        if isinstance(answer, dict) and "__payload" in answer:
            text = json.dumps(answer["__payload"])
        elif isinstance(answer, dict):
            text = json.dumps({name: value for name, value in answer.items() if name != "__headers"})
        else:
            text = str(answer)
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-amz-json-1.1" if isinstance(answer, dict) else "text/xml")
        if isinstance(answer, dict) and "__type" in answer:
            self.send_header("x-amzn-errortype", answer["__type"])
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def serve(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> int:
    """Start a server thread; its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def tls(directory: Path, name: str, first_day: int, last_day: int) -> ssl.SSLContext:
    """A TLS context with a fresh self-signed certificate, valid from and to so many days from now."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(first_day)).not_valid_after(now + timedelta(last_day))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    cert = directory / f"{name}.pem"
    clear = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear)
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, directory / f"{name}.key")
    return context


@contextmanager
def postgres(directory: Path, binaries: Path, port: int) -> Iterator[None]:
    """A real PostgreSQL on loopback, owned by nobody; gone with its directory afterwards."""
    data = directory / "pg"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(parents=True)
    shutil.chown(data, "nobody")
    user = {"user": "nobody", "cwd": str(data)}
    password = directory / "pg-password"
    password.write_text("pg-pw\n")
    run = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}"]
    subprocess.run(run, check=True, capture_output=True, **user)
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    options += ["-c", "max_connections=40", "-c", "deadlock_timeout=300ms", "-c", "fsync=off"]
    process = subprocess.Popen(
        [str(binaries / "postgres"), "-D", str(data), *options], stderr=subprocess.DEVNULL, **user
    )
    try:
        env = {**os.environ, "PGPASSWORD": "pg-pw", "PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres"}
        psql = str(binaries / "psql")
        for _ in range(100):
            if not subprocess.run([psql, "-c", "select 1"], env=env, capture_output=True).returncode:
                break
            time.sleep(0.1)
        for name in ("airflow2", "airflow3"):
            subprocess.run([psql, "-c", f"create database {name}"], env=env, check=True, capture_output=True)
        subprocess.run(
            [psql, "-q", "-v", "ON_ERROR_STOP=1", "-c", "select 1"], env=env, check=True, capture_output=True
        )
        for statement in SCHEMA.strip().split(";")[:-1]:
            subprocess.run([psql, "-qc", statement], env=env, check=True, capture_output=True)
        subprocess.run([psql, "-q", "-v", "ON_ERROR_STOP=1", "-d", "dwh"], input=TABLES.encode(), env=env, check=True)
        yield
    finally:
        process.send_signal(3)  # SIGQUIT: at once
        process.wait(20)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start_servers(directory: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Start the misbehaving servers: (environment for Airflow, local address -> published address)."""
    env, public = {}, {}
    for name, host in HTTP_HOSTS.items():
        port = serve(Vendor)
        env[f"{name.upper()}_API"] = f"http://127.0.0.1:{port}"
        public[str(port)] = f"{host}:443"
    port = serve(Aws)
    env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{port}"
    public[str(port)] = "eu-west-1.amazonaws.com:443"
    for name, days in (("SELFSIGNED", (-1, 30)), ("EXPIRED", (-366, -1))):
        port = serve(Vendor, tls(directory, name.lower(), *days))
        env[f"{name}_API"], env[f"{name}_CERT"] = f"https://127.0.0.1:{port}", str(directory / f"{name.lower()}.pem")
        public[str(port)] = (
            f"{name.lower().replace('selfsigned', 'mdm.internal').replace('expired', 'sftp-gw.partner')}.example:443"
        )
    deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(deaf.getsockname())
    globals()["_keep"] = (deaf, fillers)
    env["DEAF_API"] = f"http://127.0.0.1:{deaf.getsockname()[1]}"
    public[str(deaf.getsockname()[1])] = "10.42.7.19:8443"
    closed = free_port()
    env["CLOSED_PORT"] = str(closed)
    public[str(closed)] = "10.42.7.23:9200"
    return env, public
