#!/usr/bin/env bash
# autocannon 9.0.0 and requests 2.34.2 (Locust's HttpUser): a 103 Early Hints is taken for the answer.
#
# Expected: RFC 9110 (15.2) lets any number of 1xx responses precede the final one and makes a
#   client able to parse them; RFC 8297 defines 103, which CDNs send from the edge before the
#   origin answers. One request, one result: the final status, its body, and the time until it.
# Happens: autocannon counts both responses. Ten requested (--amount 10) are over after five were
#   sent, a 1xx counts as non-2xx, and half of the latencies are those of the hint.
#   requests (on CPython 3.11 to 3.13's http.client) returns status 103 with an empty body, which
#   is `ok`, and Locust's HttpUser records it as a success. geventhttpclient, FastHttpUser's
#   client, gives the 200.
# Hurts: load testers of a site behind a CDN: once Early Hints is turned on there, p50 falls to the
#   edge's own time, throughput doubles, and checks of the body meet nothing.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages requests==2.34.2 geventhttpclient==2.6.1
node_packages autocannon@9.0.0

cat >"$work/hints.py" <<'PY'
import socketserver

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
COUNT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
seen = 0


class Hints(socketserver.StreamRequestHandler):
    def handle(self):
        global seen
        while line := self.rfile.readline():
            while self.rfile.readline().strip():
                pass
            if b" /count " in line:
                body = b"%d" % seen
                self.wfile.write(COUNT % (len(body), body))
                return
            seen += 1
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
  console.log(`sent ${result['2xx'] + result.non2xx} results, non-2xx ${result.non2xx}`)
})
JS
results=$(cd "$work" && node load.cjs "$url/")
expect "autocannon, amount 10" "sent 10 results, non-2xx 0" "sent 10 results, non-2xx 5" "$results"
requests=$(python -c "import requests; print(requests.get('$url/count').text)")
expect "requests that the server saw" 10 5 "$requests"

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
