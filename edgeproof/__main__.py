"""`python -m edgeproof`."""

import sys

from edgeproof.main import main

sys.exit(main())
