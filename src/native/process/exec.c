/*
 * exec() in a process that has a life of its own: an event loop, threads, descriptors that it needs if it must go on.
 *
 * The steps are the same as a child's, performed by the same child_run(). A child that fails is thrown away; this process is not.
 * So all that the steps change is noted first, and put back if one of them fails. Whether they can succeed was tried before,
 * in a child (see src/engine/native/exec.ts): what fails here has changed in the moment between.
 *
 * Nothing else of this thread runs in between, and signals wait.
 */
#include "process/exec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child/kernel.h"
#include "child/steps.h"
#include "child/sys.h"

enum { SIGNALS = 64, SIGNAL_SET_SIZE = 8, KERNEL_SIGACTION_WORDS = 4, SIG_SETMASK_ = 2, LIMITS = 16 };

/* A descriptor before the steps. `copy` keeps what a step may put another file in the place of; -1: nothing was open there. */
struct place {
  int fd;
  int flags;
  int copy;
};

struct before {
  uint64_t mask;
  unsigned long actions[SIGNALS + 1][KERNEL_SIGACTION_WORDS]; /* as the kernel writes them: nobody reads them here */
  uint64_t limits[LIMITS][2];
  long priority;
  mode_t umask;
  int death_signal;
  char oom_score[8]; /* as the kernel prints it */
  ssize_t oom_score_size;
  int directory; /* above all numbers that the steps use */
  struct place *places;
  size_t place_count;
  int *inherited; /* the open descriptors that are not closed on exec */
  size_t inherited_count, inherited_capacity;
  int *statuses; /* of the blocking ones */
};

static void note_signals(struct before *before) {
  const uint64_t all = ~(uint64_t)0;
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK_, &all, &before->mask,
             SIGNAL_SET_SIZE); /* Fails only for bad arguments, as does the next. */
  for (int signal = 1; signal <= SIGNALS; signal++)
    (void)SYS4(SYS_rt_sigaction, signal, NULL, before->actions[signal], SIGNAL_SET_SIZE);
}

static void put_back_signals(const struct before *before) {
  for (int signal = 1; signal <= SIGNALS; signal++) {
    (void)SYS4(SYS_rt_sigaction, signal, before->actions[signal], NULL,
               SIGNAL_SET_SIZE); /* SIGKILL and SIGSTOP refuse, and never changed. */
  }
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK_, &before->mask, NULL, SIGNAL_SET_SIZE);
}

static int highest_target(const struct plan *plan) {
  int highest = 2;
  for (uint32_t i = 0; i < plan->count; i++) {
    const struct operation *operation = &plan->operations[i];
    if (operation->code == STEP_DUP2 && (int)operation->b > highest) highest = (int)operation->b;
  }
  return highest;
}

/* Keeps a copy of each descriptor that a step will replace, above all numbers that the steps use. */
static int note_places(const struct plan *plan, struct before *before, struct report *ret_report) {
  const int above = highest_target(plan) + 1;
  before->places = calloc(plan->count, sizeof *before->places);
  if (before->places == NULL) {
    ret_report->errno_ = ENOMEM;
    return 0;
  }
  for (uint32_t i = 0; i < plan->count; i++) {
    const struct operation *operation = &plan->operations[i];
    if (operation->code != STEP_DUP2) continue;
    struct place *place = &before->places[before->place_count];
    place->fd = (int)operation->b;
    place->flags = fcntl(place->fd, F_GETFD);
    place->copy = place->flags < 0 ? -1 : fcntl(place->fd, F_DUPFD_CLOEXEC, above);
    if (place->flags >= 0 && place->copy < 0) {
      ret_report->step = (int32_t)operation->step;
      ret_report->errno_ = errno;
      return 0;
    }
    before->place_count++;
  }
  return 1;
}

static void forget_places(struct before *before) {
  for (size_t i = 0; i < before->place_count; i++) {
    if (before->places[i].copy >= 0) close(before->places[i].copy);
  }
  before->place_count = 0;
}

