/* What the system says about the machine and this process: cores, memory, room on the disk.
 *
 * Threads: any; plain look-ups.
 */
#ifndef MACHINE_H
#define MACHINE_H

#include <stdint.h>

enum { MACHINE_NAME_BYTES = 256 };

struct machine {
    char host_name[MACHINE_NAME_BYTES]; /* "node" where there is none. */
    uint32_t cores;                     /* That this process may run on. */
    uint64_t open_files;                /* The most that this process may ask for. */
    uint64_t memory_bytes; /* Of the machine, or of its control group where that is less. */
};

void machine_look(struct machine *machine);

/* Of this process. */
uint64_t machine_cpu_us(void);
uint64_t machine_resident_bytes(void);

/* Free for this process on the file system of `path`; 0 where that cannot be told. */
uint64_t machine_disk_free_bytes(const char *path);

#endif
