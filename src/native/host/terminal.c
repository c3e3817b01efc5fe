#include "host/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child/kernel.h"

int terminal_open(int columns, int rows, int64_t uid, int32_t ret_fds[2], const char **ret_call) {
  const struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
  const int unlocked = 0;
  const int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  int peer = -1;
  *ret_call = "open";
  if (fd < 0) return -errno;
  *ret_call = "ioctl(TIOCSPTLCK)";
  if (ioctl(fd, TIOCSPTLCK, &unlocked) < 0) goto fail;
  /* Not by its name: that may lead to another file, or to none, where /dev/pts is mounted elsewhere. */
  *ret_call = "ioctl(TIOCGPTPEER)";
  peer = ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (peer < 0) goto fail;
  *ret_call = "ioctl(TIOCSWINSZ)";
  if (ioctl(fd, TIOCSWINSZ, &size) < 0) goto fail;
  /* As login(1) does: the user opens it by its name. Whoever may not give it away cannot become that user either, which its step tells. */
  if (uid >= 0) (void)!fchown(peer, (uid_t)uid, (gid_t)-1);
  ret_fds[0] = fd;
  ret_fds[1] = peer;
  return 0;

fail:;
  const int why = errno;
  if (peer >= 0) close(peer);
  close(fd);
  return -why;
}

int terminal_own(void) {
  const int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int terminal_resize(int fd, int columns, int rows) {
  const struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};
  return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int terminal_modes(int fd, struct termios *ret_modes) {
  return tcgetattr(fd, ret_modes) < 0 ? -errno : 0;
}

/* The kernel stops a process in the background that changes its terminal, unless the thread has SIGTTOU blocked. */
static void block_stop(sigset_t *ret_before) {
  sigset_t stop;
  sigemptyset(&stop);
  sigaddset(&stop, SIGTTOU);
  (void)pthread_sigmask(SIG_BLOCK, &stop, ret_before); /* Fails only for bad arguments. */
}

int terminal_set_modes(int fd, const struct termios *modes) {
  sigset_t before;
  block_stop(&before);
  const int result = tcsetattr(fd, TCSANOW, modes) < 0 ? -errno : 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

int terminal_foreground(int fd) {
  const pid_t group = tcgetpgrp(fd);
  return group < 0 ? -errno : group;
}

int terminal_set_foreground(int fd, int group) {
  sigset_t before;
  block_stop(&before);
  const int result = tcsetpgrp(fd, group) < 0 ? -errno : 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return result;
}

int terminal_session(int fd) {
  const pid_t session = tcgetsid(fd);
  return session < 0 ? -errno : session;
}

/* The kernel gives what it has in pieces of some KiB. */
int64_t terminal_read(int fd, void *bytes, size_t size) {
  size_t got = 0;
  while (got < size) {
    const ssize_t result = read(fd, (char *)bytes + got, size - got);
    if (result > 0)
      got += (size_t)result;
    else if (result == 0 || errno != EINTR)
      return got > 0 ? (int64_t)got : result == 0 ? -EIO : -errno; /* What ended it, the next read tells again. */
  }
  return (int64_t)got;
}

int64_t terminal_write(int fd, const void *bytes, size_t size) {
  size_t put = 0;
  while (put < size) {
    const ssize_t result = write(fd, (const char *)bytes + put, size - put);
    if (result > 0)
      put += (size_t)result;
    else if (result == 0 || errno != EINTR)
      return put > 0 ? (int64_t)put : result == 0 ? -EAGAIN : -errno;
  }
  return (int64_t)put;
}
