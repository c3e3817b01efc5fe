#include "host/descriptors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int fifo_has_writer(int fd) {
  /* The kernel remembers how many writers there were when it was opened: one that has gone is told, and data is. */
  struct pollfd seen = {.fd = fd, .events = POLLIN};
  if (poll(&seen, 1, 0) < 0) return errno == EINTR ? 0 : -errno;
  if ((seen.revents & (POLLIN | POLLHUP)) != 0) return 1;
  /* One that has written nothing yet: only a call that would have to wait tells of it, and this one takes nothing away. */
  int32_t scratch[2];
  if (pipe2(scratch, O_CLOEXEC | O_NONBLOCK) < 0) return -errno;
  const ssize_t copied = tee(fd, scratch[1], 1, SPLICE_F_NONBLOCK);
  const int why = copied < 0 ? errno : 0;
  close(scratch[0]);
  close(scratch[1]);
  if (copied > 0 || why == EAGAIN) return 1;
  return -why;
}

int descriptor_let_block(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  return (flags & O_NONBLOCK) == 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0 ? 0 : -errno;
}

int pipe_set_size(int fd, uint32_t size) {
  return fcntl(fd, F_SETPIPE_SZ, size) < 0 ? errno : 0;
}

/* Closes what was made so far. */
static int give_up(int fd, const char *call, const char **ret_call) {
  const int why = errno;
  if (fd >= 0) close(fd);
  *ret_call = call;
  return -why;
}

int listen_unix(const char *path, size_t length, int mode, int backlog, const char **ret_call) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const int has_file = path[0] != '\0';
  if (length + (has_file ? 1 : 0) > sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return give_up(-1, "bind", ret_call);
  }
  memcpy(address.sun_path, path, length);
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (has_file ? 1 : 0));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return give_up(-1, "socket", ret_call);
  /* The file is made with the socket's own mode, less the umask: it is never open to more than it will be. */
  if (has_file && mode >= 0 && fchmod(fd, (mode_t)mode) < 0) return give_up(fd, "fchmod", ret_call);
  if (bind(fd, (struct sockaddr *)&address, size) < 0) return give_up(fd, "bind", ret_call);
  const char *failed = NULL;
  if (has_file && mode >= 0 && chmod(path, (mode_t)mode) < 0)
    failed = "chmod";
  else if (listen(fd, backlog) < 0)
    failed = "listen";
  if (failed == NULL) return fd;
  const int why = errno;
  if (has_file) (void)unlink(path); /* It was made just now. If it cannot be removed, it stays: nobody listens there. */
  errno = why;
  return give_up(fd, failed, ret_call);
}

int listen_tcp(const char *host, uint16_t port, int backlog, const char **ret_call) {
  struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
  struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  const int on = 1, off = 0;
  const int is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
  if (!is_v6 && inet_pton(AF_INET, host, &v4.sin_addr) != 1) {
    errno = EINVAL;
    return give_up(-1, "inet_pton", ret_call);
  }
  const int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return give_up(-1, "socket", ret_call);
  /* As every server has it: connections of its predecessor that linger do not keep the port. */
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
      (is_v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0))
    return give_up(fd, "setsockopt", ret_call);
  const int bound = is_v6 ? bind(fd, (struct sockaddr *)&v6, sizeof v6) : bind(fd, (struct sockaddr *)&v4, sizeof v4);
  if (bound < 0) return give_up(fd, "bind", ret_call);
  return listen(fd, backlog) < 0 ? give_up(fd, "listen", ret_call) : fd;
}

int listen_port(int fd) {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } address = {.any = {0}};
  socklen_t size = sizeof address;
  if (getsockname(fd, &address.any, &size) < 0) return -errno;
  if (address.any.sa_family == AF_INET) return ntohs(address.v4.sin_port);
  return address.any.sa_family == AF_INET6 ? ntohs(address.v6.sin6_port) : -EAFNOSUPPORT;
}

int tap_open(const char name[IFNAMSIZ], char ret_name[IFNAMSIZ], const char **ret_call) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  memcpy(request.ifr_name, name, IFNAMSIZ);
  request.ifr_name[IFNAMSIZ - 1] = '\0';
  const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (fd < 0) return give_up(-1, "open", ret_call);
  if (ioctl(fd, TUNSETIFF, &request) < 0) return give_up(fd, "ioctl(TUNSETIFF)", ret_call);
  memcpy(ret_name, request.ifr_name, IFNAMSIZ);
  return fd;
}
