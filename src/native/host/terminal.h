/*
 * Terminals: pseudo-terminals for programs, and the controlling terminal of this process. Nothing here decides anything, keeps anything,
 * or waits. What this thread does to a terminal is never answered by SIGTTOU. Where an answer is negative, it is a negative errno.
 */
#ifndef VIRCOMMAND_TERMINAL_H
#define VIRCOMMAND_TERMINAL_H

#include <stddef.h>
#include <stdint.h>
#include <termios.h>

/*
 * Makes a pseudo-terminal of that size: [0] is this process's end, which does not block, [1] is the program's. A `uid` of 0 or above owns the
 * file of the latter from then on, as far as this process may give it away. Both are closed on exec. 0, or a negative errno and
 * the system call that failed.
 */
int terminal_open(int columns, int rows, int64_t uid, int32_t ret_fds[2], const char **ret_call);

/* Opens the controlling terminal of this process. A descriptor, closed on exec. */
int terminal_own(void);

/* Tells a terminal its size; the kernel sends SIGWINCH to the group in its foreground, if that changes it. */
int terminal_resize(int fd, int columns, int rows);

/* Reads the modes of a terminal, and sets them. */
int terminal_modes(int fd, struct termios *ret_modes);
int terminal_set_modes(int fd, const struct termios *modes);

/* The process group in the foreground of a terminal, and the way to put one there. 0 or above. */
int terminal_foreground(int fd);
int terminal_set_foreground(int fd, int group);

/* The session whose controlling terminal it is: the pid of its leader, which is the shell as a rule. */
int terminal_session(int fd);

/* Reads and writes what is there and what fits: a number of bytes, or a negative errno. The end of a terminal is -EIO. */
int64_t terminal_read(int fd, void *bytes, size_t size);
int64_t terminal_write(int fd, const void *bytes, size_t size);

#endif
