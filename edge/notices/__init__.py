"""STAGE: text messages outside the call, sent through the operator's own gateway."""