/* The last first: where two steps used one number, the first note is of what stood there in the beginning. */
static void put_back_places(struct before *before) {
  for (size_t i = before->place_count; i > 0; i--) {
    const struct place *place = &before->places[i - 1];
    if (place->copy < 0)
      close(place->fd);
    else if (dup2(place->copy, place->fd) >= 0)
      (void)fcntl(place->fd, F_SETFD, place->flags); /* Its own number: it is open now. */
  }
  forget_places(before);
}

static int note_if_inherited(struct before *before, int fd) {
  enum { FIRST_CAPACITY = 64 };
  if (fcntl(fd, F_GETFD) != 0) return 1; /* Not open, or closed on exec as it is. */
  if (before->inherited_count == before->inherited_capacity) {
    const size_t capacity = before->inherited_capacity == 0 ? FIRST_CAPACITY : 2 * before->inherited_capacity;
    int *larger = realloc(before->inherited, capacity * sizeof *larger);
    if (larger == NULL) return 0;
    before->inherited = larger;
    before->inherited_capacity = capacity;
  }
  before->inherited[before->inherited_count++] = fd;
  return 1;
}

/*
 * /proc lists the open descriptors. Where it is not mounted, every number is asked for, up to the highest one that Linux allows
 * unless an administrator raises fs.nr_open: a tenth of a second, once.
 */
static int note_inherited(struct before *before) {
  enum { MOST_DESCRIPTORS = 1024 * 1024 };
  DIR *directory = opendir("/proc/self/fd");
  int is_noted = 1;
  if (directory == NULL) {
    for (int fd = 0; fd < MOST_DESCRIPTORS && is_noted; fd++) is_noted = note_if_inherited(before, fd);
    return is_noted;
  }
  for (struct dirent *entry; is_noted && (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] != '.') is_noted = note_if_inherited(before, atoi(entry->d_name));
  }
  (void)closedir(directory); /* Only a bad stream fails. */
  return is_noted;
}

static int note_modes(const int32_t *blocking, size_t count, struct before *before) {
  before->statuses = calloc(count + 1, sizeof(int));
  if (before->statuses == NULL || !note_inherited(before)) return 0;
  for (size_t i = 0; i < count; i++) {
    before->statuses[i] = fcntl(blocking[i], F_GETFL);
    if (before->statuses[i] >= 0) (void)fcntl(blocking[i], F_SETFL, before->statuses[i] & ~O_NONBLOCK);
  }
  return 1;
}

static void put_back_modes(const int32_t *blocking, size_t count, const struct before *before) {
  for (size_t i = 0; i < before->inherited_count; i++) (void)fcntl(before->inherited[i], F_SETFD, 0);
  /* The last first: two numbers may mean one open file, and the first note is of its mode in the beginning. */
  for (size_t i = count; i > 0; i--) {
    if (before->statuses[i - 1] >= 0) (void)fcntl(blocking[i - 1], F_SETFL, before->statuses[i - 1]);
  }
}

static const char oom_score_file[] = "/proc/self/oom_score_adj";

static void note_oom_score(struct before *before) {
  const int fd = open(oom_score_file, O_RDONLY | O_CLOEXEC);
  before->oom_score_size = fd < 0 ? -1 : read(fd, before->oom_score, sizeof before->oom_score);
  if (fd >= 0) close(fd);
}

static void put_back_oom_score(const struct before *before) {
  const int fd = before->oom_score_size <= 0 ? -1 : open(oom_score_file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, before->oom_score, (size_t)before->oom_score_size); /* It was the same a moment ago. */
  close(fd);
}

