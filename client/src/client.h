/* Inside of libbelay: a client, its requests, and its connections ("links").
 *
 *   write.c, read.c  build requests            link.c   one connection: connect, HELLO, bytes
 *   request.c        their pool, their end     connect.c, receive.c  its beginning, what comes in
 *   frames.c         from requests to frames and back
 *   members.c        nodes and their links     map.c    the map of the cluster, and who tells it
 *   route.c          which link                again.c  when again, and elsewhere
 *   parts.c          many keys, many nodes     tick.c   what time brings
 *   result.c         reading answers           blocking.c  the blocking face
 *   client.c         options to close; the loop
 *
 * A client has members: the first is whatever its list of servers leads to, and of a node alone that is all.
 * Where a node tells of a cluster (client_map.h), every node of it is a member, with links of its own, and a
 * request goes to the member that owns its slot. The list of servers is then asked only where no member can be.
 *
 * Life of a request: _begin takes one from the pool; belay_send() gives it a deadline and route_request()
 * a link; link_send() writes its frame behind those already in the link's output, which leaves once per
 * turn of the loop; the reply finds it by its slot in the link; request_end() runs the callback and puts
 * it back. In between it may wait: in client->waiting for any link, in link->queue for a free slot, or
 * for its time to come after BUSY.
 *
 * Where requests end: only in the loop, so that no callback runs inside belay_send(). What goes wrong
 * inside belay_send() is left for client_tick(), the one timer, to find.
 *
 * Threads: one per client.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include <belay/belay.h>

#include "address.h"
#include "bytes.h"
#include "change.h"
#include "client_map.h"
#include "frame.h"
#include "limits.h"
#include "list.h"
#include "memory.h"
#include "slot.h"

enum {
    SERVERS_MAX = 16,
    PROGRAM_BYTES_MAX = 64,
    CREDENTIAL_BYTES_MAX = 255,
    CONNECTIONS_MAX = 1024,
    PER_SHARD_MAX = 64,
    DEFAULT_PORT = 7400,
    DEFAULT_TIMEOUT_MS = 5000,
    DEFAULT_QUEUE_MAX = 65536,
    CONNECT_MS_MAX = 3000, /* From the first packet to the answer to HELLO. */
    BACKOFF_MS_MIN = 20,   /* Between tries of one link, doubled each time, */
    BACKOFF_MS_MAX = 2000, /* up to this; of it at random between a half and all. */
    SILENCE_MS_MAX = 5000, /* With a request in flight: then PING; after as much again: lost. */
    PROBE_MS = 50,         /* The same where other nodes can be asked: after this PING... */
    SILENT_MS = 70,        /* ...and after this more, without an answer to it, they are asked. */
    TRY_MS = 500,          /* For one server of several, the first time: as CONNECT_MS_MAX. */
    PATIENCE_MAX = 3,      /* So often SILENT_MS is doubled for a node that only was slow... */
    PATIENCE_MS = 10000,   /* ...and so long. */
    MOVES_MAX = 6,         /* So often a request goes on to another node that answers "not here". */
    MOVE_PAUSE_MS = 10,    /* Before the second time, doubled each time. */
    WAITED_MS_MAX =
        2400, /* Nor does it once such nodes have waited so long for one that has the session. */
    MAP_SOURCES_MAX = 3,        /* Nodes that are to tell of changes of the map. */
    SLOTS_MAX = 4096,           /* In flight on one link, whatever the server allows. */
    SCRATCH_BYTES = 128 * 1024, /* Read at once. */
    OUTPUT_BYTES_MAX =
        512 * 1024, /* Above it requests wait in link->queue, but for one of any size. */
    POOL_REQUESTS_MAX = 4096,
    POOL_BUFFER_BYTES_MAX = 16 * 1024, /* A pooled request keeps buffers up to this. */
};

struct belay_options {
    struct address servers[SERVERS_MAX];
    uint32_t server_count;
    uint32_t timeout_ms;
    uint32_t per_shard, total;
    uint32_t queue_max;
    bool fail_fast;
    char program[PROGRAM_BYTES_MAX + 1];
    char user[CREDENTIAL_BYTES_MAX + 1];
    char password[CREDENTIAL_BYTES_MAX + 1];
};

void options_init(struct belay_options *options);

/* An answer taken apart. Pointers lie in the frame: in the read buffer during a callback, in
 * request->reply where the answer is kept. */
