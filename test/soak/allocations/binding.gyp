{
  # The addon with an allocator that can be made to fail: see allocator.c.
  'targets': [
    {
      'target_name': 'vircommand',
      'cflags': ['-std=gnu11', '-D_GNU_SOURCE', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden', '-fno-strict-aliasing', '-fno-builtin'],
      'ldflags': ['-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup'],
      'defines': ['NAPI_VERSION=8'],
      'include_dirs': ['../../../src/native'],
      'sources': ['allocator.c', '<!@(find ../../../src/native -path ../../../src/native/build -prune -o -name "*.c" -not -name helper.c)'],
    },
  ],
}
