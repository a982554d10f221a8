/* Requests that another node coordinates: asked there, and answered here as if they had been executed here.
 *
 * The thread of the shard that owns a key's slot asks (copies.h, copies_route()) whether this node coordinates it. If not,
 * the request goes over the link to the shard of that node's that has the slot, with its client's language, and the bytes
 * of the answer come back. There it is looked at again, so one may be passed on, FAR_HOPS_MAX times at most.
 * Rights were checked at the first door. MONITOR shows a command there; the slow log does not count the time that other nodes
 * took.
 *
 * A call that was asked keeps its request. When the link breaks, or is silent for as long as the cluster's options say
 * (copies_silence_us(); the link is ended then, so that nothing is done late that was done elsewhere), or gives no answer for
 * FAR_ANSWER_MS, what may be asked twice is asked again, wherever it belongs by then: reads, and writes with client and
 * sequence, which the dedup window tells from new ones. Others end with MAYBE_APPLIED. What nobody can coordinate now, and was
 * not asked, waits at most FAR_WAIT_MS, then it is UNAVAILABLE; FAR_AGAIN_MS where the client says that other nodes have
 * waited so long before (Get.waited_ms), and a little less than its deadline where that is sooner and nobody is reached.
 *
 * A node that was stopped for a while passes back what lay in its links (pause.h): it is asked anew, as what was not asked.
 *
 * Order: of one connection what is for one key is asked over one link in order, and executed there so. What must be asked
 * again goes in the order it was asked; what is for a slot of which something waits goes behind it.
 *
 * While a slot is switched (replication.h) what is for it may wait here: at who lets go of it, until writes that were taken
 * before are done; at who takes it, what comes from who let go of it until all is merged. What that one was asked before, and
 * finds that he has let go, he passes back; of the same connection what comes meanwhile for the same key waits for it. That is
 * counted as held, and how long (struct plane_held).
 *
 * Unlike requests between threads (turned.h) none is turned back for its answer's size: a connection has so many of them
 * asked as it takes answers of the size that it got before. A client that asks for many large sessions at once, and does
 * not read, may find its connection cut (limits.output_buffer) where its own node would have waited.
 *
 * Memory: a copy of each request, FAR_BYTES_MAX of a thread together; above, it is BUSY. 8 bytes for each slot. Threads: the shard's.
 */
#ifndef FAR_H
#define FAR_H

#include <stdbool.h>
#include <stdint.h>

#include "copies.h"
#include "link.h"

struct call;
struct peer_frame;
struct request;

/* ---- At the node that was asked by a client ---- */

/* How many wait for somebody who coordinates a slot, and how many, which came later, for what an archive has of it. */
struct far_slot {
    uint32_t waits, rests;
};

struct far {
    struct far_list waiting, resting; /* As in a slot: `resting` are not in `waiting`. */
    struct far_slot *slots;
    bool is_older;     /* One of `waiting` is routed: what rests for its slot came later. */
    uint64_t order;    /* Of the last call that came here. */
    uint32_t count;    /* Of calls that were asked or wait... */
    uint64_t bytes;    /* ... and what they take. */
    uint64_t check_us; /* When to look at them next... */
    uint64_t rest_us;  /* ... and at those that rest. */
    uint64_t epoch;    /* Of the table when these were looked at. */
};

/* Returns 0 or -ENOMEM. */
int far_init(struct far *far);
void far_fini(struct far *far);

/* Ask for the call, whose route is not ROUTE_LOCAL. Returns 0: its answer will come; -EAGAIN: what it would go to is full;
 * -EINVAL: it cannot travel; -ENOMEM. */
int far_ask(struct shard_thread *thread, struct call *call, const struct request *request,
            const struct copies_route *route);

/* Does something of the same slot wait? Then the request is to go behind it. */
bool far_waits(const struct shard_thread *thread, const struct request *request);

/* Was another node asked for this key, and has not answered yet? */
bool far_has(struct shard_thread *thread, const struct request *request);
/* Was it so for the call's connection, before the call? */
bool far_precedes(struct shard_thread *thread, const struct call *call,
                  const struct request *request);

/* Ask one shard of a node for its keys; the request is a scan's. Returns as above; -ENOTCONN: there is no link to it. */
int far_ask_shard(struct shard_thread *thread, struct call *call, const struct request *request,
                  uint32_t node, uint32_t shard);

void far_take_answer(struct shard_thread *thread, struct link *link,
                     const struct peer_frame *frame);

/* The link is gone. */
void far_link_lost(struct shard_thread *thread, struct link *link);

/* What waits may go on: it is looked at next. */
void far_look(struct shard_thread *thread);

/* Look at what waits. Returns when to come again, in us. */
uint64_t far_turn(struct shard_thread *thread);

/* The thread's calls go: free what they keep. */
void far_drop(struct shard_thread *thread, struct call *call);

/* ---- At the node that coordinates (far_answer.c) ---- */

void far_take_request(struct shard_thread *thread, struct link *link,
                      const struct peer_frame *frame);

/* The call cannot be executed here, nor passed on: if it is of another node that is told to look elsewhere, and the call
 * is over. Returns whether that was so. */
bool far_pass_back(struct shard_thread *thread, struct call *call);

/* The answer to a call of another node. */
void far_answer(struct shard_thread *thread, const struct call *call, struct bytes answer);

#endif
