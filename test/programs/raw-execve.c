/* Tells what the kernel answers to execve: the errno's name and exit code 99, or the program in its place. No libc stands between. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char *const environment[] = {NULL};
  (void)argc;
  syscall(SYS_execve, argv[1], argv + 1, environment);
  puts(strerrorname_np(errno));
  return 99;
}
