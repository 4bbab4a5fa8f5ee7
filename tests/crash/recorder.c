/* Records, in order, what a process does to the files below POWER_FOLDER: opens, writes, truncations,
   names and syncs, as binary records appended to POWER_LOG (`power.py` reads them). A sync has two
   records, one before and one after: only what was written before the first is certain once the
   second is there. POWER_KILL=R3 kills the process right after the third record of kind R.
   Loaded with LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LAST_FD 4096

static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int journal = -1;
static char traced[LAST_FD];
static uint64_t syncs;
static char fatal_kind;
static int fatal_countdown;

#define REAL(name, ...) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))(__VA_ARGS__)

static int inside(const char *path) {
    return folder && strncmp(path, folder, folder_length) == 0
        && (path[folder_length] == '/' || path[folder_length] == 0);
}

static int watched(int fd) { return fd >= 0 && fd < LAST_FD && traced[fd]; }

/* The mutex is held: the order of the records is the order in which things were done. */
static void record(char kind, uint32_t fd, uint64_t number, const void *body, uint32_t length) {
    struct __attribute__((packed)) { char kind; uint32_t fd; uint64_t number; uint32_t length; } head =
        {kind, fd, number, length};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)body, length}};
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + length)) abort();
    if (kind == fatal_kind && --fatal_countdown == 0) {
        kill(getpid(), SIGKILL);
        for (;;) pause();
    }
}

__attribute__((constructor)) static void begin(void) {
    folder = getenv("POWER_FOLDER");
    if (!folder) return;
    folder_length = strlen(folder);
    journal = syscall(SYS_openat, AT_FDCWD, getenv("POWER_LOG"), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
    if (journal < 0) abort();
    const char *fatal = getenv("POWER_KILL");
    if (fatal) {
        fatal_kind = fatal[0];
        fatal_countdown = atoi(fatal + 1);
    }
    record('B', 0, 0, "", 0);
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    if (!inside(path)) return syscall(SYS_openat, at, path, flags, mode);
    pthread_mutex_lock(&order);
    int is_new = (flags & O_CREAT) && access(path, F_OK) != 0;
    int fd = syscall(SYS_openat, at, path, flags, mode), error = errno;
    if (fd >= LAST_FD) abort();
    if (fd >= 0) {
        traced[fd] = 1;
        record('O', fd, (is_new ? 1 : 0) | ((flags & O_TRUNC) ? 2 : 0), path, strlen(path));
    }
    pthread_mutex_unlock(&order);
    errno = error;
    return fd;
}

#define OPEN(name, at, ...)                                                                                \
    int name(__VA_ARGS__, const char *path, int flags, ...) { OPEN_BODY(at) }
#define OPEN_BODY(at)                                                                                      \
    mode_t mode = 0;                                                                                       \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                                   \
        va_list rest;                                                                                      \
        va_start(rest, flags);                                                                             \
        mode = va_arg(rest, mode_t);                                                                       \
        va_end(rest);                                                                                      \
    }                                                                                                      \
    return opened(at, path, flags, mode);

int open(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
int open64(const char *path, int flags, ...) { OPEN_BODY(AT_FDCWD) }
OPEN(openat, at, int at)
OPEN(openat64, at, int at)

int close(int fd) {
    if (!watched(fd)) return REAL(close, fd);
    pthread_mutex_lock(&order);
    traced[fd] = 0;
    record('C', fd, 0, "", 0);
    int result = REAL(close, fd);
    pthread_mutex_unlock(&order);
    return result;
}

static ssize_t written_at(int fd, const void *bytes, size_t length, off_t offset) {
    pthread_mutex_lock(&order);
    ssize_t done = syscall(SYS_pwrite64, fd, bytes, length, offset);
    int error = errno;
    if (done > 0) record('W', fd, offset, bytes, done);
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
    return watched(fd) ? written_at(fd, bytes, length, offset) : REAL(pwrite, fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
    return watched(fd) ? written_at(fd, bytes, length, offset) : REAL(pwrite64, fd, bytes, length, offset);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!watched(fd)) return syscall(SYS_write, fd, bytes, length);
    pthread_mutex_lock(&order);
    ssize_t done = syscall(SYS_write, fd, bytes, length);
    int error = errno;
    if (done > 0) record('W', fd, lseek(fd, 0, SEEK_CUR) - done, bytes, done);
    pthread_mutex_unlock(&order);
    errno = error;
    return done;
}

static int cut_to(int fd, off_t size) {
    pthread_mutex_lock(&order);
    int result = syscall(SYS_ftruncate, fd, size);
    if (result == 0) record('T', fd, size, "", 0);
    pthread_mutex_unlock(&order);
    return result;
}

int ftruncate(int fd, off_t size) { return watched(fd) ? cut_to(fd, size) : REAL(ftruncate, fd, size); }
int ftruncate64(int fd, off64_t size) { return watched(fd) ? cut_to(fd, size) : REAL(ftruncate64, fd, size); }

/* Not under the mutex: others go on writing while a file is synced. */
static int synced(int fd, long call) {
    pthread_mutex_lock(&order);
    uint64_t number = ++syncs;
    record('S', fd, number, "", 0);
    pthread_mutex_unlock(&order);
    int result = syscall(call, fd), error = errno;
    if (result == 0) {
        pthread_mutex_lock(&order);
        record('E', fd, number, "", 0);
        pthread_mutex_unlock(&order);
    }
    errno = error;
    return result;
}

int fsync(int fd) { return watched(fd) ? synced(fd, SYS_fsync) : REAL(fsync, fd); }
int fdatasync(int fd) { return watched(fd) ? synced(fd, SYS_fdatasync) : REAL(fdatasync, fd); }

int rename(const char *from, const char *to) {
    if (!inside(to)) return REAL(rename, from, to);
    size_t left = strlen(from), right = strlen(to);
    char *both = malloc(left + right + 1);
    memcpy(both, from, left + 1);
    memcpy(both + left + 1, to, right);
    pthread_mutex_lock(&order);
    int result = REAL(rename, from, to), error = errno;
    if (result == 0) record('R', 0, 0, both, left + 1 + right);
    pthread_mutex_unlock(&order);
    free(both);
    errno = error;
    return result;
}

int unlink(const char *path) {
    if (!inside(path)) return REAL(unlink, path);
    pthread_mutex_lock(&order);
    int result = REAL(unlink, path), error = errno;
    if (result == 0) record('U', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&order);
    errno = error;
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!inside(path)) return REAL(mkdir, path, mode);
    pthread_mutex_lock(&order);
    int result = REAL(mkdir, path, mode), error = errno;
    if (result == 0) record('M', 0, 0, path, strlen(path));
    pthread_mutex_unlock(&order);
    errno = error;
    return result;
}
