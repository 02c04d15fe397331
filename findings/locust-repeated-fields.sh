#!/usr/bin/env bash
# locust 2.47.0 (with geventhttpclient 2.6.1, requests 2.34.2): a header field on two lines is one
# string for HttpUser and a list for FastHttpUser.
#
# Expected: the same value from both, as FastHttpUser is documented to be a faster stand-in with a
#   very similar interface. RFC 9110 (5.3) lets a server send a list-valued field as several lines
#   and makes them equal to one line joined by commas; Cache-Status (RFC 9211) and Server-Timing
#   come like this, a line from each cache or stage.
# Happens: headers.get("Cache-Status") is "L2; fwd=uri-miss, L1; hit" for HttpUser and
#   ["L2; fwd=uri-miss", "L1; hit"] for FastHttpUser, while a field of one line is a string for
#   both. `"hit" in value` looks for a substring of the one and for a member of the other.
# Hurts: load testers who count hits from headers and change the user class for speed: the hit
#   ratio falls to 0 without an error as soon as a second cache adds its line.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages locust==2.47.0 geventhttpclient==2.6.1 requests==2.34.2

cat >"$work/two_lines.py" <<'PY'
from http.server import BaseHTTPRequestHandler, HTTPServer


class TwoLines(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Cache-Status", "L2; fwd=uri-miss")
        if self.path == "/two":
            self.send_header("Cache-Status", "L1; hit")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


server = HTTPServer(("127.0.0.1", 0), TwoLines)
print(server.server_port, flush=True)
server.serve_forever()
PY
cat >"$work/locustfile.py" <<'PY'
from locust import FastHttpUser, HttpUser, constant, task


def show(user, path):
    value = user.client.get(path).headers.get("Cache-Status")
    print(f"RESULT {type(value).__name__}, hit counted: {'hit' in value}", flush=True)


class Plain(HttpUser):
    wait_time = constant(1)

    @task
    def visit(self):
        show(self, "/one")
        show(self, "/two")
        self.environment.runner.quit()


class Fast(FastHttpUser):
    wait_time = constant(1)

    @task
    def visit(self):
        show(self, "/one")
        show(self, "/two")
        self.environment.runner.quit()
PY
serve "$work/two_lines.py"
for user in Plain Fast; do
    locust -f "$work/locustfile.py" --headless --users 1 --run-time 20s \
        --host "http://127.0.0.1:$port" "$user" >"$work/log" 2>&1 || true
    grep -o 'RESULT .*' "$work/log" | cut -c 8- >"$work/$user"
done
expect "HttpUser, two lines" "str, hit counted: True" "str, hit counted: True" \
    "$(sed -n 2p "$work/Plain")"
expect "FastHttpUser, one line" "str, hit counted: False" "str, hit counted: False" \
    "$(sed -n 1p "$work/Fast")"
expect "FastHttpUser, two lines" "str, hit counted: True" "list, hit counted: False" \
    "$(sed -n 2p "$work/Fast")"
