/*
 * One epoll descriptor for all children of a thread, and one uv_poll_t for that descriptor: libuv sees a single handle,
 * however many children there are.
 *
 * An output is read in big pieces, but never more at once than READ_BUDGET, so that a fast child cannot hold the loop. When
 * a child has ended, all that it wrote lies in its pipes: they are read until they are empty, and closed, whoever else
 * still holds them. No timer plays a part in that.
 */
#include "process/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/kernel.h"
#include "process/launch.h"

enum {
  EVENTS = 64,
  SMALL_READ = 64 * 1024,    /* what an ordinary pipe holds */
  READ_BUDGET = 1024 * 1024, /* what one output may bring in one turn of the loop, and the size of a busy pipe */
  LAST_READ = 16 * READ_BUDGET,
  WRITE_BUDGET = 1024 * 1024,
  LARGEST_PIECE = 1024 * 1024 * 1024, /* A Buffer of Node 20 holds less than 4 GiB, however the output is watched. */
  ID_MASK = 0x3fffffff,               /* below the two kinds of watchers, which addon.c tells apart by the bit above */
};

enum role { ROLE_EXIT, ROLE_REPORT, ROLE_INPUT, ROLE_STDOUT, ROLE_STDERR, ROLES };

/* A descriptor in the epoll set. */
struct source {
  struct process *process;
  enum role role;
  int fd; /* -1: closed */
};

struct output {
  char *bytes;
  size_t size;
  size_t capacity;
  int streamed;
  int enlarged;
};

struct process {
  struct watcher *watcher;
  struct process *next, *previous;
  struct source sources[ROLES];
  struct output outputs[OUTPUTS];
  const char *input;
  size_t input_size;
  struct process_end end;
  void *context;
  uint32_t id;
  int has_ended;
  int read_to_end;
  int only_looks;
  int announces_exec; /* the helper does, or it was ended */
  int announced_exec;
  int leaves_stderr;
  int keeps_pipe_size;
  int is_kept; /* the loop waits for it */
};

struct watcher {
  uv_poll_t poll;
  const struct watch_events *events;
  void *owner;
  struct process *processes;
  struct process *done; /* all is read and closed; only the last event is missing */
  unsigned kept;
  unsigned ended; /* of the processes, those that have ended and are not done */
  uint32_t last_id;
  int has_loop;
  int epoll_fd;
  void (*on_readable)(void *owner); /* see watcher_look() */
  int wake_fd;                      /* brings the loop back here without an event of a child */
  char page
      [SMALL_READ]; /* where small reads go: most programs say little or nothing, and take no more memory than that */
  void (*on_closed)(void *context);
  void *closed_context;
};

/* ---------------------------------------------------------------- descriptors */

