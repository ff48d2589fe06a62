"""What this edge calls itself in evidence and manifests."""

from typing import Final

SOFTWARE: Final = "callwarden/0.1.0"