static void note_attributes(const struct plan *plan, struct before *before) {
  const int directory = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  /* -1 where it was removed: then nothing leads back to it. */
  before->directory = directory < 0 ? -1 : fcntl(directory, F_DUPFD_CLOEXEC, highest_target(plan) + 1);
  if (directory >= 0) close(directory);
  note_oom_score(before);
  (void)SYS5(SYS_prctl, PR_GET_PDEATHSIG, &before->death_signal, 0, 0, 0); /* Fails only for a bad address. */
  before->umask = umask(0);
  (void)umask(before->umask);
  before->priority = SYS2(SYS_getpriority, PRIO_PROCESS, 0);
  for (unsigned limit = 0; limit < LIMITS; limit++) (void)SYS4(SYS_prlimit64, 0, limit, NULL, before->limits[limit]);
}

/* To raise a hard limit again takes a privilege. Without it, the soft one goes back as far as it can. */
static void put_back_limit(unsigned limit, const uint64_t before[2]) {
  uint64_t now[2] = {0, 0};
  if (SYS4(SYS_prlimit64, 0, limit, before, NULL) == 0 || SYS4(SYS_prlimit64, 0, limit, NULL, now) < 0) return;
  now[0] = before[0] < now[1] ? before[0] : now[1];
  (void)SYS4(SYS_prlimit64, 0, limit, now, NULL);
}

static void put_back_attributes(const struct before *before) {
  if (before->directory >= 0) {
    (void)!fchdir(before->directory);
    close(before->directory);
  }
  (void)umask(before->umask);
  put_back_oom_score(before);
  (void)SYS5(SYS_prctl, PR_SET_PDEATHSIG, before->death_signal, 0, 0, 0); /* It was good before. */
  /* The kernel gives 20 less the value. It was this thread's own, so nothing but a lost privilege can refuse it. */
  (void)SYS3(SYS_setpriority, PRIO_PROCESS, 0, 20 - before->priority);
  for (unsigned limit = 0; limit < LIMITS; limit++) put_back_limit(limit, before->limits[limit]);
}

void exec_in_place(const struct plan *plan, const int32_t *blocking, size_t blocking_count, struct report *ret_report) {
  struct before before = {.directory = -1};
  *ret_report = (struct report){.failed = 1, .step = -1, .errno_ = ENOMEM};
  if (!note_places(plan, &before, ret_report) || !note_modes(blocking, blocking_count, &before)) {
    forget_places(&before);
    goto end;
  }
  note_attributes(plan, &before);
  note_signals(&before);

  child_run(plan, 0, ret_report);

  put_back_attributes(&before);
  put_back_places(&before);
  put_back_modes(blocking, blocking_count, &before);
  put_back_signals(&before);

end:
  free(before.places);
  free(before.inherited);
  free(before.statuses);
}

/* ---------------------------------------------------------------- in the hook runner */

enum { STANDARD_STREAMS = 3 };

/*
 * The steps after the hook are not performed in the Node process itself. Ids would change for one of its threads only, and the
 * others would run on in the same memory with the old ones, until the exec ends them. So the plan here only places descriptors
 * and executes the helper.
 */
void exec_helper(const struct plan *plan, int report_fd) {
  for (int fd = 0; fd < STANDARD_STREAMS; fd++) {
    const int flags = fcntl(fd, F_GETFL); /* The hook may have closed it, which is its affair. */
    if (flags >= 0) (void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
  }
  /* As in every child: a signal waits for the program. Node's handlers end with this process. */
  const uint64_t all = ~(uint64_t)0;
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK_, &all, NULL, SIGNAL_SET_SIZE);
  struct report report = {.failed = 1, .step = -1, .errno_ = ENOMEM};
  if (plan != NULL) {
    report = (struct report){0};
    child_run(plan, 0, &report);
  }
  (void)!write(report_fd, &report, sizeof report); /* A caller that has died reads nothing, and loses nothing. */
  (void)SYS1(SYS_exit_group, 127);
  __builtin_unreachable();
}

void exec_shelter(void) {
  /* It is there: without it, the engine would not have been chosen. Node itself has marked the first few only. */
  (void)SYS3(SYS_close_range, STANDARD_STREAMS, ~0u, CLOSE_RANGE_CLOEXEC);
}
