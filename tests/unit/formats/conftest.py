"""No deadline for hypothesis: a busy machine is not a bug of the format."""

from hypothesis import settings

settings.register_profile("callwarden", deadline=None)
settings.load_profile("callwarden")
