"""Requests of data subjects (GDPR Art. 15 to 21) as cases: one clock, one order of steps, one record of who did what."""
