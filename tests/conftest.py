"""For every test, before numpy is loaded anywhere.

OpenBLAS ends its worker threads when the process forks (as the rig does to start programs under ids of their own). A
product that another thread computes at that moment would wait for them for ever, so it gets no workers at all.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"
