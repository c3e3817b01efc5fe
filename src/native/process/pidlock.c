/*
 * A lock by fcntl() belongs to a table of descriptors, and the kernel drops it when *any* descriptor of the file is closed
 * in that table: a library that reads /run/x.pid, anywhere in this process, would end the lock on it. And two owners that
 * share a table do not exclude each other.
 *
 * So each held file has a thread that shares all with this process but its descriptors. In its table there is the pidfile and
 * nothing else, and nobody else can close anything there. For the kernel, and for everybody who asks it, the lock is this
 * process's all the same: it names this pid, and it is gone when the process is, however that ends. Children get nothing of it,
 * since they copy the table of the thread that starts them.
 */
#include "process/pidlock.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "child/kernel.h"
#include "child/pidfile.h"

/* The thread calls the kernel and waits. The C library takes room for its thread-local variables from the stack as well. */
enum { STACK_SIZE = 256 * 1024 };

struct pidlock {
  pthread_t thread;
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  enum { TAKING, ANSWERED, RELEASED } state;
  struct pidlock_answer answer;
  const char *path; /* the caller's, while the state is TAKING */
  const char *text;
  int flags;
};

static long take(struct pidlock *lock) {
  struct stat file;
  /* A table of its own that begins empty: nothing of this process is kept open by it, not even for a moment. */
  long result = SYS3(SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
  lock->answer.detail = PIDLOCK_NO_TABLE;
  if (result < 0) return result;
  const long fd = pidfile_acquire(AT_FDCWD, lock->path, lock->flags | O_CLOEXEC, lock->text, strlen(lock->text),
                                  &lock->answer.detail);
  if (fd < 0) return fd;
  result = SYS4(SYS_newfstatat, fd, "", &file, AT_EMPTY_PATH);
  if (result < 0) return result; /* The thread ends, and its table with it. */
  lock->answer.dev = file.st_dev;
  lock->answer.ino = file.st_ino;
  return fd;
}

static void *hold(void *data) {
  struct pidlock *lock = data;
  (void)prctl(PR_SET_NAME, "pidfile"); /* So that ps and top tell what it is; nothing depends on it. */
  const long fd = take(lock);
  (void)pthread_mutex_lock(&lock->mutex); /* It cannot fail: the mutex is of the plain kind, and not ours yet. */
  lock->answer.errno_ = fd < 0 ? (int)-fd : 0;
  lock->state = ANSWERED;
  (void)pthread_cond_signal(&lock->changed);
  while (fd >= 0 && lock->state != RELEASED) (void)pthread_cond_wait(&lock->changed, &lock->mutex);
  (void)pthread_mutex_unlock(&lock->mutex);
  /* A thread counts as joined before the kernel has taken its descriptors; so this is not left to its end. */
  if (fd >= 0) (void)SYS1(SYS_close, fd);
  return NULL;
}

/* With all signals blocked: a handler of this process has no business in a thread that has no descriptors. */
static int start_thread(struct pidlock *lock) {
  pthread_attr_t attributes;
  sigset_t all, before;
  int result = pthread_attr_init(&attributes);
  if (result != 0) return result;
  (void)pthread_attr_setstacksize(&attributes, STACK_SIZE); /* Where that is too little, it stays at the default. */
  (void)sigfillset(&all);
  (void)pthread_sigmask(SIG_SETMASK, &all, &before);
  result = pthread_create(&lock->thread, &attributes, hold, lock);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  (void)pthread_attr_destroy(&attributes);
  return result;
}

static void destroy(struct pidlock *lock) {
  (void)pthread_cond_destroy(&lock->changed);
  (void)pthread_mutex_destroy(&lock->mutex);
  free(lock);
}

struct pidlock *pidlock_acquire(const char *path, int flags, const char *text, struct pidlock_answer *ret_answer) {
  struct pidlock *lock = calloc(1, sizeof *lock);
  *ret_answer = (struct pidlock_answer){.errno_ = ENOMEM, .detail = PIDLOCK_NO_THREAD};
  if (lock == NULL) return NULL;
  lock->path = path;
  lock->text = text;
  lock->flags = flags;
  (void)pthread_mutex_init(&lock->mutex, NULL); /* With default attributes neither of them fails. */
  (void)pthread_cond_init(&lock->changed, NULL);
  ret_answer->errno_ = start_thread(lock);
  if (ret_answer->errno_ != 0) {
    destroy(lock);
    return NULL;
  }
  (void)pthread_mutex_lock(&lock->mutex);
  while (lock->state == TAKING) (void)pthread_cond_wait(&lock->changed, &lock->mutex);
  *ret_answer = lock->answer;
  (void)pthread_mutex_unlock(&lock->mutex);
  if (ret_answer->errno_ == 0) return lock;
  (void)pthread_join(lock->thread, NULL);
  destroy(lock);
  return NULL;
}

void pidlock_release(struct pidlock *lock) {
  (void)pthread_mutex_lock(&lock->mutex);
  lock->state = RELEASED;
  (void)pthread_cond_signal(&lock->changed);
  (void)pthread_mutex_unlock(&lock->mutex);
  (void)pthread_join(lock->thread, NULL);
  destroy(lock);
}
