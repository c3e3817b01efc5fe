{
  # The addon with AddressSanitizer and UndefinedBehaviorSanitizer, for `npm run test:sanitize`. child.c and thread.c have none: they run in
  # a child that shares this memory, and in a thread that the C library does not know, where the sanitizers' own calls would be as wrong as any other
  # of a library.
  'target_defaults': {
    'cflags': ['-std=gnu11', '-D_GNU_SOURCE', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden', '-fno-strict-aliasing', '-fno-omit-frame-pointer'],
    'include_dirs': ['../../../src/native'],
  },
  'targets': [
    {
      'target_name': 'child',
      'type': 'static_library',
      'cflags': ['-fPIC'],
      'sources': ['../../../src/native/child/child.c', '../../../src/native/launcher/thread.c'],
    },
    {
      'target_name': 'vircommand',
      'dependencies': ['child'],
      'cflags': ['-fsanitize=address,undefined', '-fno-sanitize-recover=undefined'],
      'ldflags': ['-fsanitize=address,undefined'],
      'defines': ['NAPI_VERSION=8'],
      # All that is there, so that a new file is not forgotten.
      'sources': ['<!@(find ../../../src/native -path ../../../src/native/build -prune -o -name "*.c" -not -name child.c -not -name thread.c -not -name helper.c)'],
    },
  ],
}