/* Takes a descriptor out of the set, and gives it. Other processes may hold the same open file, of which epoll would go on telling. */
static int take_out(struct source *source) {
  const int fd = source->fd;
  if (fd >= 0) (void)epoll_ctl(source->process->watcher->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
  source->fd = -1;
  return fd;
}

static void close_source(struct source *source) {
  const int fd = take_out(source);
  if (fd >= 0) close(fd);
}

static int add_source(struct process *process, enum role role, int fd, uint32_t events) {
  struct source *source = &process->sources[role];
  struct epoll_event event = {.events = events, .data.ptr = source};
  if (fd < 0) return 0;
  if (epoll_ctl(process->watcher->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) return -1;
  source->fd = fd;
  return 0;
}

static void set_nonblocking(int fd) {
  if (fd >= 0) (void)fcntl(fd, F_SETFL, O_NONBLOCK); /* Our own end of a pipe, with no other flag: this cannot fail. */
}

/* ---------------------------------------------------------------- output */

static int make_room(struct output *output, size_t room) {
  if (output->capacity - output->size >= room) return 1;
  size_t capacity = output->capacity < room ? output->size + room : output->capacity * 2;
  char *bytes = realloc(output->bytes, capacity);
  if (bytes == NULL) return 0;
  output->bytes = bytes;
  output->capacity = capacity;
  return 1;
}

static void hand_over(struct process *process, int stream) {
  struct output *output = &process->outputs[stream];
  if (output->size == 0 || (!output->streamed && output->size < LARGEST_PIECE)) return;
  const struct piece piece = {output->bytes, output->size};
  output->bytes = NULL;
  output->size = output->capacity = 0;
  process->watcher->events->on_output(process->context, stream, piece);
}

/* Adds what one read gives: its size, or a negative errno. */
static ssize_t read_piece(struct process *process, int stream) {
  struct output *output = &process->outputs[stream];
  const int fd = process->sources[ROLE_STDOUT + stream].fd;
  if (output->enlarged) {
    if (!make_room(output, READ_BUDGET)) return -ENOMEM;
    const ssize_t size = read(fd, output->bytes + output->size, READ_BUDGET);
    return size < 0 ? -errno : size;
  }
  char *page = process->watcher->page;
  const ssize_t size = read(fd, page, SMALL_READ);
  if (size <= 0) return size < 0 ? -errno : 0;
  if (!make_room(output, (size_t)size)) return -ENOMEM;
  memcpy(output->bytes + output->size, page, (size_t)size);
  return size;
}

/* Reads until the pipe is empty, at its end, or `budget` bytes have come. True: there may be more. */
static int read_output(struct process *process, int stream, size_t budget) {
  struct source *source = &process->sources[ROLE_STDOUT + stream];
  struct output *output = &process->outputs[stream];
  size_t got = 0;
  while (source->fd >= 0 && got < budget) {
    const ssize_t size = read_piece(process, stream);
    if (size > 0) {
      output->size += (size_t)size;
      got += (size_t)size;
      if (size == SMALL_READ && !output->enlarged) {
        output->enlarged = 1;
        /* A wish; users have a share of such memory. */
        if (!process->keeps_pipe_size) (void)fcntl(source->fd, F_SETPIPE_SZ, READ_BUDGET);
      }
    } else if (size == -EINTR) {
      continue;
    } else if (size == -EAGAIN) {
      return 0;
    } else {
      /* Without memory the writer is told so by its next write, and who reads at the end. */
      if (size == -ENOMEM) process->end.lost |= 1 << stream;
      close_source(source);
    }
  }
  return source->fd >= 0;
}

/* ---------------------------------------------------------------- input */

static void write_input(struct process *process) {
  struct source *source = &process->sources[ROLE_INPUT];
  size_t *written = &process->end.input_written;
  const size_t last = *written + WRITE_BUDGET;
  while (source->fd >= 0 && *written < process->input_size && *written < last) {
    const ssize_t size = write(source->fd, process->input + *written, process->input_size - *written);
    if (size >= 0) {
      *written += (size_t)size;
    } else if (errno == EAGAIN) {
      return;
    } else if (errno != EINTR) {
      close_source(source); /* EPIPE: the child does not want more. That is its affair. */
    }
  }
  if (*written == process->input_size) close_source(source);
}

/* ---------------------------------------------------------------- the end */

static void take_status(struct process *process) {
  siginfo_t info = {0};
  long result = -1;
  if (!process->only_looks) {
    do {
      /* The C library's waitid() has no place for the usage. */
      result = syscall(SYS_waitid, P_PIDFD, process->sources[ROLE_EXIT].fd, &info, WEXITED | WNOHANG | __WALL,
                       &process->end.usage);
    } while (result < 0 && errno == EINTR);
  }
  if (result == 0 && info.si_pid == 0) return; /* Not yet. */
  process->has_ended = 1;
  process->watcher->ended++;
  process->end.code =
      result == 0 ? info.si_code : 0; /* 0: somebody else reaps it, and nobody here knows how it ended. */
  process->end.status = result == 0 ? info.si_status : 0;
  close_source(&process->sources[ROLE_EXIT]); /* It would go on being ready. */
}

static int is_reading(const struct process *process) {
  return process->sources[ROLE_STDOUT].fd >= 0 || process->sources[ROLE_STDERR].fd >= 0;
}

void watcher_expect(struct watcher *watcher, int more) {
  watcher->kept += (unsigned)more;
  if (!watcher->has_loop) return;
  if (watcher->kept == 0)
    uv_unref((uv_handle_t *)&watcher->poll);
  else
    uv_ref((uv_handle_t *)&watcher->poll);
}

static void keep(struct process *process, int is_kept) {
  if (process->is_kept == is_kept) return;
  process->is_kept = is_kept;
  watcher_expect(process->watcher, is_kept ? 1 : -1);
}

static void discard(struct process *process) {
  for (int stream = 0; stream < OUTPUTS; stream++) free(process->outputs[stream].bytes);
  free(process);
}

static void unlink_process(struct process *process) {
  if (process->previous != NULL)
    process->previous->next = process->next;
  else
    process->watcher->processes = process->next;
  if (process->next != NULL) process->next->previous = process->previous;
}

/*
 * Reads what a helper has to report: that its exec comes next, that a step failed, or both. At the last look there is a
 * report or there is none: nothing more will come. Where the first is missing, a child tells by its status how it ended; a
 * daemon has none for us, so the missing word is the failure.
 */
static void take_report(struct process *process, int is_last) {
  struct source *source = &process->sources[ROLE_REPORT];
  const int is_daemon = process->sources[ROLE_EXIT].fd < 0 && !process->has_ended;
  struct report report;
  ssize_t size;
  while ((size = read(source->fd, &report, sizeof report)) == sizeof report && !report.failed)
    process->announced_exec = 1;
  if (size < 0 && (errno == EAGAIN || errno == EINTR) && !is_last) return;
  if (size != sizeof report) {
    report = (struct report){.failed = is_daemon && process->announces_exec && !process->announced_exec,
                             .step = process->announced_exec ? 0 : -1};
  }
  close_source(source);
  if (is_daemon) {
    process->has_ended = 1; /* A daemon: its report is all that there was to wait for. */
    process->watcher->ended++;
  }
  process->watcher->events->on_report(process->context, &report);
}

/* The child is dead: reads what it left, and lets go of everything. What it leads to is told later, when nothing here is half done. */
static void finish(struct process *process) {
  struct watcher *watcher = process->watcher;
  /* epoll tells of 64 events at once: the end may be the last of them, and the report the first of the next. */
  if (process->sources[ROLE_REPORT].fd >= 0) take_report(process, 1);
  for (int stream = 0; stream < OUTPUTS; stream++) {
    (void)read_output(process, stream, LAST_READ);
    hand_over(process, stream);
  }
  if (process->read_to_end && is_reading(process)) return;
  process->end.held_open = is_reading(process);
  if (process->leaves_stderr) process->end.left_stderr = take_out(&process->sources[ROLE_STDERR]);
  for (int role = 0; role < ROLES; role++) close_source(&process->sources[role]);
  unlink_process(process);
  watcher->ended--;
  process->next = watcher->done;
  watcher->done = process;
}

static void tell_end(struct process *process) {
  struct piece output[OUTPUTS];
  for (int stream = 0; stream < OUTPUTS; stream++) {
    output[stream] = (struct piece){process->outputs[stream].bytes, process->outputs[stream].size};
    process->outputs[stream].bytes = NULL;
  }
  keep(process, 0);
  process->watcher->events->on_end(process->context, &process->end, output);
  if (process->end.left_stderr >= 0) close(process->end.left_stderr);
  discard(process);
}

/* ---------------------------------------------------------------- events */

static void on_source(struct source *source) {
  struct process *process = source->process;
  switch (source->role) {
    case ROLE_EXIT:
      take_status(process);
      break;
    case ROLE_REPORT:
      take_report(process, 0);
      break;
    case ROLE_INPUT:
      write_input(process);
      break;
    default:
      (void)read_output(process, (int)source->role - ROLE_STDOUT, READ_BUDGET);
      hand_over(process, (int)source->role - ROLE_STDOUT);
  }
}

void watcher_turn(struct watcher *watcher, int timeout) {
  struct epoll_event ready[EVENTS];
  int is_readable = 0;
  const int count = epoll_wait(watcher->epoll_fd, ready, EVENTS, timeout);
  for (int i = 0; i < count; i++) {
    struct source *source = ready[i].data.ptr;
    uint64_t ignored;
    if (source == NULL)
      (void)!read(watcher->wake_fd, &ignored, sizeof ignored);
    else if (ready[i].data.ptr == watcher)
      is_readable = 1;
    else if (source->fd >= 0)
      on_source(source); /* An earlier event of this turn may have closed it. */
  }
  for (struct process *process = watcher->processes, *next; process != NULL && watcher->ended > 0; process = next) {
    next = process->next; /* Only a finished process leaves the list, and only here. */
    if (process->has_ended) finish(process);
  }
  /* What a callback does now, such as to launch the next command, finds everything in order. */
  while (watcher->done != NULL) {
    struct process *process = watcher->done;
    watcher->done = process->next;
    tell_end(process);
  }
  if (is_readable) watcher->on_readable(watcher->owner);
}

int watcher_look(struct watcher *watcher, int fd, void (*on_readable)(void *owner)) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = watcher};
  watcher->on_readable = on_readable;
  return epoll_ctl(watcher->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

static void on_ready(uv_poll_t *poll, int status, int events) {
  (void)status;
  (void)events;
  struct watcher *watcher = poll->data;
  watcher_turn(watcher, 0);
  watcher->events->on_turn_end(watcher->owner);
}

/* ---------------------------------------------------------------- the interface */

struct watcher *watcher_new(uv_loop_t *loop, const struct watch_events *events, void *owner, uint32_t first_id) {
  struct watcher *watcher = calloc(1, sizeof *watcher);
  if (watcher == NULL) return NULL;
  watcher->events = events;
  watcher->owner = owner;
  watcher->last_id = first_id;
  watcher->has_loop = loop != NULL;
  watcher->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  watcher->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
  if (watcher->epoll_fd < 0 || watcher->wake_fd < 0) goto fail;
  if (epoll_ctl(watcher->epoll_fd, EPOLL_CTL_ADD, watcher->wake_fd, &wake) < 0) goto fail;
  if (loop == NULL) return watcher;
  const int result = uv_poll_init(loop, &watcher->poll, watcher->epoll_fd);
  if (result < 0) {
    errno = -result; /* Not every failure of libuv is one of the kernel, and a failure with 0 would look like none. */
    goto fail;
  }
  watcher->poll.data = watcher;
  (void)uv_poll_start(&watcher->poll, UV_READABLE, on_ready); /* Fails only on a closed handle. */
  uv_unref((uv_handle_t *)&watcher->poll);
  return watcher;

fail:;
  const int why = errno;
  if (watcher->epoll_fd >= 0) close(watcher->epoll_fd);
  if (watcher->wake_fd >= 0) close(watcher->wake_fd);
  free(watcher);
  errno = why;
  return NULL;
}

static void free_watcher(struct watcher *watcher) {
  close(watcher->epoll_fd);
  close(watcher->wake_fd);
  watcher->on_closed(watcher->closed_context);
  free(watcher);
}

static void on_closed(uv_handle_t *handle) {
  free_watcher(handle->data);
}

/* Ends the children that this thread still keeps, all before any is waited for. Those that it does not keep, it lets live. */
static void end_kept(struct watcher *watcher) {
  for (struct process *process = watcher->processes; process != NULL; process = process->next) {
    const int pidfd = process->sources[ROLE_EXIT].fd;
    if (pidfd < 0 || process->only_looks || !process->is_kept) continue;
    /* One that has taken other ids is out of reach: who waited for it here would wait for as long as it likes. */
    if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno == EPERM) process->is_kept = 0;
  }
}

void watcher_close(struct watcher *watcher, void (*callback)(void *context), void *context) {
  end_kept(watcher);
  for (struct process *process = watcher->processes, *next; process != NULL; process = next) {
    next = process->next;
    struct source *exit = &process->sources[ROLE_EXIT];
    const int pidfd = exit->fd;
    if (process->only_looks) {
      close_source(exit);
    } else if (pidfd >= 0 && !process->is_kept) {
      (void)epoll_ctl(watcher->epoll_fd, EPOLL_CTL_DEL, pidfd, NULL);
      exit->fd = -1;
      launch_adopt(pidfd);
    } else if (pidfd >= 0) {
      siginfo_t info; /* It is dead, or was already. */
      while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR) {
      }
    }
    for (int role = 0; role < ROLES; role++) close_source(&process->sources[role]);
    watcher->events->on_discard(process->context);
    discard(process);
  }
  watcher->processes = NULL;
  watcher->on_closed = callback;
  watcher->closed_context = context;
  if (watcher->has_loop)
    uv_close((uv_handle_t *)&watcher->poll, on_closed);
  else
    free_watcher(watcher);
}

