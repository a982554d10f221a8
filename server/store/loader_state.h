/* The inside of the loader, for loader.c (its thread) and loader_port.c (the shard's side). */
#ifndef LOADER_STATE_H
#define LOADER_STATE_H

#include "loader.h"

/* Functions only. */
extern const struct loader_port loader_port;

void loader_block_free(struct loader *loader, struct load_block *block);

/* Give all, then what is asked for; the context is the loader. */
void *loader_main(void *context);

#endif
