"""`python -m isadmin` is `isadmin`."""

import sys

from isadmin.cli import main

sys.exit(main())
