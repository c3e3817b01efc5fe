{
  'target_defaults': {
    'cflags': ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden', '-fno-strict-aliasing'],
  },
  'targets': [
    {
      'target_name': 'vircommand',
      'sources': ['addon.c', 'accounts.c', 'pidlock.c', 'pidfd.c', 'hook.c', 'watch.c', 'launch.c', 'replace.c', 'child.c', 'decode.c'],
      'defines': ['NAPI_VERSION=8'],
    },
    {
      # A program of its own, and a static one: it must start fast, and need nothing of the system that it runs on.
      'target_name': 'vircommand-helper',
      'type': 'executable',
      'sources': ['helper.c', 'child.c', 'decode.c'],
      'ldflags!': ['-rdynamic', '-pie'],
      'ldflags': ['-static', '-no-pie'],
    },
  ],
}
