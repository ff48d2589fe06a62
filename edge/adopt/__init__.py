"""STAGE: files that others recorded. Finds them beneath one folder, reads them in a sandboxed child, hands their sound on to
be sealed, and removes them once that is durable."""
