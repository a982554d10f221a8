/* From a port back to what embeds it. */
#ifndef CONTAINER_H
#define CONTAINER_H

#include <stddef.h>

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
