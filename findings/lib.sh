# shellcheck shell=bash
# Shared by the findings: pinned packages in a folder that goes away, and the comparison.

name=$(basename "$0" .sh)
work=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$work"' EXIT

not_run() {
    echo "$name: not run: $*" >&2
    exit 2
}

# python_packages NAME==VERSION...: a virtual environment of its own, first on PATH.
python_packages() {
    python3 -m venv "$work/venv" || not_run "python3 cannot make a virtual environment"
    "$work/venv/bin/python" -m pip install -qq --disable-pip-version-check "$@" ||
        not_run "pip cannot install $*"
    PATH=$work/venv/bin:$PATH
    echo "$name: $(python --version), $*"
}

# node_packages NAME@VERSION...: node_modules beside the scripts that are written to $work.
node_packages() {
    npm install --prefix "$work" --silent --no-audit --no-fund "$@" ||
        not_run "npm cannot install $*"
    echo "$name: Node.js $(node --version), $*"
}

# serve SCRIPT: run it, and put the first line that it prints, its port, into $port.
serve() {
    python "$1" >"$work/port" &
    server=$!
    for _ in $(seq 100); do
        port=$(head -n 1 "$work/port")
        [ -z "$port" ] || return 0
        sleep 0.1
    done
    not_run "the local server did not start"
}

# expect WHAT ANTICIPATED KNOWN SEEN: print the surprise; fail if it is KNOWN no longer.
expect() {
    printf '%s\n  expected: %s\n  seen:     %s\n' "$1" "$2" "$4"
    [ "$3" = "$4" ] && return
    echo "$name: the behaviour changed: $1: was $3, is $4" >&2
    exit 1
}