static struct process *find(struct watcher *watcher, uint32_t id) {
  struct process *process = watcher->processes;
  while (process != NULL && process->id != id) process = process->next;
  return process;
}

/* The numbers begin again after a thousand million launches; a long-lived process gets there. */
static uint32_t next_id(struct watcher *watcher) {
  do watcher->last_id = (watcher->last_id & ~ID_MASK) | ((watcher->last_id + 1) & ID_MASK);
  while ((watcher->last_id & ID_MASK) == 0 || find(watcher, watcher->last_id) != NULL);
  return watcher->last_id;
}

uint32_t watch_start(struct watcher *watcher, const struct watch_options *options) {
  struct process *process = calloc(1, sizeof *process);
  if (process == NULL) return 0;
  const int pidfd = options->only_looks ? fcntl(options->pidfd, F_DUPFD_CLOEXEC, 0) : options->pidfd;
  if (options->only_looks && pidfd < 0) {
    const int why = errno;
    free(process);
    errno = why;
    return 0;
  }
  process->watcher = watcher;
  process->input = options->input;
  process->input_size = options->input_size;
  process->read_to_end = options->read_to_end;
  process->only_looks = options->only_looks;
  process->announces_exec = options->announces_exec;
  process->leaves_stderr = options->leaves_stderr;
  process->keeps_pipe_size = options->keeps_pipe_size;
  process->end.left_stderr = -1;
  process->context = options->context;
  for (int role = 0; role < ROLES; role++) process->sources[role] = (struct source){process, (enum role)role, -1};

  const int fds[ROLES] = {pidfd, options->report_fd, options->input_fd, options->output_fd[STDOUT],
                          options->output_fd[STDERR]};
  for (int role = 0; role < ROLES; role++) {
    if (role != ROLE_EXIT) set_nonblocking(fds[role]);
    if (add_source(process, (enum role)role, fds[role], role == ROLE_INPUT ? EPOLLOUT : EPOLLIN) < 0) {
      const int why = errno;
      for (int added = 0; added < role; added++) {
        if (fds[added] >= 0) (void)epoll_ctl(watcher->epoll_fd, EPOLL_CTL_DEL, fds[added], NULL);
      }
      if (options->only_looks) close(pidfd);
      free(process);
      errno = why;
      return 0;
    }
  }
  for (int stream = 0; stream < OUTPUTS; stream++) process->outputs[stream].streamed = options->streamed[stream];

  process->next = watcher->processes;
  if (process->next != NULL) process->next->previous = process;
  watcher->processes = process;
  process->id = next_id(watcher);
  keep(process, 1);
  write_input(process);
  return process->id;
}

