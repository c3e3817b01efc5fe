/* Descriptors that a launch needs. All of them are closed on exec from the start. */
#ifndef VIRCOMMAND_DESCRIPTORS_H
#define VIRCOMMAND_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

/* Makes pipes, all or none: two ends each, reading and writing. 0, or an errno. */
int descriptors_pipes(int32_t *ends, size_t count);

/* Opens /dev/null for reading and writing. A descriptor, or a negative errno. */
int descriptors_null_device(void);

/* Makes a file in memory that holds the bytes. A descriptor, or a negative errno. */
int descriptors_memory_file(const void *bytes, size_t size);

#endif
