"""`python -m hasten.workers`: a worker; `hasten run --workers` starts them."""

import sys

from hasten.workers._worker import main

sys.exit(main())
