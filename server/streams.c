#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void streams_open(const char *program)
{
    int fd;

    /* The lowest that is free is the one that open() gives. */
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd < 0) {
            fprintf(stderr, "%s: /dev/null: %s\n", program, strerror(errno));
            exit(EXIT_FAILURE);
        }
    } while (fd <= STDERR_FILENO);
    close(fd);
}

int streams_close(const char *program, int code)
{
    bool failed = ferror(stdout) != 0;

    errno = 0;
    if (fflush(stdout) == 0 && !failed) {
        return code;
    }
    fprintf(stderr, "%s: cannot write to the standard output: %s\n", program,
            errno != 0 ? strerror(errno) : "not all of it was written");
    return code != 0 ? code : EXIT_FAILURE;
}
