/* A slot table in use: how many threads, and mails on their way to them, have it. The last one gives it back.
 *
 * Threads: any.
 */
#ifndef PLANE_TABLE_H
#define PLANE_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

struct slot_table;

struct plane_table {
    const struct slot_table *table;
    void (*released)(void *context, const struct slot_table *table);
    void *context;
    _Atomic uint32_t users;
};

/* One user less. */
void plane_table_drop(struct plane_table *table);

#endif