struct belay_result {
    enum belay_status status;
    const char *text; /* Terminated. */
    const char *node;
    struct bytes version, owner, value;
    enum belay_ack ack;
    enum belay_type type;
    bool created, repeated, stand_in;
    uint32_t fields, value_bytes, siblings_hidden, retry_after_ms;
    uint64_t absolute_ms, idle_ms, deadline_ms, created_ms, last_access_ms, hlc, cursor;
    const struct belay_request *request; /* What was asked: names and changes. */
    struct bytes asked;                  /* GET: names; WRITE: changes, of this key. */
    uint32_t flags;                      /* GET: enum get_flag. */
    uint8_t frame_type;                  /* As of a request for this key alone. */
    uint32_t change_count;
    uint32_t walked; /* belay_result_change(): results before this index are behind the readers. */
    struct reader walk_changes, walk_results;
};

enum request_state {
    REQUEST_FREE,     /* In the pool, */
    REQUEST_BUILDING, /* given to the caller, */
    REQUEST_WAITING,  /* in client->waiting, */
    REQUEST_QUEUED,   /* in link->queue, */
    REQUEST_SENT,     /* in link->sent, */
    REQUEST_PAUSED,   /* in no list until resume_at_ms, */
    REQUEST_SPLIT,    /* its parts are, each by itself, */
    REQUEST_ENDED,    /* answered; the callback runs, or the caller keeps the result. */
};

struct belay_request {
    struct belay_client *client;
    struct list node;   /* Of the state's list. */
    struct list active; /* In client->active: all that have no answer. */
    enum request_state state;
    enum belay_status wrong; /* What building did wrong; OK: nothing. */
    uint8_t frame_type;
    uint8_t mode, type, ack;
    bool no_retry;
    bool timeout_given;
    bool maybe_applied; /* A write was on its way when its connection was lost. */
    bool kept;          /* The answer outlives the callback. */
    bool type_given;
    bool list_open;       /* WRITE_MANY: a key has begun. */
    bool destroys;        /* The list of changes has DESTROY, so nothing else. */
    uint32_t list_count;  /* Changes in the present list. */
    uint32_t item_count;  /* Keys of a many-key request. */
    uint32_t items_start; /* Many: where the present item begins in `body`. */
    uint32_t flags;
    uint32_t count;
    uint32_t timeout_ms;
    uint32_t key_size;     /* `body` begins with the key, or with SCAN's prefix; then the value. */
    uint16_t key_slot;     /* Of the ring, for routing. */
    uint16_t slot;         /* In link->slots. */
    uint64_t deadline_ms;  /* Of the loop's clock; UINT64_MAX: none. */
    uint64_t resume_at_ms; /* PAUSED. */
    uint64_t cursor;       /* SCAN. */
    uint64_t sequence;     /* Of this write, or of a WRITE_MANY's first; 0: none yet. */
    uint64_t
        hlc_before; /* No try was done before: what its link had told by then, the least over its tries. */
    uint64_t number;      /* Of its sending on its link, ascending. */
    struct link *link;    /* QUEUED, SENT. */
    struct link *before;  /* Sent there as well, earlier, and not answered; NULL: not so. */
    uint16_t before_slot; /* In before->slots. */
    uint32_t avoid;       /* Number of the member that has answered "not here"; 0: none. */
    uint32_t moves;       /* How often that was so, ... */
    uint64_t waited_ms;   /* ... and how long those that said so had taken. */
    uint64_t sent_at_ms;
    uint32_t busy;                   /* Answers BUSY so far. */
    uint32_t turn;                   /* GET_ANY: which of the owners. */
    struct belay_request *whole;     /* It is a part of that. */
    struct belay_request *parts;     /* SPLIT: the first of them... */
    struct belay_request *part_next; /* ...and the next of the same whole. */
    uint32_t parts_left;             /* SPLIT: those without an answer. */
    uint32_t *places;           /* Of a part: which items of the whole it has. From malloc(). */
    struct buffer body;         /* Many: items, each struct item_header, key, list. */
    struct buffer version;      /* Condition or floor; ADMIN: the argument. */
    struct buffer text;         /* Of the result, terminated. */
    struct buffer reply;        /* Copy of the frame, where the answer is kept. */
    struct belay_result *items; /* Many-key results. */
    uint32_t items_ready, items_capacity;
    belay_callback callback;
    void *context;
    struct belay_result result;
};

/* Before each key of a many-key request in `body`. */
struct item_header {
    uint32_t key_size, list_size, list_count;
};

