/*
 * What the files of the glue share: the environment, the reading of arguments, and the making of values. The glue turns values
 * of JavaScript into calls of the files in child, process and host, and their answers into values. It has no policy, and makes
 * no system call. The contract of each function is written in src/native/binding.ts.
 */
#ifndef VIRCOMMAND_ADDON_H
#define VIRCOMMAND_ADDON_H

#include <node_api.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>

#include "child/plan.h"
#include "launcher/launcher.h"
#include "process/owned.h"

/* All state of the addon. Each environment of Node has its own, so the addon can be loaded in several threads, and twice in one. */
struct environment {
  napi_env env;
  napi_async_cleanup_hook_handle cleanup;
  napi_async_context async;  /* in which the event loop calls back into JavaScript */
  napi_callback_scope scope; /* of this turn, from its first event on; else NULL */
  napi_handle_scope handles; /* the same */
  struct watcher *watcher;   /* turned by the event loop */
  struct watcher *waiter;    /* turned by runSync(), which holds the loop */
  struct launcher *launcher; /* or NULL: every launch holds this thread */
  bool has_no_launcher;      /* the kernel refuses it */
  bool settles;              /* JavaScript waits for launches on this very stack */
  char *stack;               /* of children, while they share this memory */
  struct owned owned;        /* what it has made in the kernel */
  struct held *held;         /* the pidfiles that it holds */
  uint32_t last_held;
  struct poll *polls; /* the terminals that it waits for */
  uint32_t last_poll;
  uint32_t open_polls; /* their handles, those that are being closed included */
  bool has_watchers;   /* or has not told yet that they are closed */
};

/* ---------------------------------------------------------------- places */

/* Numbers that cross the boundary in an array have names here, and the same in `places` of binding.ts. A test compares them. */
enum launch_place {
  LAUNCH_PID,
  LAUNCH_PIDFD,
  LAUNCH_FAILED,
  LAUNCH_STEP,
  LAUNCH_ERRNO,
  LAUNCH_DETAIL, /* of a pidfile: see pidfile_acquire() */
  LAUNCH_PLACES
};

enum exec_place { EXEC_STEP, EXEC_ERRNO, EXEC_PLACES };

enum watch_place {
  WATCH_PIDFD,
  WATCH_REPORT,
  WATCH_INPUT,
  WATCH_STDOUT,
  WATCH_STDERR,
  WATCH_STDOUT_STREAMED,
  WATCH_STDERR_STREAMED,
  WATCH_READ_TO_END,
  WATCH_WAITS, /* by turn(), without the event loop */
  WATCH_ANNOUNCES_EXEC,
  WATCH_LEAVES_STDERR,
  WATCH_KEEPS_PIPE_SIZE,
  WATCH_PLACES
};

/* What a callback is given: the event first, and then its values. */
enum watch_event { EVENT_REPORT, EVENT_OUTPUT, EVENT_END, EVENTS_OF_WATCH };
enum report_place { REPORT_EVENT, REPORT_FAILED, REPORT_STEP, REPORT_ERRNO, REPORT_DETAIL, REPORT_PLACES };
enum output_place { OUTPUT_EVENT, OUTPUT_STREAM, OUTPUT_PIECE, OUTPUT_PLACES };
enum end_place {
  END_EVENT,
  END_CODE,
  END_STATUS,
  END_HELD_OPEN,
  END_LOST,
  END_INPUT_WRITTEN,
  END_USER_MS,
  END_SYSTEM_MS,
  END_MAX_RSS_KIB,
  END_STDOUT,
  END_STDERR,
  END_LEFT_STDERR,
  END_PLACES
};

enum reap_place { REAP_CODE, REAP_STATUS, REAP_USER_MS, REAP_SYSTEM_MS, REAP_MAX_RSS_KIB, REAP_PLACES };

/* ---------------------------------------------------------------- values */

/* Returns from a function of the addon, with an exception, where a call of Node fails or an argument is wrong. */
#define CHECK(env, call)                                                                                 \
  do {                                                                                                   \
    if ((call) != napi_ok) {                                                                             \
      napi_throw_error((env), NULL, "vircommand: the addon was called with other values than it takes"); \
      return NULL;                                                                                       \
    }                                                                                                    \
  } while (0)

struct environment *environment_of(napi_env env);

napi_value number(napi_env env, double value);

double milliseconds(struct timeval time);

/* Reads so many arguments, which must be there. */
napi_status arguments(napi_env env, napi_callback_info info, size_t count, napi_value *ret_values);

/* The same for arguments that are all integers. */
napi_status integers(napi_env env, napi_callback_info info, size_t count, int32_t *ret_numbers);

/* Reads an Int32Array, or a Float64Array, of at least so many elements. */
napi_status int32_array(napi_env env, napi_value value, size_t least, int32_t **ret_numbers, size_t *ret_count);
napi_status float64_array(napi_env env, napi_value value, size_t least, double **ret_numbers);

/* Reads a plan from a copy of its bytes: another thread could write to them meanwhile. False: it has thrown. NULL: no memory. */
bool read_plan(napi_env env, const void *bytes, size_t size, struct plan **ret_plan);

/* ---------------------------------------------------------------- calling back */

/* A way back into JavaScript. */
struct context {
  struct environment *environment;
  napi_ref callback;
  napi_ref input;
  int waits; /* JavaScript waits for the event on this very stack */
};

