/*
 * Writes as many MiB as it is told to its standard output, as fast as the reader takes them; with a second number, as lines of so
 * many bytes each, the newline included.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static char block[64 * 1024];
  size_t left = argc > 1 ? (size_t)atol(argv[1]) << 20 : 0;
  const size_t line = argc > 2 ? (size_t)atol(argv[2]) : 0;
  memset(block, 'x', sizeof block);
  if (line > 0)
    for (size_t at = line - 1; at < sizeof block; at += line) block[at] = '\n';
  while (left > 0) {
    const ssize_t written = write(1, block, left < sizeof block ? left : sizeof block);
    if (written < 0) return 1;
    left -= (size_t)written;
  }
  return 0;
}
