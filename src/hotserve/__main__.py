"""`python -m hotserve` does what `hotserve` does."""

import sys

from hotserve.cli.main import main

sys.exit(main())
