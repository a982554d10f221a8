/* The archive's store of objects (object_store.h), one for all nodes, which fails as S3 does.
 *
 * A PUT takes its way there and back. What may become of it: an error, and nothing is done; it is done, and the answer is
 * lost; it never comes there; it comes there late, long after who asked was told that it took too long, or is gone. It
 * is told to the life of the node that asked, once or, where the answer comes after the time limit, twice.
 *
 * The store is *harmed* now and then: it is away, so that nothing is well; slow; or fails some of the calls. What it has
 * taken it keeps.
 *
 * Who reads it back, or tidies it up, is given a struct object_store on a loop of his (sim_store_open()), whose calls take
 * no time and do not fail.
 */
#ifndef SIM_STORE_H
#define SIM_STORE_H

#include <uv.h>

#include "archive_name.h"
#include "object_store.h"

struct sim;
struct sim_event;

enum {
    SIM_STORE_PUT_US_MAX = 30000, /* There and back, while it is not harmed. */
    SIM_STORE_LIMIT_US = 1000000, /* Then a call that has no answer is told -ETIMEDOUT. */
};

struct sim_object {
    char name[ARCHIVE_NAME_BYTES];
    uint8_t *bytes;
    size_t size;
};

/* A PUT. */
struct sim_put {
    struct sim_object object;
    bool answers; /* It is told when it is done. */
    uint32_t node;
    uint64_t life, call;
    void (*done)(struct sim *sim, const struct sim_event *event);
};

struct sim_store {
    struct sim *sim;
    struct sim_object *objects; /* In the order of names. */
    uint32_t object_count, object_capacity;
    struct sim_put *puts; /* All that there were. */
    uint32_t put_count, put_capacity;
    bool away, slow, fails;
    uint64_t harmed_us; /* It was harmed until then. */
};

/* It is harmed now and then until sim->heals_us. */
void sim_store_init(struct sim_store *store, struct sim *sim);
void sim_store_fini(struct sim_store *store);

/* A node stores an object, copied: as OBJECT_PUT with `only_new`. `done` is told the result in event->a (as an int64_t) and
 * the number of the call in event->b. */
void sim_store_put(struct sim_store *store, uint32_t node, const char *name, struct bytes body,
                   uint64_t call, void (*done)(struct sim *sim, const struct sim_event *event));

/* For access_open_store(); the context is the struct sim_store. */
int sim_store_open(void *context, uv_loop_t *loop, struct object_store **opened);

#endif
