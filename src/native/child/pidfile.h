/*
 * How a pidfile is acquired, as libvirt has it: locked on its first byte, and only then written. There is one way for both who
 * do it: the child that will be a daemon (child.c), and the thread that holds a file for this process (pidlock.c).
 *
 * System calls only, and nothing but the arguments is written to: it runs between clone() and execve().
 */
#ifndef VIRCOMMAND_PIDFILE_H
#define VIRCOMMAND_PIDFILE_H

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "child/sys.h"

/* The call that failed. A detail below 0 is -1 minus one of them; src/wire/pidfile-answer.ts has the names, in this order. */
enum pidfile_call {
  PIDFILE_OPEN,
  PIDFILE_FSTAT,
  PIDFILE_LOCK,
  PIDFILE_STAT,
  PIDFILE_TRUNCATE,
  PIDFILE_WRITE,
  PIDFILE_SYNC
};

/* Who holds a write lock on the first byte: a pid, 0 for nobody, -1 for somebody who cannot be seen from here, or -errno - 1. */
static inline long pidfile_holder(long fd) {
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
  const long result = SYS3(SYS_fcntl, fd, F_GETLK, &lock);
  if (result < 0) return result - 1;
  if (lock.l_type == F_UNLCK) return 0;
  /* The lock of an open file belongs to no process, and one of another container or machine to none that has a pid here. */
  return lock.l_pid > 0 ? lock.l_pid : -1;
}

/* Whether the path, from that directory, still leads to the open file: 1 or 0, or a negative errno. */
static inline long pidfile_is_at(long fd, long directory, const char *path) {
  struct stat open, found;
  long result = SYS4(SYS_newfstatat, fd, "", &open, AT_EMPTY_PATH);
  if (result < 0) return result;
  result = SYS4(SYS_newfstatat, directory, path, &found, AT_SYMLINK_NOFOLLOW);
  if (result == -ENOENT) return 0;
  return result < 0 ? result : open.st_ino == found.st_ino && open.st_dev == found.st_dev;
}

/* Removes the file, unless another one has come into its place. The caller has a failure to report already. */
static inline void pidfile_remove(long fd, long directory, const char *path) {
  if (pidfile_is_at(fd, directory, path) == 1) (void)SYS3(SYS_unlinkat, directory, path, 0);
}

static inline long pidfile_write(long fd, const char *text, size_t length, int32_t *ret_detail) {
  *ret_detail = -1 - PIDFILE_TRUNCATE;
  long result = SYS2(SYS_ftruncate, fd, 0);
  if (result < 0) return result;
  *ret_detail = -1 - PIDFILE_WRITE;
  result = SYS3(SYS_write, fd, text, length);
  if (result < 0) return result;
  if ((size_t)result != length) return -EIO;
  *ret_detail = -1 - PIDFILE_SYNC;
  return SYS1(SYS_fsync, fd);
}

/*
 * Gives the descriptor that holds the lock, or a negative errno; nothing is left open then, and ret_detail tells more: for
 * EAGAIN, the pid of the holder, or 0 if it cannot be seen; for all else, and where it is below 0, the call that failed.
 *
 * directory: a descriptor of the one that a relative path begins in, or AT_FDCWD.
 * flags: O_CREAT makes a file that is not there; O_CLOEXEC closes it on exec.
 *
 * Between open() and the lock another process may have removed the file; then the lock is on a file that nobody else will
 * ever find, and the work begins again. So it does if the holder has gone before it could be named.
 */
static inline long pidfile_acquire(long directory, const char *path, int flags, const char *text, size_t length,
                                   int32_t *ret_detail) {
  for (;;) {
    *ret_detail = -1 - PIDFILE_OPEN;
    /* Without O_NONBLOCK, a device or a file with a lease could keep us, and in the child that means the caller's thread. */
    const long fd = SYS4(SYS_openat, directory, path, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | flags, 0644);
    if (fd < 0) return fd;

    *ret_detail = -1 - PIDFILE_FSTAT;
    struct stat file;
    long result = SYS4(SYS_newfstatat, fd, "", &file, AT_EMPTY_PATH);
    /* A device or a FIFO cannot hold a pid, and must not be removed for that: think of /dev/null, and of root. */
    if (result == 0 && (file.st_mode & S_IFMT) != S_IFREG) result = -EINVAL;

    if (result == 0) {
      *ret_detail = -1 - PIDFILE_LOCK;
      const struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
      result = SYS3(SYS_fcntl, fd, F_SETLK, &lock);
      if (result == -EACCES || result == -EAGAIN) {
        const long holder = pidfile_holder(fd);
        if (holder == 0) {
          (void)SYS1(SYS_close, fd);
          continue;
        }
        *ret_detail = holder > 0 ? (int32_t)holder : 0;
        result = -EAGAIN;
      }
    }
    if (result == 0) {
      *ret_detail = -1 - PIDFILE_STAT;
      result = pidfile_is_at(fd, directory, path);
      if (result == 0) {
        (void)SYS1(SYS_close, fd);
        continue;
      }
      if (result == 1) {
        result = pidfile_write(fd, text, length, ret_detail);
        if (result >= 0) return fd;
        pidfile_remove(fd, directory, path); /* Its lock is still ours, so nobody waits for it. */
      }
    }
    (void)SYS1(SYS_close, fd);
    return result;
  }
}

#endif
