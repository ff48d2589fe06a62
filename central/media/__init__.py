"""Media at central: sealed payloads that edges upload by policy or by order, kept as ciphertext in a folder or a bucket.

Headers and keys are never here: those are the keeper's. Spec: docs/spec/media.md.
"""
