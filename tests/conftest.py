"""For every test, before numpy is loaded anywhere.

OpenBLAS ends its worker threads when the process forks (as the rig does to start programs under ids of their own). A
product that another thread computes at that moment would wait for them for ever, so it gets no workers at all.

Hypothesis has no deadline and no limit for how long its examples take to be made: a busy machine is no fault of the program.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["OPENBLAS_NUM_THREADS"] = "1"

settings.register_profile("callwarden", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("callwarden")
