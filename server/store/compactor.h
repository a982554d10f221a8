/* The store's thread that compacts (store.h says when), and what it shares with store.c. With store_compact(). */
#ifndef COMPACTOR_H
#define COMPACTOR_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* The thread; the context is the store. */
void *compactor_main(void *context);

/* struct compaction's `breathe`, on whatever thread compacts; the context is the store. */
bool compactor_breathe(void *context);

/* The same of its `keep_lacks`. */
int compactor_keep_lacks(void *context);

/* Keep what is to be kept of what is missing (kept_lacks.h), or tell that it fails. On whatever thread compacts, or when none does. */
void compactor_try_lacks(struct store *store);

/* Before the threads begin, and after each run: what the checkpoint has, for who asks from other threads. */
void compactor_publish(struct store *store, bool failed);

/* Before the threads begin, and then on whatever thread compacts: what the log may grow to, and what of its files is
 * kept. Returns how many bytes of sealed log are due for compaction. */
uint64_t compactor_set_sizes(struct store *store);

#endif
