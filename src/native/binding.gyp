{
  'target_defaults': {
    'include_dirs': ['.'],
    'cflags': ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden', '-fno-strict-aliasing'],
  },
  'targets': [
    {
      'target_name': 'vircommand',
      'sources': [
        'addon/addon.c', 'addon/addon-launch.c', 'addon/addon-watch.c', 'addon/addon-pidfile.c', 'addon/addon-process.c',
        'addon/addon-descriptors.c', 'addon/addon-terminal.c',
        'process/owned.c', 'process/launch.c', 'process/exec.c', 'process/watch.c', 'process/pidlock.c',
        'launcher/launcher.c', 'launcher/thread.c',
        'host/accounts.c', 'host/processes.c', 'host/descriptors.c', 'host/terminal.c',
        'child/child.c', 'child/decode.c',
      ],
      'defines': ['NAPI_VERSION=8'],
    },
    {
      # A program of its own, static and without a C library: it must start fast, and need nothing of the system that it runs on.
      'target_name': 'vircommand-helper',
      'type': 'executable',
      'sources': ['child/helper.c', 'child/child.c', 'child/decode.c'],
      'cflags': ['-fno-builtin', '-fno-stack-protector', '-fno-pie', '-U_FORTIFY_SOURCE', '-fno-asynchronous-unwind-tables'],
      'ldflags!': ['-rdynamic', '-pie'],
      'ldflags': ['-static', '-no-pie', '-nostdlib', '-Wl,-z,noseparate-code', '-Wl,--build-id=none'],
    },
  ],
}