/* Where handles can be made for an event, and JavaScript be called; the counterpart is napi_close_handle_scope(). */
int enter(struct context *context, napi_handle_scope *ret_scope);
void call_back(struct context *context, size_t argc, const napi_value *argv);
void forget(struct context *context);

/* ---------------------------------------------------------------- functions */

/* Every function of the addon: its name in JavaScript, and in C. */
#define FOR_EACH_FUNCTION(FUNCTION)                        \
  FUNCTION("probe", addon_probe)                           \
  FUNCTION("hasCoreScheduling", addon_has_core_scheduling) \
  FUNCTION("environment", addon_environment)               \
  FUNCTION("pipe", addon_pipe)                             \
  FUNCTION("sizePipes", addon_size_pipes)                  \
  FUNCTION("memoryFile", addon_memory_file)                \
  FUNCTION("sendBuffer", addon_send_buffer)                \
  FUNCTION("nullDevice", addon_null_device)                \
  FUNCTION("tryRoom", addon_try_room)                      \
  FUNCTION("giveAway", addon_give_away)                    \
  FUNCTION("closeAll", addon_close_all)                    \
  FUNCTION("hasWriter", addon_has_writer)                  \
  FUNCTION("letBlock", addon_let_block)                    \
  FUNCTION("listenUnix", addon_listen_unix)                \
  FUNCTION("listenTcp", addon_listen_tcp)                  \
  FUNCTION("portOf", addon_port_of)                        \
  FUNCTION("socketPair", addon_socket_pair)                \
  FUNCTION("openTap", addon_open_tap)                      \
  FUNCTION("openTerminal", addon_open_terminal)            \
  FUNCTION("ownTerminal", addon_own_terminal)              \
  FUNCTION("resizeTerminal", addon_resize_terminal)        \
  FUNCTION("terminalModes", addon_terminal_modes)          \
  FUNCTION("setTerminalModes", addon_set_terminal_modes)   \
  FUNCTION("makeRaw", addon_make_raw)                      \
  FUNCTION("foreground", addon_foreground)                 \
  FUNCTION("setForeground", addon_set_foreground)          \
  FUNCTION("sessionOf", addon_session_of)                  \
  FUNCTION("readTerminal", addon_read_terminal)            \
  FUNCTION("writeTerminal", addon_write_terminal)          \
  FUNCTION("poll", addon_poll)                             \
  FUNCTION("pollFor", addon_poll_for)                      \
  FUNCTION("endPoll", addon_end_poll)                      \
  FUNCTION("launch", addon_launch)                         \
  FUNCTION("launchBeside", addon_launch_beside)            \
  FUNCTION("settle", addon_settle)                         \
  FUNCTION("undo", addon_undo)                             \
  FUNCTION("exec", addon_exec)                             \
  FUNCTION("shelter", addon_shelter)                       \
  FUNCTION("becomeHelper", addon_become_helper)            \
  FUNCTION("ready", addon_ready)                           \
  FUNCTION("watch", addon_watch)                           \
  FUNCTION("turn", addon_turn)                             \
  FUNCTION("signal", addon_signal)                         \
  FUNCTION("takeStop", addon_take_stop)                    \
  FUNCTION("stopReading", addon_stop_reading)              \
  FUNCTION("keep", addon_keep)                             \
  FUNCTION("awaitEnd", addon_await_end)                    \
  FUNCTION("leave", addon_leave)                           \
  FUNCTION("takePidFile", addon_take_pid_file)             \
  FUNCTION("releasePidFile", addon_release_pid_file)       \
  FUNCTION("pidFileHolder", addon_pid_file_holder)         \
  FUNCTION("account", addon_account)                       \
  FUNCTION("openPid", addon_open_pid)                      \
  FUNCTION("signalPid", addon_signal_pid)                  \
  FUNCTION("signalDaemon", addon_signal_daemon)            \
  FUNCTION("hasEnded", addon_has_ended)                    \
  FUNCTION("groupOf", addon_group_of)                      \
  FUNCTION("reap", addon_reap)                             \
  FUNCTION("setSubreaper", addon_set_subreaper)            \
  FUNCTION("processes", addon_processes)

#define DECLARE_FUNCTION(name, function) napi_value function(napi_env env, napi_callback_info info);
FOR_EACH_FUNCTION(DECLARE_FUNCTION)

/* ---------------------------------------------------------------- events */

/* Where the loop calls back into JavaScript: the context for that is made, the scope is entered, and left again. 0: there is none. */
int has_async(struct environment *environment);
int enter_scope(struct environment *environment);
void leave_scope(struct environment *environment);

/* The watcher that has given a process its number. */
struct watcher *watcher_of(napi_env env, int32_t id);

/* ---------------------------------------------------------------- the end of an environment */

/* Ends all waiting for terminals. */
void close_polls(struct environment *environment);

/* Frees an environment that has ended, when nothing of it is left with the loop. */
void leave_environment(struct environment *environment);

/* Gives up all pidfiles that the environment holds. */
void release_pid_files(struct environment *environment);

/* Waits for the launches that have begun; their children are the environment's then, and nobody is told. */
void end_launcher(struct environment *environment);

/* Ends the children that the environment still keeps, and closes its watchers; calls back when that is done. */
void close_watchers(struct environment *environment, void (*on_closed)(void *environment));

#endif
