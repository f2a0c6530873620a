"""`python -m samovar`: the same as `samovar`."""

import sys

from .cli import main

sys.exit(main())
