#include "process/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "child/kernel.h"

int descriptors_pipes(int32_t *ends, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (pipe2(ends + 2 * i, O_CLOEXEC) == 0) continue;
    const int why = errno;
    for (size_t made = 0; made < 2 * i; made++) close(ends[made]);
    return why;
  }
  return 0;
}

int descriptors_null_device(void) {
  const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  return fd < 0 ? -errno : fd;
}

int descriptors_memory_file(const void *bytes, size_t size) {
  /* Linux 6.3 can be told to refuse files that could be executed; older ones do not know the flag. */
  int fd = memfd_create("vircommand-plan", MFD_CLOEXEC | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) fd = memfd_create("vircommand-plan", MFD_CLOEXEC);
  if (fd < 0) return -errno;
  for (size_t written = 0; written < size;) {
    const ssize_t result = write(fd, (const char *)bytes + written, size - written);
    if (result < 0 && errno != EINTR) {
      const int why = errno;
      close(fd);
      return -why;
    }
    if (result > 0) written += (size_t)result;
  }
  return fd;
}
