"""`python -m tests.edgeproof.quick SECONDS ...`: edgeproof with a calibration of SECONDS."""

from __future__ import annotations

import sys

import scenarios.calibrate
from edgeproof.main import main

if __name__ == "__main__":
    scenarios.calibrate.DURATION = float(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
