/* What comes in on a link: bytes, frames, and whom they answer.
 *
 * Bytes go to the client's one scratch buffer. A frame that is not whole stays in link->in; the next
 * read completes it there, exactly, and puts what follows in the scratch buffer again. So no byte is
 * moved twice, and a link holds at most one frame.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "client.h"
#include "head.h"

static void bad_frame(struct link *link, const char *reason)
{
    link->client->counters[BELAY_COUNT_BAD_FRAMES]++;
    link_lose(link, reason);
}

static int make_slots(struct link *link, uint32_t count)
{
    if (count == 0 || count > SLOTS_MAX) {
        count = SLOTS_MAX;
    }
    struct link_slot *slots = realloc(link->slots, count * sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        slots[i] = (struct link_slot){.next_free = (uint16_t)(i + 1)};
    }
    link->slots = slots;
    link->slot_count = count;
    link->slots_used = 0;
    link->slot_free = 0;
    return 0;
}

/* The server will not have us, now or ever. */
static void hello_refused(struct link *link, const struct hello_head *head)
{
    struct belay_client *client = link->client;
    char reason[240];

    snprintf(reason, sizeof reason, "the server refused the connection: %s (%.*s)",
             belay_status_text((enum belay_status)head->status),
             (int)(head->text.size < 120 ? head->text.size : 120),
             head->text.size == 0 ? "" : (const char *)head->text.data);
    if (head->status == BELAY_DENIED || head->status == BELAY_INVALID ||
        head->status == BELAY_UNSUPPORTED) {
        client->refused = true;
        client->fail_status = (enum belay_status)head->status;
    }
    link_lose(link, reason);
}

static void see_hlc(struct link *link, uint64_t hlc)
{
    link->hlc = hlc > link->hlc ? hlc : link->hlc;
    link->client->hlc = hlc > link->client->hlc ? hlc : link->client->hlc;
}

static void see_hlcs(struct link *link, const struct belay_request *request)
{
    see_hlc(link, request->result.hlc);
    for (uint32_t i = 0; i < request->items_ready; i++) {
        see_hlc(link, request->items[i].hlc);
    }
}

static void hello_answered(struct link *link, const struct frame *frame)
{
    struct belay_client *client = link->client;
    struct hello_head head;

    if (head_read_hello(frame->head, &head) != 0 ||
        (head.status == BELAY_OK && (frame->type != FRAME_HELLO || head.shards == 0))) {
        bad_frame(link, "the answer to HELLO makes no sense");
        return;
    }
    if (head.status != BELAY_OK) {
        hello_refused(link, &head);
        return;
    }
    if (link->member->number != 0 && head.number != 0 && head.number != link->member->number) {
        link_lose(link, "another node answers there");
        return;
    }
    const char *node = client_node(client, head.node, link->peer);
    if (node == NULL || make_slots(link, head.in_flight_max) != 0) {
        link_lose(link, "no memory");
        return;
    }
    link->node = node;
    link->state = LINK_READY;
    link->tries = 0;
    link->pinged = link->silent = link->member->silent = false;
    link->number = head.number;
    link->shard = head.shard;
    link->map_known = head.map_epoch != 0;
    connect_forget(link);
    client->ready++;
    link->member->ready++;
    client->refused = false;
    client->servers_failed = 0;
    client->counters[BELAY_COUNT_CONNECTS]++;
    client->id = client->id == 0 ? head.client : client->id;
    link->hlc = 0;
    see_hlc(link, head.hlc);
    bool smaller = head.frame_bytes_max != 0 && head.frame_bytes_max < FRAME_BYTES_MAX;
    client->frame_bytes_max = smaller ? head.frame_bytes_max : FRAME_BYTES_MAX;
    client->shards = head.shards;
    if (member_shards(link->member, head.shards) != 0) {
        link_lose(link, "no memory");
        return;
    }
    if (!link->retired) {
        member_landed(link);
        member_adopt(link);
        map_seek(client);
        route_waiting(client);
    }
}

static void slot_release(struct link *link, uint16_t slot)
{
    link->slots[slot] = (struct link_slot){.next_free = link->slot_free};
    link->slot_free = slot;
    link->slots_used--;
}

/* An answer to nothing: the server says why it is about to close. */
static void take_complaint(struct link *link, const struct frame *frame)
{
    struct reply_head head;
    char reason[240];

    if (head_read_reply(frame->head, &head) != 0 || head.status == BELAY_OK) {
        bad_frame(link, "a reply to nothing");
        return;
    }
    snprintf(reason, sizeof reason, "%s (%.*s)", belay_status_text((enum belay_status)head.status),
             (int)(head.text.size < 120 ? head.text.size : 120),
             head.text.size == 0 ? "" : (const char *)head.text.data);
    link_lose(link, reason);
}

static void request_answered(struct link *link, uint16_t slot, const struct frame *frame)
{
    struct belay_client *client = link->client;
    struct belay_request *request = link->slots[slot].request;

    if (frame_take_reply(request, frame, link->node) != 0) {
        bad_frame(link, "a reply that makes no sense");
        return;
    }
    see_hlcs(link, request);
    slot_release(link, slot);
    enum belay_status status = request->result.status;
    bool not_here = status == BELAY_STOPPING || status == BELAY_UNAVAILABLE;
    client->counters[BELAY_COUNT_BUSY] += status == BELAY_BUSY;
    request->busy += status == BELAY_BUSY;
    if (request->before == link && request->before_slot == slot) {
        request->before = NULL;
        if (not_here || status == BELAY_BUSY) {
            return; /* It is asked elsewhere already. */
        }
    }
    request_detach_from(request, link, slot);
    if ((status == BELAY_BUSY && again_pause(request)) || (not_here && again_move(request, link))) {
        return;
    }
    request_end(request);
}

