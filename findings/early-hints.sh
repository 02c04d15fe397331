#!/usr/bin/env bash
# autocannon 9.0.0 and requests 2.34.2 (Locust's HttpUser): a 103 Early Hints is taken for the
# answer.
#
# Expected: RFC 9110 (15.2) lets any number of 1xx responses precede the final one and makes a
#   client able to parse them; RFC 8297 defines 103, which CDNs send from the edge before the
#   origin answers. One request, one result: the final status, its body, and the time until it.
# Happens: autocannon counts both responses. Ten requests (--amount 10) are over after five final
#   answers, each hint is one more result (non-2xx), and half of the latencies are those of hints.
#   requests (on CPython 3.11 to 3.13's http.client) returns status 103 with an empty body, which
#   is `ok`, and Locust's HttpUser records it as a success. geventhttpclient, FastHttpUser's
#   client, gives the 200.
# Hurts: load testers of a site behind a CDN: once Early Hints is turned on there, p50 falls to the
#   edge's own time, throughput doubles, and checks of the body see an empty one.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages requests==2.34.2 geventhttpclient==2.6.1
node_packages autocannon@9.0.0

cat >"$work/hints.py" <<'PY'
import contextlib
import socketserver

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Hints(socketserver.StreamRequestHandler):
    def handle(self):
        with contextlib.suppress(ConnectionError):
            while self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                self.wfile.write(HINT + ANSWER)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Hints)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
serve "$work/hints.py"
url="http://127.0.0.1:$port"

cat >"$work/load.cjs" <<'JS'
const autocannon = require('autocannon')
autocannon({ url: process.argv[2], connections: 1, amount: 10 }).then((result) => {
  console.log(`2xx ${result['2xx']}, 1xx ${result['1xx']}, latencies ${result.latency.totalCount}`)
})
JS
expect "autocannon, amount 10" "2xx 10, 1xx 0, latencies 10" "2xx 5, 1xx 5, latencies 10" \
    "$(cd "$work" && node load.cjs "$url/")"

cat >"$work/clients.py" <<'PY'
import sys

import requests
from geventhttpclient import HTTPClient
from geventhttpclient.url import URL

url = sys.argv[1]
answer = requests.get(url)
print(f"status {answer.status_code}, ok {answer.ok}, body {answer.text!r}")
answer = HTTPClient.from_url(URL(url)).get("/")
print(f"status {answer.status_code}, body {answer.read().decode()!r}")
PY
python "$work/clients.py" "$url/" >"$work/out"
expect "requests" "status 200, ok True, body 'hello'" "status 103, ok True, body ''" \
    "$(sed -n 1p "$work/out")"
expect "geventhttpclient" "status 200, body 'hello'" "status 200, body 'hello'" \
    "$(sed -n 2p "$work/out")"