enum link_state {
    LINK_IDLE, /* No socket. May be started at retry_at_ms. */
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_HELLO,
    LINK_READY,
    LINK_CLOSING, /* The poll handle is on its way out; then IDLE. */
};

struct link_slot {
    struct belay_request *request; /* NULL: free, or its request gave up waiting. */
    uint64_t id;                   /* 0: free. */
    uint16_t next_free;
};

struct link {
    struct belay_client *client;
    struct member *member;
    struct list dirty; /* In client->dirty: has output to write this turn. */
    uint32_t index;    /* In member->links. */
    uint32_t shard;    /* READY: where it is. */
    uint32_t number;   /* READY: of the node; 0: it did not say. */
    enum link_state state;
    bool of_list;    /* It is to one of the list of servers. */
    bool retired;    /* To be freed once it is idle. */
    bool pinged;     /* A PING is out because of silence. */
    bool silent;     /* That was not answered in time: its requests were sent elsewhere. */
    bool map_known;  /* READY: the node has a map to tell. */
    bool map_source; /* It was asked, and tells of changes. */
    bool blocked;    /* The socket takes no more now. */
    int fd;          /* -1: none. */
    uv_poll_t poll;
    uv_getaddrinfo_t resolve;
    struct addrinfo *addresses, *address; /* Of the name being tried; the next to try. */
    uint32_t server;                      /* Being tried, index into options. */
    uint32_t tries;                       /* Failed in a row. */
    uint64_t retry_at_ms, give_up_at_ms, heard_at_ms, pinged_at_ms;
    const char *node; /* In client->names. */
    uint64_t hlc;  /* Newest that was told here: another connection may lead to an earlier time. */
    char peer[80]; /* "127.0.0.1:7400" */
    struct list queue, sent;
    struct link_slot *slots;
    uint32_t slot_count, slots_used;
    uint16_t slot_free;
    uint64_t numbers;         /* Given to requests sent. */
    uint64_t numbers_written; /* Those up to it have perhaps reached the server. */
    struct buffer in;         /* A frame that is not whole yet. */
    struct buffer out;
    size_t out_done; /* Of `out`, written. */
};

struct node_name {
    struct node_name *next;
    char text[];
};

/* One of those that requests can go to. */
struct member {
    struct belay_client *client;
    uint32_t number;        /* Of the node in the map; 0: the list of servers, whoever is there. */
    struct address address; /* Of a node in the map. */
    bool serves;            /* By the map. */
    bool silent;            /* One of its links is, and nothing was heard from the others since. */
    uint32_t patience;      /* How often SILENT_MS is doubled... */
    uint64_t patient_until_ms; /* ...until then. */
    uint32_t shards;           /* 0: not known yet. */
    uint32_t ready;            /* Links that are READY. */
    struct link *
        *links; /* By shard, then again by shard (per_shard times). NULL: not wanted yet. */
    uint32_t link_count; /* Of `links`: those that routing uses. */
    uint32_t links_capacity;
};

struct belay_client {
    struct belay_options options;
    uv_loop_t *loop;
    bool loop_own;
    bool closing, closed;
    bool in_callback;
    bool refused;  /* fail_status holds for all that wait: the server will not have us. */
    uv_loop_t own; /* Where loop_own. */
    uv_prepare_t prepare;
    uv_timer_t timer;
    uint32_t handles;    /* Open: links' polls and look-ups, prepare, timer. */
    uint64_t wake_at_ms; /* What the timer is set to; UINT64_MAX: it is stopped. */
    struct list waiting, active, dirty;
    size_t unanswered;
    struct member *servers;  /* The list of servers. */
    struct member **members; /* Nodes by their index in the map; as many as it has. */
    struct client_map *map;  /* NULL: none, or it is of a node alone. */
    uint64_t map_epoch;      /* Of the newest map that was told; 0: none. */
    uint32_t map_sources;
    uint32_t ready;           /* Links that are READY, of all members. */
    uint32_t shards;          /* As the last node said. */
    uint64_t requests_at_ms;  /* No request has anything due before; UINT64_MAX: none has. */
    uint32_t server_at;       /* Next to try. */
    uint32_t servers_failed;  /* In a row, no link ready meanwhile. */
    uint32_t frame_bytes_max; /* Of a body. */
    uint32_t rotation;        /* For requests without a key. */
    uint64_t id, sequence, hlc;
    uint64_t random;
    uint32_t silence_ms;          /* SILENCE_MS_MAX; tests have less patience. */
    uint64_t waited_ms_max;       /* WAITED_MS_MAX; as well. */
    uint32_t probe_ms, silent_ms; /* PROBE_MS and SILENT_MS, likewise. */
    struct list pool;
    uint32_t pool_count;
    uint8_t *scratch; /* FRAME_HEADER_BYTES of room for a cut header, then SCRATCH_BYTES. */
    struct node_name *names;
    uint64_t counters[BELAY_COUNT_MOVES + 1];
    enum belay_status fail_status;
    char trouble[320]; /* The last failure to connect, for texts. */
    void (*closed_callback)(void *context);
    void *closed_context;
};