static void take_frame(struct link *link, struct bytes input)
{
    struct frame frame;
    int rc = frame_parse(input, &frame);

    if (rc != 0) {
        bad_frame(link, rc == -EILSEQ ? "a reply's checksum does not match" : "a damaged reply");
        return;
    }
    if ((frame.flags & FRAME_REPLY) == 0) {
        bad_frame(link, "a request in place of a reply");
        return;
    }
    if (link->state == LINK_HELLO) {
        hello_answered(link, &frame);
        return;
    }
    uint16_t slot = (uint16_t)frame.request_id;
    if (frame.type == FRAME_MAP && frame.request_id >> 16 == 0) {
        if (map_told(link, &frame) != 0) {
            bad_frame(link, "a map that makes no sense");
        }
        return;
    }
    if (frame.request_id >> 16 == 0 || slot >= link->slot_count ||
        link->slots[slot].id != frame.request_id) {
        if (frame.type != FRAME_PING) {
            take_complaint(link, &frame);
        }
        return;
    }
    if (link->slots[slot].request == NULL) {
        slot_release(link, slot); /* Too late: it has timed out. */
        return;
    }
    request_answered(link, slot, &frame);
}

/* Keep the beginning of a frame for the next read. */
static void keep_rest(struct link *link, struct bytes rest)
{
    size_t whole = 0;
    int64_t size = frame_size(rest, FRAME_BYTES_MAX);

    if (size < 0) {
        bad_frame(link, size == -EMSGSIZE ? "a reply larger than any may be" : "not a Belay reply");
        return;
    }
    whole = size == 0 ? FRAME_HEADER_BYTES : (size_t)size;
    link->in.size = 0;
    if (buffer_reserve(&link->in, whole) != 0 || buffer_append(&link->in, rest) != 0) {
        link_lose(link, "no memory for a reply");
    }
}

/* Frames that lie in `input`, until the link is lost or the client is closed in a callback. */
static void take_frames(struct link *link, struct bytes input)
{
    while (input.size > 0) {
        int64_t size = frame_size(input, FRAME_BYTES_MAX);
        if (size <= 0 || (size_t)size > input.size) {
            keep_rest(link, input);
            return;
        }
        take_frame(link, bytes_of(input.data, (size_t)size));
        if (link->state != LINK_READY) {
            return;
        }
        input = bytes_of(input.data + size, input.size - (size_t)size);
    }
}

/* Bytes that the frame in link->in still needs; 0 when its size is not known yet. */
static size_t frame_missing(const struct link *link)
{
    int64_t size = frame_size(buffer_bytes(&link->in), FRAME_BYTES_MAX);

    assert(size >= 0); /* keep_rest() looked at it. */
    return size == 0 ? 0 : (size_t)size - link->in.size;
}

static void take_bytes(struct link *link, size_t missing, size_t received)
{
    uint8_t *scratch = link->client->scratch + FRAME_HEADER_BYTES;

    if (missing == 0) {
        size_t before = link->in.size;
        if (before > 0) {
            memcpy(scratch - before, link->in.data, before);
        }
        link->in.size = 0;
        take_frames(link, bytes_of(scratch - before, before + received));
        return;
    }
    size_t taken = received < missing ? received : missing;
    link->in.size += taken;
    if (taken < missing) {
        return;
    }
    struct bytes whole = buffer_bytes(&link->in);
    link->in.size = 0;
    take_frame(link, whole);
    if (link->state == LINK_READY) {
        if (link->in.capacity > SCRATCH_BYTES) {
            buffer_fini(&link->in);
        }
        take_frames(link, bytes_of(scratch, received - taken));
    }
}

void link_receive(struct link *link)
{
    struct belay_client *client = link->client;
    size_t missing = link->in.size == 0 ? 0 : frame_missing(link);
    struct iovec parts[2] = {
        {.iov_base = missing == 0 ? NULL : link->in.data + link->in.size, .iov_len = missing},
        {.iov_base = client->scratch + FRAME_HEADER_BYTES, .iov_len = SCRATCH_BYTES},
    };
    ssize_t received = missing == 0 ? recv(link->fd, parts[1].iov_base, parts[1].iov_len, 0)
                                    : readv(link->fd, parts, 2);

    if (received == 0) {
        link_lose(link, "the server closed the connection");
        return;
    }
    if (received < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            link_lose(link, strerror(errno));
        }
        return;
    }
    client->counters[BELAY_COUNT_BYTES_IN] += (uint64_t)received;
    link->heard_at_ms = uv_now(client->loop);
    if (link->silent) {
        member_was_slow(link->member);
    }
    link->pinged = link->silent = link->member->silent = false;
    take_bytes(link, missing, (size_t)received);
    if (link->state == LINK_READY && !list_empty(&link->queue)) {
        route_queue(link);
    }
}
