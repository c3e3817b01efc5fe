/* Pidfiles that this process holds. */
#ifndef VIRCOMMAND_PIDLOCK_H
#define VIRCOMMAND_PIDLOCK_H

#include <stdint.h>

struct pidlock;

/* What became of it. */
struct pidlock_answer {
  int errno_;     /* 0: the file is held */
  int32_t detail; /* see pidfile_acquire(), or one of those below */
  uint64_t dev, ino;
};

/* No thread could be made, or it got no table of its own: src/wire/pidfile-answer.ts knows these, too. */
enum { PIDLOCK_NO_THREAD = -100, PIDLOCK_NO_TABLE = -101 };

/* Takes a pidfile and writes the text into it. flags: 0 or O_CREAT. It waits for the file system. NULL: see the answer. */
struct pidlock *pidlock_acquire(const char *path, int flags, const char *text, struct pidlock_answer *ret_answer);

/* Gives the lock up, and returns when it is gone. The file stays. */
void pidlock_release(struct pidlock *lock);

#endif
