"""The Locust entry point: `locust -f scenarios/locustfile.py --scenario FILE --host URL`.

`edgeproof load` starts it with --plan-folder (or EDGEPROOF_PLAN) instead, reads a line of JSON a
second from its stdout, and the result from the folder.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Run from a checkout that is not installed, Locust knows only this file's folder. Not at 0: Locust
# takes away what stands there when it has loaded this file.
if (_ROOT := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(1, _ROOT)

from locust import events
from locust.argument_parser import LocustArgumentParser

from scenarios.hosts import MAX_DURATION, MAX_RATE
from scenarios.session import PLAN_VARIABLE, Session
from scenarios.visitor import Visitor


class PlannedVisitor(Visitor):
    """A connection that sends the planned requests."""


def _options(parser: LocustArgumentParser) -> None:
    parser.add_argument("--scenario", env_var="EDGEPROOF_SCENARIO", help="scenario file (TOML)")
    parser.add_argument("--rate", default=None,
                       help="arrival rate in requests/s, or a multiple such as 2x")  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE",
                       help="set a field of the scenario (repeatable)")  # fmt: skip
    parser.add_argument("--i-am-allowed-to-load", action="append", default=[], metavar="HOST",
                       include_in_web_ui=False,
                       help="host besides this machine that may be loaded")  # fmt: skip
    parser.add_argument("--max-rate", type=float, default=MAX_RATE, include_in_web_ui=False,
                       help="refuse more requests/s than this")  # fmt: skip
    parser.add_argument("--max-duration", type=float, default=MAX_DURATION, include_in_web_ui=False,
                       help="refuse to load for more seconds than this")  # fmt: skip
    parser.add_argument("--connections", type=int, default=None, include_in_web_ui=False,
                       help="hold at most N connections; rate x timeout by default")  # fmt: skip
    parser.add_argument("--result-folder", default=None, include_in_web_ui=False,
                       help="write rows.npz, polls.json and audit.json here")  # fmt: skip
    parser.add_argument("--plan-folder", env_var=PLAN_VARIABLE, default=None,
                       include_in_web_ui=False, help="replay the plan in this folder")  # fmt: skip
    parser.add_argument("--run-id", default=None, include_in_web_ui=False,
                       help="prefix of event ids; a new one by default")  # fmt: skip


_hooks: Any = events  # Locust gives them no types
_hooks.init_command_line_parser.add_listener(_options)
Session.listen(events, PlannedVisitor)