static inline struct bytes bytes_in(struct belay_bytes bytes)
{
    return bytes_of(bytes.data, bytes.size);
}

static inline struct belay_bytes bytes_out(struct bytes bytes)
{
    return belay_bytes_of(bytes.data, bytes.size);
}

/* ---- client.c ---- */

extern struct memory client_memory; /* malloc(). Has no state: shared by all. */

/* Flush client->dirty before the loop next waits. */
void client_flush_later(struct belay_client *client);
/* Have client_tick() run at that time of the loop's clock, or before. */
void client_wake(struct belay_client *client, uint64_t at_ms);
/* The name of a node, kept until the client is gone. NULL: no memory. */
const char *client_node(struct belay_client *client, struct bytes name, const char *peer);
/* Of 32 random bits. */
uint32_t client_random(struct belay_client *client);
void client_handle_closed(struct belay_client *client);

/* ---- request.c ---- */

/* A request from the pool. NULL: no memory, or closed. */
struct belay_request *request_begin(struct belay_client *client, uint8_t frame_type,
                                    struct belay_bytes key);
/* Remember the first thing that went wrong in building. */
void request_wrong(struct belay_request *request, enum belay_status status);
/* Append to the body. False with `wrong` set where it cannot be. */
bool request_reserve(struct belay_request *request, size_t more);
/* Take it out of every list, and out of its links: it is WAITING then, in no list. The second but for a slot that
 * was answered and released. */
void request_detach(struct belay_request *request);
void request_detach_from(struct belay_request *request, const struct link *link, uint16_t slot);
/* Detach, run the callback with request->result as it stands, give the request back. */
void request_end(struct belay_request *request);
/* End it with a status of this library. `text` NULL: the status's own. */
void request_fail(struct belay_request *request, enum belay_status status, const char *text);
/* Give it back to the pool. */
void request_release(struct belay_request *request);
void request_pool_clear(struct belay_client *client);
bool request_is_write(const struct belay_request *request);
enum belay_status request_submit(struct belay_request *request, belay_callback callback,
                                 void *context, bool kept);
/* A part of a request, which ends like any other, and is kept. */
void request_submit_part(struct belay_request *part, belay_callback callback, void *context);
/* Room for the results of all keys. Returns 0 or -ENOMEM. */
int request_reserve_items(struct belay_request *request);

/* ---- frames.c ---- */

/* Append the frame of a request to `out`. Returns 0, -ENOMEM, -EMSGSIZE. */
int frame_put_request(struct belay_request *request, uint64_t id, uint64_t now_ms,
                      struct buffer *out);
int frame_put_hello(const struct belay_client *client, uint32_t shard_plus_one, struct buffer *out);
int frame_put_ping(uint64_t id, struct buffer *out);
int frame_put_map(uint64_t id, uint64_t epoch, struct buffer *out);
/* Fill request->result from its reply. Returns 0 or -EBADMSG. */
int frame_take_reply(struct belay_request *request, const struct frame *frame, const char *node);

/* ---- link.c ---- */

struct link *link_create(struct member *member, uint32_t index);
/* Can a request be sent now? */
bool link_takes(const struct link *link);
/* Send. Returns 0, -ENOMEM, -EMSGSIZE: the request is then as it was. */
int link_send(struct link *link, struct belay_request *request);
/* Write what has been collected. */
void link_flush(struct link *link);
/* Ask for the map. Returns 0 or -ENOMEM. */
int link_ask_map(struct link *link);
/* The connection is no good, or its time is over: `reason` for people. */
void link_lose(struct link *link, const char *reason);
/* Give up for good; frees the link, at once or when its handles are closed. */
void link_retire(struct link *link);
/* Parts of the above for connect.c: have libuv watch the socket; let go of it; there is none left. */
int link_watch(struct link *link);
void link_shut(struct link *link);
void link_idle(struct link *link);
/* What the socket reports: a positive errno, or 0. */
int link_socket_error(const struct link *link);
/* What time brings. Returns when to look again. */
uint64_t link_tick(struct link *link, uint64_t now_ms);

