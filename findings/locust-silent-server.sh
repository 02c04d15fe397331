#!/usr/bin/env bash
# locust 2.47.0: a load test of a server that never answers ends with no failure and exit code 0.
#
# Expected: not success. The documentation promises exit code 1 for a run with failed samples, for
#   use in CI, and five users waited in vain for the whole run.
# Happens: a request is recorded when it ends. At the end of the run the users are stopped
#   (--stop-timeout is 0), and what they were waiting for leaves no trace: no request, no failure,
#   percentiles of nothing, exit code 0. HttpUser waits for ever, FastHttpUser for 60 s; with a
#   timeout shorter than the run, set on each request, the failures are there.
# Hurts: load testers and CI. A service that hangs from the start passes; one that hangs halfway is
#   judged by the requests before. A gate must also demand a minimum number of requests.
set -eu
. "$(dirname "$0")/lib.sh"
python_packages locust==2.47.0

# It accepts connections and reads nothing.
cat >"$work/silent.py" <<'PY'
import socket

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connections = []
while True:
    connections.append(listener.accept())
PY
cat >"$work/locustfile.py" <<'PY'
import os

from locust import FastHttpUser, HttpUser, task

LIMIT = {"timeout": float(os.environ["LIMIT"])} if "LIMIT" in os.environ else {}


class Plain(HttpUser):
    @task
    def visit(self):
        self.client.get("/", **LIMIT)


class Fast(FastHttpUser):
    @task
    def visit(self):
        self.client.get("/", **LIMIT)
PY
serve "$work/silent.py"

run() {
    code=0
    locust -f "$work/locustfile.py" --headless --users 5 --spawn-rate 5 --run-time 3s \
        --host "http://127.0.0.1:$port" --json "$1" >"$work/out" 2>"$work/log" || code=$?
    python -c '
import json, sys
rows = json.load(open(sys.argv[1]))
requests = sum(row["num_requests"] for row in rows)
failures = sum(row["num_failures"] for row in rows)
code = sys.argv[2]
print(f"requests {min(requests, 1)}, failures {min(failures, 1)}, exit code {code}")
' "$work/out" "$code"
}
for user in Plain Fast; do
    expect "$user: five users, none answered in 3 s (1: one or more)" \
        "failures 1, exit code 1" "requests 0, failures 0, exit code 0" "$(run $user)"
done
export LIMIT=0.5
expect "Plain with a timeout of 0.5 s on each request" \
    "requests 1, failures 1, exit code 1" "requests 1, failures 1, exit code 1" "$(run Plain)"
