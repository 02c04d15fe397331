"""One process that measures: both versions in turns, or one version as it is told.

It reads a job (one line of JSON) and, if it holds only one version, commands. It answers with
events, one JSON object a line, on a separate pipe, because tests may print anything.
"""

from __future__ import annotations

import json
import os
import signal
import sys

from edgeproof.paired.job import Fault, Job
from edgeproof.paired.turns import alone, together
from edgeproof.paired.world import Misplaced


def main() -> None:
    """Do the job on standard input; the one argument is the descriptor for events."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent process decides what is kept
    with os.fdopen(int(sys.argv[1]), "w", encoding="utf-8") as events:
        commands = os.fdopen(os.dup(0), encoding="utf-8")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        asked = json.loads(commands.readline())
        job = Job(asked, events, commands)
        try:
            if len(asked["worlds"]) == 2:
                together(job)
            else:
                alone(job)
        except (Fault, Misplaced) as fault:
            job.worlds.switch(None)
            job.say("fault", reason=str(fault))
