/* Makes the Nth write, sync, rename, unlink, fallocate, truncate or create below one folder fail. Preloaded by
 * tests/crash/test_faults.py, armed from inside by fault_arm(folder, n, errno); n = 0 counts only. Counting says which
 * call it was, so that a test can name it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char root[PATH_MAX];
static size_t root_length;
static long nth, seen;
static int code;
static char failed[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void fault_arm(const char *folder, long n, int error) {
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    nth = n;
    seen = 0;
    code = error;
    failed[0] = 0;
}
long fault_seen(void) { return seen; }
const char *fault_failed(void) { return failed; }

static int below(const char *path) { return root_length && strncmp(path, root, root_length) == 0; }

static int fd_below(int fd) {
    char link[64], path[PATH_MAX];
    if (!root_length) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return below(path);
}

static int at_below(int dir, const char *path) { return path[0] == '/' || dir == AT_FDCWD ? below(path) : fd_below(dir); }

/* Whether this call, below the folder, is the one that fails. */
static int hit(const char *what) {
    int now;
    pthread_mutex_lock(&lock);
    now = ++seen == nth;
    if (now) snprintf(failed, sizeof failed, "%s", what);
    pthread_mutex_unlock(&lock);
    if (now) errno = code;
    return now;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t n) { REAL(write); return fd_below(fd) && hit("write") ? -1 : real(fd, data, n); }
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { REAL(pwrite); return fd_below(fd) && hit("pwrite") ? -1 : real(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { REAL(pwrite64); return fd_below(fd) && hit("pwrite") ? -1 : real(fd, data, n, at); }
int fsync(int fd) { REAL(fsync); return fd_below(fd) && hit("fsync") ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fd_below(fd) && hit("fdatasync") ? -1 : real(fd); }
int ftruncate(int fd, off_t n) { REAL(ftruncate); return fd_below(fd) && hit("ftruncate") ? -1 : real(fd, n); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64); return fd_below(fd) && hit("ftruncate") ? -1 : real(fd, n); }
int rename(const char *a, const char *b) { REAL(rename); return below(b) && hit("rename") ? -1 : real(a, b); }
int unlink(const char *a) { REAL(unlink); return below(a) && hit("unlink") ? -1 : real(a); }
int unlinkat(int dir, const char *a, int flags) { REAL(unlinkat); return at_below(dir, a) && hit("unlinkat") ? -1 : real(dir, a, flags); }
int fallocate(int fd, int mode, off_t at, off_t n) { REAL(fallocate); return fd_below(fd) && hit("fallocate") ? -1 : real(fd, mode, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { REAL(fallocate64); return fd_below(fd) && hit("fallocate") ? -1 : real(fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { REAL(posix_fallocate); return fd_below(fd) && hit("posix_fallocate") ? code : real(fd, at, n); }
int posix_fallocate64(int fd, off64_t at, off64_t n) { REAL(posix_fallocate64); return fd_below(fd) && hit("posix_fallocate") ? code : real(fd, at, n); }

#define MODE(flags, from) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, from); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { REAL(open); MODE(flags, flags); return below(path) && hit("open") ? -1 : real(path, flags, mode); }
int open64(const char *path, int flags, ...) { REAL(open64); MODE(flags, flags); return below(path) && hit("open") ? -1 : real(path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { REAL(openat); MODE(flags, flags); return at_below(dir, path) && hit("openat") ? -1 : real(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { REAL(openat64); MODE(flags, flags); return at_below(dir, path) && hit("openat") ? -1 : real(dir, path, flags, mode); }
