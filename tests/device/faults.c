/* Stands between a program and its disk: FAULT_AT=N ends the program at its Nth operation that changes a file below FAULT_DIR, before
   it is done; with FAULT_FULL=1 that one and all after it fail instead, as on a full disk. Removing needs no room and goes on. With
   FAULT_NO_LINKS=1 no file can have a second name, as on FAT. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int done;

/* Whether the operation is to fail. */
static int fault(int needs_room) {
    const char *at = getenv("FAULT_AT"), *full = getenv("FAULT_FULL");
    if (!at) return 0;
    int number = __atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
    if (full) {
        if (number < atoi(at) || !needs_room) return 0;
        errno = ENOSPC;
        return 1;
    }
    if (number == atoi(at)) _exit(86);
    return 0;
}

static int ours(const char *path) {
    const char *dir = getenv("FAULT_DIR");
    return dir && path && strncmp(path, dir, strlen(dir)) == 0;
}

static int ours_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return ours(path);
}

/* Whether a second name is refused. */
static int no_links(void) {
    if (!getenv("FAULT_NO_LINKS")) return 0;
    errno = EPERM;
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    if ((flags & O_CREAT) && ours(path) && fault(1)) return -1;
    return NEXT(open64)(path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (ours_fd(fd) && fault(1)) return -1;
    return NEXT(write)(fd, bytes, length);
}

int rename(const char *from, const char *to) {
    if (ours(to) && fault(0)) return -1;
    return NEXT(rename)(from, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    if (ours(to) && (no_links() || fault(1))) return -1;
    return NEXT(linkat)(from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to) {
    if (ours(to) && (no_links() || fault(1))) return -1;
    return NEXT(link)(from, to);
}

int unlink(const char *path) {
    if (ours(path) && fault(0)) return -1;
    return NEXT(unlink)(path);
}

int fsync(int fd) {
    if (ours_fd(fd) && fault(1)) return -1;
    return NEXT(fsync)(fd);
}
