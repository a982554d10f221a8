/* The inside of what other nodes are asked for (far.h), for far.c and far_wait.c. */
#ifndef FAR_PRIVATE_H
#define FAR_PRIVATE_H

#include "far.h"
#include "shard.h"
#include "slot.h"

struct far_call {
    struct far_call *next, *previous;
    uint64_t ticket;
    uint32_t link;        /* Its index; FAR_NO_LINK: it waits. */
    uint32_t node, shard; /* Of a scan: whom to ask. */
    bool asked;           /* Once or more, but for who has said that it was not done there... */
    bool maybe;           /* ... and there was no answer, so that it may have been done. */
    bool turned_back;     /* Who was asked cannot coordinate it now. */
    bool rests;           /* It waits for what an archive has of its slot. */
    uint64_t order;       /* In which they came here. */
    uint64_t begun_us, asked_us;
    uint64_t held_us;       /* A switch of the slot holds it since then; 0: none does. */
    uint64_t begun_ms;      /* Wall time. */
    size_t size;            /* Of the block. */
    struct request request; /* Its key, version and body lie behind. */
    uint8_t bytes[];
};

enum { FAR_NO_LINK = UINT32_MAX, FAR_NO_SHARD = UINT32_MAX };

static inline uint32_t far_slot_of(const struct request *request)
{
    return slot_of_position(request->position);
}

extern const char far_nobody_text[]; /* Of an answer UNAVAILABLE. */

/* ---- far.c ---- */

/* No switch holds it any more: it is asked, executed or given up. */
void far_end_held(struct shard_thread *thread, struct far_call *away);

/* The call is asked no more; it is in no list. */
void far_give_up(struct shard_thread *thread, struct call *call);

/* In place of an answer. The call is over. */
void far_refuse(struct shard_thread *thread, struct call *call, enum status status,
                const char *text);

/* What is left of the request's time, in ms; 0: there is no limit. */
uint32_t far_left_ms(const struct shard_thread *thread, const struct request *request);

/* Ask over a link, to coordinate it (`asks`) or if it does so. It is in no list before. Returns 0; -EAGAIN: the link is full;
 * -ENOTCONN; -EINVAL, -ENOMEM; it is in no list then. */
int far_ask_link(struct shard_thread *thread, const struct call *call, struct far_call *away,
                 struct link *link, bool asks);

/* The link to the shard of that node's that has the slot; NULL: there is none. */
struct link *far_link_of(struct shard_thread *thread, const struct copies_route *route);

/* ---- far_wait.c ---- */

void far_list_append(struct far_list *list, struct far_call *away);
void far_list_leave(struct far_list *list, struct far_call *away);

/* It waits for somebody who coordinates it, behind what waits for its slot and came here before it. `route`: what was found; NULL:
 * nobody has looked. */
void far_wait(struct shard_thread *thread, struct far_call *away, const struct copies_route *route);

/* It waits no more. */
void far_wait_no_more(struct shard_thread *thread, struct far_call *away);

#endif