int watch_signal(struct watcher *watcher, uint32_t id, int signal) {
  const struct process *process = find(watcher, id);
  if (process == NULL || process->has_ended) return -ESRCH;
  return syscall(SYS_pidfd_send_signal, process->sources[ROLE_EXIT].fd, signal, NULL, 0) < 0 ? -errno : 0;
}

int watch_take_stop(struct watcher *watcher, uint32_t id) {
  const struct process *process = find(watcher, id);
  siginfo_t info = {0};
  if (process == NULL || process->has_ended || process->sources[ROLE_EXIT].fd < 0) return 0;
  const int result =
      waitid((idtype_t)P_PIDFD, (id_t)process->sources[ROLE_EXIT].fd, &info, WSTOPPED | WNOHANG | __WALL);
  return result == 0 && info.si_pid != 0 ? info.si_status : 0;
}

void watch_leave(struct watcher *watcher, uint32_t id) {
  struct process *process = find(watcher, id);
  if (process == NULL || !process->only_looks || process->has_ended) return;
  close_source(&process->sources[ROLE_EXIT]);
  keep(process, 0);
  unlink_process(process);
  watcher->events->on_discard(process->context);
  discard(process);
}

void watch_stop_reading(struct watcher *watcher, uint32_t id) {
  struct process *process = find(watcher, id);
  const uint64_t one = 1;
  if (process == NULL || !process->read_to_end) return;
  process->read_to_end = 0;
  (void)!write(watcher->wake_fd, &one, sizeof one); /* It is full only if the loop is on its way here already. */
}

void watch_keep(struct watcher *watcher, uint32_t id, int is_kept) {
  struct process *process = find(watcher, id);
  if (process != NULL) keep(process, is_kept);
}