/* ---- connect.c ---- */

/* Begin to connect. The link must be IDLE. Failure shows in its state and in client_tick(). */
void link_start(struct link *link);
/* The socket is connected, or failed to: say HELLO. */
void connect_done(struct link *link);
/* A try has failed: on with the next address, or the next server after a while. */
void connect_failed(struct link *link, const char *reason);
/* How long to wait before the next try. */
uint64_t connect_backoff_ms(struct link *link);
/* The resolver's answer is no longer needed. */
void connect_forget(struct link *link);

/* ---- receive.c ---- */

/* The socket is readable. */
void link_receive(struct link *link);

/* ---- members.c ---- */

/* Returns NULL where there is no memory. */
struct member *member_create(struct belay_client *client, uint32_t number);
/* Give its links up for good; then free it, NULL too. */
void member_close(struct member *member);
void member_free(struct member *member);
/* The number of its shards is known (again). Returns 0 or -ENOMEM. */
int member_shards(struct member *member, uint32_t shards);
/* Make sure that the link of this place exists and tries to connect, when its time has come. */
void member_want(struct member *member, uint32_t index);
/* The READY link for a request: its own, which is wanted, or another. NULL: there is none. */
struct link *member_link(struct member *member, const struct belay_request *request);
/* How long a PING may be without an answer. A node that was silent and then answered on the same connection was only
 * slow: it is given more time, so that a busy cluster is not asked everything twice. */
uint64_t member_silent_ms(const struct member *member);
void member_was_slow(struct member *member);
/* All its READY links are no good. */
void member_lose(struct member *member, const char *reason);
/* A READY link landed on a shard: it takes that place if it is free. */
void member_landed(struct link *link);
/* A READY link of the list of servers that leads to a node of the map takes a place among its links, if one is
 * free. */
void member_adopt(struct link *link);
/* Of the map, by number. NULL: there is none. */
struct member *member_numbered(const struct belay_client *client, uint32_t number);
/* Its name and address, as of a node that answers; `other` where there is no memory. */
const char *member_name(const struct member *member, const char *other);
/* Try to connect to it without delay, should that be wanted: it is said to serve again. */
void member_hope(struct member *member);

/* ---- map.c ---- */

/* Ask nodes for the map, where fewer than MAP_SOURCES_MAX tell it. */
void map_seek(struct belay_client *client);
/* A link is lost: it tells nothing any more. */
void map_lost(struct link *link);
/* A FRAME_MAP reply came. Returns 0, or -EBADMSG where it makes no sense. */
int map_told(struct link *link, const struct frame *frame);
/* All members of the map give up their links; then they and the map are freed. */
void map_close(struct belay_client *client);
void map_free(struct belay_client *client);

/* ---- route.c ---- */

/* Give a request a link, or let it wait. Returns 0; -ENOMEM or -EMSGSIZE: it is in no list. */
int route_request(struct belay_request *request);
/* Try again for all that wait for a link. */
void route_waiting(struct belay_client *client);
/* A link has free slots: send what it has queued. */
void route_queue(struct link *link);
/* Are there other nodes than that of this link, which may answer in its place? */
bool route_has_others(const struct link *link);
/* The member that a slot's requests go to while all is well. NULL without a map, or where nobody owns it. */
struct member *route_primary(const struct belay_client *client, uint16_t slot);

/* ---- again.c ---- */

/* What a lost link had: send again what may be, end the rest. */
void again_lost(struct link *link, const char *reason);
/* A link is silent: send elsewhere as well what may be sent twice. */
void again_elsewhere(struct link *link);
/* A request was answered BUSY: pause it. False where its deadline is nearer. */
bool again_pause(struct belay_request *request);
/* A request was answered "not here": on to another node. False where that is the answer. */
bool again_move(struct belay_request *request, const struct link *link);

/* ---- parts.c ---- */

/* Send a request of many keys as one part for each node that has some of them. Returns false where it is to be
 * sent whole: one node has them all, or there is no memory. */
bool parts_send(struct belay_request *request);
/* The parts of a request that has ended, or is dropped, go back to the pool. */
void parts_release(struct belay_request *request);

/* ---- tick.c ---- */

/* The timer: deadlines, pauses, links. */
void client_tick(struct belay_client *client);
/* A request has something due then. */
void client_wake_request(struct belay_client *client, uint64_t at_ms);

#endif
