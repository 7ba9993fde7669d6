/* Ends the process with SIGKILL before its n-th write, flush or change of a name below a folder; for tests only.
   KILL_ROOT: the folder. KILL_AFTER: n; 0 for never. KILL_COUNT: a file that the number of such calls is written to.
   A write that is the n-th is done by half, as a torn one would be. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static atomic_long calls;

static int below(const char *path) {
    const char *root = getenv("KILL_ROOT");
    return root && path && strncmp(path, root, strlen(root)) == 0;
}

static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int is_last(void) {
    const char *after = getenv("KILL_AFTER");
    long limit = after ? atol(after) : 0;
    return atomic_fetch_add(&calls, 1) + 1 == limit;
}

static void end(void) { kill(getpid(), SIGKILL); for (;;) pause(); }

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    if (ours(fd) && is_last()) { real(fd, data, size / 2); end(); }
    return real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    REAL(pwrite);
    if (ours(fd) && is_last()) { real(fd, data, size / 2, at); end(); }
    return real(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    REAL(pwrite64);
    if (ours(fd) && is_last()) { real(fd, data, size / 2, at); end(); }
    return real(fd, data, size, at);
}
int fsync(int fd) { REAL(fsync); if (ours(fd) && is_last()) end(); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); if (ours(fd) && is_last()) end(); return real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); if (ours(fd) && is_last()) end(); return real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); if (ours(fd) && is_last()) end(); return real(fd, size); }
int unlink(const char *path) { REAL(unlink); if (below(path) && is_last()) end(); return real(path); }
int rename(const char *a, const char *b) { REAL(rename); if (below(b) && is_last()) end(); return real(a, b); }
int link(const char *a, const char *b) { REAL(link); if (below(b) && is_last()) end(); return real(a, b); }

__attribute__((destructor)) static void report(void) {
    const char *path = getenv("KILL_COUNT");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (out) { fprintf(out, "%ld\n", atomic_load(&calls)); fclose(out); }
}
