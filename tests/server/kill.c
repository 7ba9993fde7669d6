/* Stops a process at its n-th write, flush or change of a name below a folder; for tests only.
   KILL_ROOT: the folder; without it nothing is counted. KILL_AFTER: n; 0 for never.
   KILL_ERRNO: instead of being ended with SIGKILL, the call fails with this error, and so does every later one.
   A write that is the n-th is done by half before the end, as a torn one would be. kill_calls() says how many there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

long kill_calls(void) { return atomic_load(&calls); }

static int below(const char *path) {
    const char *root = getenv("KILL_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int ours(int fd) {
    char path[4096];
    return getenv("KILL_ROOT") && path_of(fd, path, sizeof path) && below(path);
}

static int below_at(int folder, const char *name) {
    char path[8192];
    if (!getenv("KILL_ROOT") || !name) return 0;
    if (name[0] == '/' || folder == AT_FDCWD) return below(name);
    if (!path_of(folder, path, 4096)) return 0;
    strncat(path, "/", 2);
    strncat(path, name, 4000);
    return below(path);
}

static int number(const char *name) {
    const char *value = getenv(name);
    return value ? atoi(value) : 0;
}

/* Counts the call; whether this is where it ends. */
static int is_last(void) {
    long limit = number("KILL_AFTER"), now = atomic_fetch_add(&calls, 1) + 1;
    return limit && (number("KILL_ERRNO") ? now >= limit : now == limit);
}

static int end(void) {
    if (number("KILL_ERRNO")) { errno = number("KILL_ERRNO"); return -1; }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int torn(void) { return !number("KILL_ERRNO"); }

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (ours(fd) && is_last()) { if (torn()) real(fd, data, size / 2); return end(); }
    return real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    if (ours(fd) && is_last()) { if (torn()) real(fd, data, size / 2, at); return end(); }
    return real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    if (ours(fd) && is_last()) { if (torn()) real(fd, data, size / 2, at); return end(); }
    return real(fd, data, size, at);
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) {
    REAL(sendfile);
    if (ours(out) && is_last()) { if (torn()) real(out, in, at, size < 100 ? size : 100); return end(); }
    return real(out, in, at, size);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    REAL(sendfile64);
    if (ours(out) && is_last()) { if (torn()) real(out, in, at, size < 100 ? size : 100); return end(); }
    return real(out, in, at, size);
}

#define STOP(condition) if ((condition) && is_last()) return end()

int fsync(int fd) { REAL(fsync); STOP(ours(fd)); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); STOP(ours(fd)); return real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); STOP(ours(fd)); return real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); STOP(ours(fd)); return real(fd, size); }
int fchmod(int fd, mode_t mode) { REAL(fchmod); STOP(ours(fd)); return real(fd, mode); }
int chmod(const char *path, mode_t mode) { REAL(chmod); STOP(below(path)); return real(path, mode); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); STOP(below(path)); return real(path, mode); }
int rmdir(const char *path) { REAL(rmdir); STOP(below(path)); return real(path); }
int unlink(const char *path) { REAL(unlink); STOP(below(path)); return real(path); }
int unlinkat(int at, const char *path, int flags) { REAL(unlinkat); STOP(below_at(at, path)); return real(at, path, flags); }
int rename(const char *a, const char *b) { REAL(rename); STOP(below(b)); return real(a, b); }
int link(const char *a, const char *b) { REAL(link); STOP(below(b)); return real(a, b); }
int linkat(int p, const char *a, int q, const char *b, int flags) {
    REAL(linkat);
    STOP(below_at(q, b));
    return real(p, a, q, b, flags);
}
