#include "process/owned.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child/kernel.h"
#include "process/launch.h"

struct owned_descriptor {
  int fd;
  enum owned_kind kind;
  dev_t dev; /* by which the file is known again */
  ino_t ino;
};

/* ---------------------------------------------------------------- the list */

static int reserve(struct owned *owned, size_t count) {
  enum { FIRST_CAPACITY = 32 };
  if (owned->capacity - owned->count >= count) return 0;
  size_t capacity = owned->capacity == 0 ? FIRST_CAPACITY : owned->capacity * 2;
  if (capacity < owned->count + count) capacity = owned->count + count;
  struct owned_descriptor *list = realloc(owned->list, capacity * sizeof *list);
  if (list == NULL) return -ENOMEM;
  owned->list = list;
  owned->capacity = capacity;
  return 0;
}

int owned_reserve(struct owned *owned) {
  return reserve(owned, 1);
}

void owned_add(struct owned *owned, int fd, enum owned_kind kind) {
  struct stat file = {0};
  if (fd < 0) return;
  if (kind == OWNED_DESCRIPTOR) (void)fstat(fd, &file); /* It is open: it was made just now. */
  owned->list[owned->count++] = (struct owned_descriptor){fd, kind, file.st_dev, file.st_ino};
}

/* Takes both ends of a pipe over. They are one file, which is looked at once. */
static void add_pipe(struct owned *owned, const int32_t ends[2]) {
  owned_add(owned, ends[0], OWNED_DESCRIPTOR);
  struct owned_descriptor other = owned->list[owned->count - 1];
  other.fd = ends[1];
  owned->list[owned->count++] = other;
}

/* The last made is the first that goes, as a rule. */
void owned_release(struct owned *owned, int fd) {
  if (fd < 0) return;
  for (size_t i = owned->count; i > 0; i--) {
    if (owned->list[i - 1].fd != fd) continue;
    owned->list[i - 1] = owned->list[--owned->count];
    return;
  }
}

void owned_close(struct owned *owned, int fd) {
  if (fd < 0) return;
  owned_release(owned, fd);
  close(fd);
}

static int is_same_file(const struct owned_descriptor *descriptor) {
  struct stat file;
  return fstat(descriptor->fd, &file) == 0 && file.st_dev == descriptor->dev && file.st_ino == descriptor->ino;
}

void owned_end(struct owned *owned) {
  for (size_t i = 0; i < owned->count; i++) {
    /* All are ended before any is waited for. One that has taken other ids is out of reach, and lives on. */
    if (owned->list[i].kind == OWNED_CHILD && !launch_kill(owned->list[i].fd)) {
      launch_adopt(owned->list[i].fd);
      owned->list[i].fd = -1;
    }
  }
  for (size_t i = 0; i < owned->count; i++) {
    const struct owned_descriptor *descriptor = &owned->list[i];
    if (descriptor->fd < 0) continue;
    if (descriptor->kind == OWNED_CHILD)
      launch_reap(descriptor->fd);
    else if (is_same_file(descriptor))
      close(descriptor->fd);
  }
  free(owned->list);
  if (owned->null_fd > 0) close(owned->null_fd - 1);
  *owned = (struct owned){0};
}

/* ---------------------------------------------------------------- making */

int owned_pipes(struct owned *owned, int32_t *ends, size_t count) {
  if (reserve(owned, 2 * count) < 0) return ENOMEM;
  for (size_t i = 0; i < count; i++) {
    if (pipe2(ends + 2 * i, O_CLOEXEC) < 0) {
      const int why = errno;
      for (size_t made = 0; made < 2 * i; made++) owned_close(owned, ends[made]);
      return why;
    }
    add_pipe(owned, ends + 2 * i);
  }
  return 0;
}

int owned_socket_pair(struct owned *owned, int32_t ends[2]) {
  if (reserve(owned, 2) < 0) return ENOMEM;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return errno;
  owned_add(owned, ends[0], OWNED_DESCRIPTOR);
  owned_add(owned, ends[1], OWNED_DESCRIPTOR);
  return 0;
}

/* Writes all of it. 0, or a negative errno. */
static int write_all(int fd, const void *bytes, size_t size) {
  for (size_t written = 0; written < size;) {
    const ssize_t result = write(fd, (const char *)bytes + written, size - written);
    if (result < 0 && errno != EINTR) return -errno;
    if (result > 0) written += (size_t)result;
  }
  return 0;
}

/* A new file in memory that holds the bytes, closed on exec; or a negative errno. */
static int memory_file(const char *name, unsigned flags, const void *bytes, size_t size) {
  /* Linux 6.3 can be told to refuse files that could be executed; older ones do not know the flag. */
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_NOEXEC_SEAL | flags);
  if (fd < 0 && errno == EINVAL) fd = memfd_create(name, MFD_CLOEXEC | flags);
  if (fd < 0) return -errno;
  const int failure = write_all(fd, bytes, size);
  if (failure < 0) close(fd);
  return failure < 0 ? failure : fd;
}

int owned_memory_file(struct owned *owned, const void *bytes, size_t size) {
  if (reserve(owned, 1) < 0) return -ENOMEM;
  const int fd = memory_file("vircommand-plan", 0, bytes, size);
  if (fd >= 0) owned_add(owned, fd, OWNED_DESCRIPTOR);
  return fd;
}

/* A pipe that holds the bytes and has no writer any more; -EAGAIN where no pipe may be that large, or another negative errno. */
static int filled_pipe(const void *bytes, size_t size) {
  int ends[2];
  /* A pipe that is smaller than it seems would be written in part, and that is seen. */
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
  int result =
      size <= INT_MAX && fcntl(ends[1], F_GETPIPE_SZ) < (int)size && fcntl(ends[1], F_SETPIPE_SZ, (int)size) < 0
          ? -EAGAIN
          : write_all(ends[1], bytes, size);
  /* The reading end is another open file, which is to block. */
  if (result == 0 && fcntl(ends[0], F_SETFL, 0) < 0) result = -errno;
  close(ends[1]);
  if (result < 0) close(ends[0]);
  return result < 0 ? result : ends[0];
}

/* A file in memory that nobody can change any more, to be read from its beginning; or a negative errno. */
static int sealed_file(const void *bytes, size_t size) {
  const int fd = memory_file("vircommand-data", MFD_ALLOW_SEALING, bytes, size);
  if (fd < 0) return fd;
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0 &&
      lseek(fd, 0, SEEK_SET) == 0)
    return fd;
  const int why = errno;
  close(fd);
  return -why;
}

int owned_send_buffer(struct owned *owned, const void *bytes, size_t size) {
  if (reserve(owned, 1) < 0) return -ENOMEM;
  int fd = filled_pipe(bytes, size);
  if (fd == -EAGAIN) fd = sealed_file(bytes, size);
  if (fd >= 0) owned_add(owned, fd, OWNED_DESCRIPTOR);
  return fd;
}

int owned_null_device(struct owned *owned) {
  if (owned->null_fd == 0) {
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -errno;
    owned->null_fd = fd + 1;
  }
  return owned->null_fd - 1;
}

int owned_try_room(struct owned *owned, size_t count) {
  const int null_fd = owned_null_device(owned);
  if (null_fd < 0) return -null_fd;
  int *copies = calloc(count, sizeof *copies);
  if (copies == NULL) return ENOMEM;
  size_t made = 0;
  while (made < count && (copies[made] = fcntl(null_fd, F_DUPFD_CLOEXEC, 0)) >= 0) made++;
  const int why = made < count ? errno : 0;
  while (made > 0) close(copies[--made]);
  free(copies);
  return why;
}
