"""The formats of Callwarden, shared by edge and central. PURE: no clock, socket, file, thread or randomness.

Randomness and time are arguments. One exception is inherited: HPKE (`formats.age.hybrid`, `formats.aesgcm.header`) draws
from OpenSSL, because the library offers no derandomised form.
"""
