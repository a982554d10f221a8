#include "machine.h"

#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* The number that a file begins with. "max" and a missing file are no limit. */
static uint64_t read_limit(const char *path)
{
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen(path, "re");

    if (file != NULL) {
        if (fscanf(file, "%" SCNu64, &limit) != 1) {
            limit = UINT64_MAX;
        }
        fclose(file);
    }
    return limit;
}

/* This process' control group (version 2) as a path below /sys/fs/cgroup. */
static bool control_group(char path[PATH_BYTES])
{
    char line[PATH_BYTES];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");

    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0) {
            snprintf(path, PATH_BYTES, "%s", line + 3);
            found = true;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* The least limit of the group and those around it. */
static uint64_t group_memory_limit(void)
{
    char group[PATH_BYTES], path[PATH_BYTES + 64];
    uint64_t limit = read_limit("/sys/fs/cgroup/memory/memory.limit_in_bytes"); /* Version 1. */

    if (!control_group(group)) {
        return limit;
    }
    for (;;) {
        snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        uint64_t here = read_limit(path);
        limit = here < limit ? here : limit;
        char *slash = strrchr(group, '/');
        if (slash == NULL) {
            return limit;
        }
        *slash = '\0';
    }
}

static uint64_t file_limit(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : 1024;
}

static uint64_t system_number(int name)
{
    long number = sysconf(name);

    return number > 0 ? (uint64_t)number : 1;
}

void machine_look(struct machine *machine)
{
    cpu_set_t cores;
    uint64_t limit = group_memory_limit();

    if (gethostname(machine->host_name, sizeof machine->host_name) != 0 ||
        machine->host_name[0] == '\0') {
        snprintf(machine->host_name, sizeof machine->host_name, "node");
    }
    machine->host_name[sizeof machine->host_name - 1] = '\0';
    machine->cores = sched_getaffinity(0, sizeof cores, &cores) == 0
                         ? (uint32_t)CPU_COUNT(&cores)
                         : (uint32_t)system_number(_SC_NPROCESSORS_ONLN);
    machine->open_files = file_limit();
    machine->memory_bytes = system_number(_SC_PHYS_PAGES) * system_number(_SC_PAGESIZE);
    if (limit < machine->memory_bytes) {
        machine->memory_bytes = limit;
    }
}

static uint64_t us_of(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

uint64_t machine_cpu_us(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? us_of(&usage.ru_utime) + us_of(&usage.ru_stime)
                                               : 0;
}

uint64_t machine_resident_bytes(void)
{
    uint64_t size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%" SCNu64 " %" SCNu64, &size, &resident) != 2) {
        resident = 0;
    }
    fclose(file);
    return resident * system_number(_SC_PAGESIZE);
}

uint64_t machine_disk_free_bytes(const char *path)
{
    struct statvfs room;

    return statvfs(path, &room) == 0 ? (uint64_t)room.f_bavail * room.f_frsize : 0;
}
