"""The rig: a real Asterisk, its callers and agents, the whole stack, for make, tests and bench. Not in the wheel."""

import os

# Its worker threads do not outlive a fork, and who computes at that moment would wait for them for ever.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
