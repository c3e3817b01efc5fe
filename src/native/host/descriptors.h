/*
 * Descriptors for programs: listening sockets and tap devices that Node cannot make, or makes for its own event loop; and two questions
 * about others. All that is made here blocks, and is closed on exec. Nothing here decides anything, keeps anything, or waits.
 */
#ifndef VIRCOMMAND_DESCRIPTORS_H
#define VIRCOMMAND_DESCRIPTORS_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Whether a FIFO that is open here for reading has, or has had, a writer since: 1 or 0, or a negative errno. That is what an open()
 * that waits would wait for. What was written stays in it.
 */
int fifo_has_writer(int fd);

/* Clears O_NONBLOCK, for all who share the open file. 0, or a negative errno. */
int descriptor_let_block(int fd);

/* Gives a pipe that much room; the kernel rounds up, to a page and a power of two. 0, or an errno. */
int pipe_set_size(int fd, uint32_t size);

/* Where an answer below is negative, `ret_call` is the system call that gave it. */

/*
 * A Unix socket that listens at a path, which becomes a file with those permissions: never more than these. -1: as the umask has it.
 * A path that begins with NUL is a name without a file. A file that was made for nothing is removed.
 */
int listen_unix(const char *path, size_t length, int mode, int backlog, const char **ret_call);

/* A TCP socket that listens at an address, in digits, and a port; 0: one that is free. An IPv6 socket at `::` serves IPv4 as well. */
int listen_tcp(const char *host, uint16_t port, int backlog, const char **ret_call);

/* The port of a TCP socket, or a negative errno. */
int listen_port(int fd);

/* A descriptor of a tap device, made if there is none of that name; `%d` in it is a number that the kernel chooses. */
int tap_open(const char name[IFNAMSIZ], char ret_name[IFNAMSIZ], const char **ret_call);

#endif
