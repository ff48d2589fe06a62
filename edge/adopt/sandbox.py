"""A cage for the process that looks into foreign files: no new file, no network, no other process, no way back.

seccomp-bpf (linux/seccomp.h, linux/filter.h, linux/audit.h) allows what an interpreter needs to think, to read from
descriptors it was given and to answer; every other system call fails with EPERM. Limits and dropped ids hold also where
the kernel has no seccomp.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from typing import Final

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_SECCOMP_MODE_FILTER: Final = 2
_RET_KILL: Final = 0x80000000
_RET_ERRNO: Final = 0x00050000
_RET_ALLOW: Final = 0x7FFF0000
_LD_ABS, _JEQ, _RET = 0x20, 0x15, 0x06
_SIGKILL: Final = 9
#: nobody on every Linux.
_NOBODY: Final = 65534
#: Address space and number of descriptors of the child; its whole life's processor time, seconds.
MEMORY: Final = 512 << 20
DESCRIPTORS: Final = 32
PROCESSOR_S: Final = 24 * 3600

#: By machine: AUDIT_ARCH and the numbers of: read write close fstat lseek mmap mprotect munmap brk rt_sigaction
#: rt_sigprocmask rt_sigreturn pread64 mremap madvise getpid sendto recvfrom sendmsg recvmsg exit fcntl futex gettid
#: sigaltstack clock_gettime clock_nanosleep exit_group getrandom restart_syscall sched_yield poll/ppoll.
_TABLE: Final = {
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 5, 8, 9, 10, 11, 12, 13, 14, 15, 17, 25, 28, 39, 44, 45, 46, 47, 60, 72, 202, 186, 131, 228, 230, 231,
         318, 219, 24, 7, 271),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 80, 62, 222, 226, 215, 214, 134, 135, 139, 67, 216, 233, 172, 206, 207, 211, 212, 93, 25, 98, 178,
         132, 113, 115, 94, 278, 128, 124, 73),
    ),
}  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def lock_down() -> str:
    """Never to be undone; returns `seccomp`, or `limits` where the kernel or machine has no filter of ours.

    Raises OSError when not even the limits hold.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        _prctl(_PR_SET_PDEATHSIG, _SIGKILL)  # a change of ids clears it
    for what, limit in (
        (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, PROCESSOR_S), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, DESCRIPTORS), (resource.RLIMIT_NPROC, 0), (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(what, (limit, limit))
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    entry = _TABLE.get(platform.machine())
    if entry is None:
        return "limits"
    raw = _filter(*entry)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    program = _Program(len(raw) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0):
        return "limits"
    return "seccomp"


def _filter(arch: int, allowed: tuple[int, ...]) -> bytes:
    """Offsets of struct seccomp_data: nr 0, arch 4."""
    lines = [(_LD_ABS, 0, 0, 4), (_JEQ, 1, 0, arch), (_RET, 0, 0, _RET_KILL), (_LD_ABS, 0, 0, 0)]
    for number in allowed:
        lines += [(_JEQ, 0, 1, number), (_RET, 0, 0, _RET_ALLOW)]
    lines.append((_RET, 0, 0, _RET_ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
