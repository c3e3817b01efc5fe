/*
 * What an environment has made in the kernel and has not given away yet. JavaScript gets numbers only, and between any two calls
 * of the addon its thread may be terminated: then no line of JavaScript runs any more, neither `catch` nor `finally`. So a pipe,
 * a file in memory, a pidfd and a child belong to the environment from their making on, until they are closed, are the
 * watcher's, or are given away to a stream of Node.
 */
#ifndef VIRCOMMAND_OWNED_H
#define VIRCOMMAND_OWNED_H

#include <stddef.h>
#include <stdint.h>

struct owned {
  struct owned_descriptor *list;
  size_t count, capacity;
  int null_fd; /* of /dev/null, less one; 0: not opened yet */
};

/* Makes pipes, all or none: two ends each, reading and writing, closed on exec. 0, or an errno. */
int owned_pipes(struct owned *owned, int32_t *ends, size_t count);

/* Makes two connected stream sockets, closed on exec. 0, or an errno. */
int owned_socket_pair(struct owned *owned, int32_t ends[2]);

/* Makes a file in memory that holds the bytes. A descriptor that is closed on exec, or a negative errno. */
int owned_memory_file(struct owned *owned, const void *bytes, size_t size);

/*
 * Makes something to read the bytes from, and then the end of file, where nobody is left to write them: a pipe that is large enough, or a
 * sealed file in memory where none may be. A descriptor that is closed on exec, or a negative errno.
 */
int owned_send_buffer(struct owned *owned, const void *bytes, size_t size);

/* A descriptor of /dev/null, the same for the whole life of the environment; or a negative errno. */
int owned_null_device(struct owned *owned);

/* Whether so many more descriptors can be opened: 0, or an errno. */
int owned_try_room(struct owned *owned, size_t count);

/* Makes room for one more, so that owned_add() cannot fail. 0, or -ENOMEM. */
int owned_reserve(struct owned *owned);

/* Takes a descriptor over, for which room was made; a pidfd of a child with the child. -1 is nothing. */
enum owned_kind { OWNED_DESCRIPTOR, OWNED_CHILD };
void owned_add(struct owned *owned, int fd, enum owned_kind kind);

/* Closes a descriptor, whether it is owned or not. */
void owned_close(struct owned *owned, int fd);

/* Gives a descriptor away. What is not owned, or is -1, is left alone. */
void owned_release(struct owned *owned, int fd);

/*
 * Ends and reaps the children, and closes the descriptors. One that was given away in the same moment, so that it is both still
 * owned and a stream of Node's, has been closed by Node before this: its number may mean another file, and is left alone then.
 */
void owned_end(struct owned *owned);

#endif
