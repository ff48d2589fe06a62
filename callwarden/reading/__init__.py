"""Reading stored recordings in the command's own process: an identity never enters the daemon.

`bundle` opens a recording and holds what the edge signed against what the journal says; `segments` gives verified
plaintext; `files` makes the one file that was asked for. Nothing is released before it is verified.
"""
