#include "peer_hello.h"

#include <assert.h>
#include <string.h>

enum {
    HELLO_BYTES = 2 + 2 + CLUSTER_ID_BYTES + 4 + 4 + PEER_NONCE_BYTES,
    CHALLENGE_BYTES = 2 + 4 + 4 + PEER_NONCE_BYTES + PEER_PROOF_BYTES + 8,
    OPEN_BYTES = PEER_PROOF_BYTES + 1 + 4 * 4 + 8 + 8,
    OPENED_BYTES = 4 + 8,
    VERSION_FIRST = 5, /* That any release speaks. Those before it were in none. */
};

/* Nodes are brought to a release one after the other, while the others speak the one before. */
static_assert((int)PEER_VERSION_OLDEST < (int)PEER_VERSION ||
                  (int)PEER_VERSION == (int)VERSION_FIRST,
              "a release speaks the version before its own as well");

#define FITS(bytes) ((int)(bytes) <= (int)PEER_HELLO_BODY_BYTES_MAX)
static_assert(FITS(HELLO_BYTES) && FITS(CHALLENGE_BYTES) && FITS(OPEN_BYTES) &&
                  FITS(OPENED_BYTES) && FITS(2 + PEER_TEXT_BYTES_MAX),
              "every frame has room");
static_assert(PEER_TEXT_BYTES_MAX <= UINT8_MAX, "its size is one byte");

/* ---- Texts ---- */

static void say(struct peer_hello *hello, const char *text)
{
    size_t size = strlen(hello->text), more = strlen(text);

    if (more > PEER_TEXT_BYTES_MAX - size) {
        more = PEER_TEXT_BYTES_MAX - size;
    }
    memcpy(hello->text + size, text, more);
    hello->text[size + more] = '\0';
}

static void say_number(struct peer_hello *hello, uint64_t number)
{
    char digits[21], *at = digits + sizeof digits - 1;

    *at = '\0';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    say(hello, at);
}

/* What came from outside may be anything: only what can be printed is kept. */
static void say_foreign(struct peer_hello *hello, struct bytes text)
{
    size_t size = text.size <= PEER_TEXT_BYTES_MAX ? text.size : PEER_TEXT_BYTES_MAX;

    for (size_t i = 0; i < size; i++) {
        uint8_t byte = text.data[i];
        hello->text[i] = (char)(byte >= ' ' && byte <= '~' ? byte : '?');
    }
    hello->text[size] = '\0';
}

const char *peer_refusal_word(enum peer_refusal refusal)
{
    static const char *const words[PEER_REFUSALS] = {
#define PEER_REFUSAL_WORD(name, number, word) [PEER_REFUSED_##name] = (word),
        PEER_REFUSAL_TABLE(PEER_REFUSAL_WORD)
#undef PEER_REFUSAL_WORD
    };

    assert((size_t)refusal < PEER_REFUSALS);
    return words[refusal];
}

/* ---- Out ---- */

static void put_frame(struct peer_hello *hello, enum peer_kind kind, struct bytes body)
{
    uint8_t *to = hello->out + hello->out_size;

    assert(body.size <= PEER_HELLO_BODY_BYTES_MAX &&
           hello->out_size + PEER_HEAD_BYTES + body.size <= sizeof hello->out);
    peer_frame_head_put(to, (uint8_t)kind, 0, &body, 1);
    memcpy(to + PEER_HEAD_BYTES, body.data, body.size);
    hello->out_size += PEER_HEAD_BYTES + body.size;
}

static void put_hello(struct peer_hello *hello)
{
    uint8_t body[HELLO_BYTES], *to = body;

    store_u16(to, PEER_VERSION);
    store_u16(to + 2, PEER_VERSION_OLDEST);
    memcpy(to + 4, hello->self->cluster, CLUSTER_ID_BYTES);
    to += 4 + CLUSTER_ID_BYTES;
    store_u32(to, hello->self->name.node);
    store_u32(to + 4, hello->self->name.start);
    memcpy(to + 8, hello->transcript.dialer_nonce, PEER_NONCE_BYTES);
    put_frame(hello, PEER_HELLO, bytes_of(body, sizeof body));
}

static void put_challenge(struct peer_hello *hello, uint16_t version, uint64_t clock_ms)
{
    uint8_t body[CHALLENGE_BYTES], *to = body;

    store_u16(to, version);
    store_u32(to + 2, hello->self->name.node);
    store_u32(to + 6, hello->self->name.start);
    to += 10;
    memcpy(to, hello->transcript.acceptor_nonce, PEER_NONCE_BYTES);
    to += PEER_NONCE_BYTES;
    peer_prove(hello->self->secret, PEER_ACCEPTOR, &hello->transcript, to);
    store_u64(to + PEER_PROOF_BYTES, clock_ms);
    put_frame(hello, PEER_CHALLENGE, bytes_of(body, sizeof body));
}

static void put_open(struct peer_hello *hello, uint64_t clock_ms)
{
    const struct peer_wish *wish = &hello->wish;
    uint8_t body[OPEN_BYTES], *to = body;

    peer_prove(hello->self->secret, PEER_DIALER, &hello->transcript, to);
    to += PEER_PROOF_BYTES;
    *to++ = (uint8_t)wish->role;
    store_u32(to, wish->shard);
    store_u32(to + 4, hello->self->shards);
    store_u32(to + 8, wish->to_shard);
    store_u32(to + 12, wish->to_shards);
    store_u64(to + 16, hello->self->epoch);
    store_u64(to + 24, clock_ms);
    put_frame(hello, PEER_OPEN, bytes_of(body, sizeof body));
}

static void put_opened(struct peer_hello *hello)
{
    uint8_t body[OPENED_BYTES];

    store_u32(body, hello->self->shards);
    store_u64(body + 4, hello->self->epoch);
    put_frame(hello, PEER_OPENED, bytes_of(body, sizeof body));
}

static void put_refused(struct peer_hello *hello)
{
    uint8_t body[2 + PEER_TEXT_BYTES_MAX];
    size_t size = strlen(hello->text);

    body[0] = (uint8_t)hello->refusal;
    body[1] = (uint8_t)size;
    memcpy(body + 2, hello->text, size);
    put_frame(hello, PEER_REFUSED, bytes_of(body, 2 + size));
}

/* ---- The end ---- */

static enum peer_hello_state end(struct peer_hello *hello, enum peer_hello_state state)
{
    hello->next = PEER_WANTS_NOTHING;
    hello->state = state;
    return state;
}

/* This side refuses, for the reason that `text` tells already. */
static enum peer_hello_state refuse(struct peer_hello *hello, enum peer_refusal refusal)
{
    hello->refusal = refusal;
    put_refused(hello);
    return end(hello, PEER_HELLO_FAILED);
}

static enum peer_hello_state refuse_for(struct peer_hello *hello, enum peer_refusal refusal,
                                        const char *text)
{
    say(hello, text);
    return refuse(hello, refusal);
}

/* What came is no part of the protocol: whoever it is, it would not understand an answer. */
static enum peer_hello_state give_up(struct peer_hello *hello, const char *text)
{
    say(hello, text);
    hello->refusal = PEER_REFUSED_GARBAGE;
    return end(hello, PEER_HELLO_FAILED);
}

/* ---- What both sides look at ---- */

static bool proof_is_right(struct peer_hello *hello, enum peer_side side, struct bytes proof)
{
    if (peer_proof_is_right(hello->self->secret, side, &hello->transcript, proof.data)) {
        return true;
    }
    refuse_for(hello, PEER_REFUSED_SECRET,
               "the two have different secrets of the cluster: a node gets the right one with a "
               "join token "
               "(belayctl join-token), or with the copy of a member's");
    return false;
}

/* The other's clock was read between `asked_ms` and now. */
static bool clock_is_right(struct peer_hello *hello, uint64_t theirs_ms, uint64_t clock_ms)
{
    uint64_t most = hello->self->clock_skew_max_ms;
    uint64_t ahead = theirs_ms > clock_ms ? theirs_ms - clock_ms : 0;
    uint64_t behind = theirs_ms < hello->asked_ms ? hello->asked_ms - theirs_ms : 0;

    if (ahead <= most && behind <= most) {
        return true;
    }
    say(hello, "the clock of the ");
    say(hello, hello->side == PEER_DIALER ? "called" : "calling");
    say(hello, " node is ");
    say_number(hello, ahead > 0 ? ahead : behind);
    say(hello, ahead > 0 ? " ms ahead of" : " ms behind");
    say(hello, " the other's, more than cluster.max_clock_skew (");
    say_number(hello, most);
    say(hello, " ms): set both by NTP");
    refuse(hello, PEER_REFUSED_CLOCK);
    return false;
}

bool peer_shards_meet(uint32_t shard, uint32_t shards, uint32_t other, uint32_t others)
{
    uint32_t a = shards, b = others;

    if (shard >= shards || other >= others || shards > PEER_HELLO_SHARDS_MAX ||
        others > PEER_HELLO_SHARDS_MAX) {
        return false;
    }
    while (b != 0) { /* Euclid's greatest common divisor. */
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return shard % a == other % a;
}

static enum peer_hello_state take_refused(struct peer_hello *hello, struct bytes body)
{
    struct reader from = reader_of(body);
    uint8_t why = read_u8(&from);
    struct bytes text = read_bytes(&from, read_u8(&from));

    if (!reader_done(&from) || why == PEER_REFUSED_NONE) {
        return give_up(hello, "a refusal that cannot be read");
    }
    hello->refusal = why <= PEER_REFUSED_REMOVED ? (enum peer_refusal)why : PEER_REFUSED_OTHER;
    hello->refused_there = true;
    say_foreign(hello, text);
    return end(hello, PEER_HELLO_FAILED);
}

/* ---- The acceptor ---- */

static enum peer_hello_state refuse_version(struct peer_hello *hello, uint16_t newest,
                                            uint16_t oldest)
{
    say(hello, "the calling node speaks versions ");
    say_number(hello, oldest);
    say(hello, " to ");
    say_number(hello, newest);
    say(hello, " of the protocol of nodes, the called one ");
    say_number(hello, PEER_VERSION_OLDEST);
    say(hello, " to ");
    say_number(hello, PEER_VERSION);
    say(hello, ": bring both to neighbouring releases");
    return refuse(hello, PEER_REFUSED_VERSION);
}

static enum peer_hello_state take_hello(struct peer_hello *hello, struct bytes body,
                                        uint64_t clock_ms)
{
    struct reader from = reader_of(body);
    uint16_t newest = read_u16(&from);
    uint16_t oldest = read_u16(&from);

    if (from.bad || newest < oldest || oldest == 0) {
        return give_up(hello, "a HELLO that cannot be read");
    }
    if (oldest > PEER_VERSION || newest < PEER_VERSION_OLDEST) {
        return refuse_version(hello, newest, oldest);
    }
    struct bytes cluster = read_bytes(&from, CLUSTER_ID_BYTES);
    struct peer_name name = {.node = read_u32(&from)};
    name.start = read_u32(&from);
    struct bytes nonce = read_bytes(&from, PEER_NONCE_BYTES);
    if (from.bad || (newest <= PEER_VERSION && !reader_done(&from)) ||
        (name.node == 0 && name.start != 0)) {
        return give_up(hello, "a HELLO that cannot be read");
    }
    if (memcmp(cluster.data, hello->self->cluster, CLUSTER_ID_BYTES) != 0) {
        return refuse_for(
            hello, PEER_REFUSED_CLUSTER,
            "the two belong to different clusters: a node with an empty data directory enters one "
            "with belayd --join TOKEN");
    }
    if (name.node == hello->self->name.node) {
        return refuse_for(
            hello, PEER_REFUSED_NODE,
            "both have the same number: an address of another node leads to the node itself, or "
            "its data directory was copied");
    }
    memcpy(hello->transcript.cluster, cluster.data, CLUSTER_ID_BYTES);
    memcpy(hello->transcript.dialer_nonce, nonce.data, PEER_NONCE_BYTES);
    hello->transcript.dialer = name;
    hello->asked_ms = clock_ms;
    put_challenge(hello, newest < PEER_VERSION ? newest : PEER_VERSION, clock_ms);
    hello->next = PEER_WANTS_OPEN;
    return hello->state;
}

static enum peer_hello_state refuse_shards(struct peer_hello *hello, uint32_t to_shards)
{
    if (to_shards != hello->self->shards) {
        say(hello, "the called node has ");
        say_number(hello, hello->self->shards);
        say(hello, " shards and not ");
        say_number(hello, to_shards);
        say(hello, ": the calling one learns it from its next control link");
    } else {
        say(hello, "these two shards have no slot in common");
    }
    return refuse(hello, PEER_REFUSED_SHARDS);
}

static enum peer_hello_state take_open(struct peer_hello *hello, struct bytes body,
                                       uint64_t clock_ms)
{
    struct reader from = reader_of(body);
    struct bytes proof = read_bytes(&from, PEER_PROOF_BYTES);
    uint8_t role = read_u8(&from);
    struct peer_opening opening = {.from = hello->transcript.dialer, .shard = read_u32(&from)};
    opening.shards = read_u32(&from);
    opening.to_shard = read_u32(&from);
    uint32_t to_shards = read_u32(&from);
    opening.epoch = read_u64(&from);
    uint64_t theirs_ms = read_u64(&from);

    if (!reader_done(&from)) {
        return give_up(hello, "an OPEN that cannot be read");
    }
    if (!proof_is_right(hello, PEER_DIALER, proof)) {
        return hello->state;
    }
    if (role < PEER_ROLE_CONTROL || role > PEER_ROLE_JOIN ||
        (role == PEER_ROLE_JOIN) != (opening.from.node == 0) || opening.shards == 0 ||
        opening.shards > PEER_HELLO_SHARDS_MAX) {
        return refuse_for(hello, PEER_REFUSED_OTHER, "the called node does not know such a link");
    }
    if (!clock_is_right(hello, theirs_ms, clock_ms)) {
        return hello->state;
    }
    if (role == PEER_ROLE_DATA &&
        (to_shards != hello->self->shards ||
         !peer_shards_meet(opening.shard, opening.shards, opening.to_shard, to_shards))) {
        return refuse_shards(hello, to_shards);
    }
    opening.role = (enum peer_role)role;
    hello->opening = opening;
    return end(hello, PEER_HELLO_ASKS);
}

void peer_hello_answer(struct peer_hello *hello, enum peer_refusal refusal, const char *text)
{
    assert(hello->state == PEER_HELLO_ASKS);
    assert(refusal <= PEER_REFUSED_REMOVED);
    if (refusal != PEER_REFUSED_NONE) {
        refuse_for(hello, refusal, text);
        return;
    }
    put_opened(hello);
    end(hello, PEER_HELLO_DONE);
}

/* ---- The dialler ---- */

static enum peer_hello_state refuse_node(struct peer_hello *hello, uint32_t node)
{
    say(hello, "node ");
    say_number(hello, node);
    say(hello, " was called and node ");
    say_number(hello, hello->wish.node);
    say(hello,
        " was meant: the address in the map is old, or listen.announce is wrong at one of them");
    return refuse(hello, PEER_REFUSED_NODE);
}

static enum peer_hello_state take_challenge(struct peer_hello *hello, struct bytes body,
                                            uint64_t clock_ms)
{
    struct reader from = reader_of(body);
    uint16_t version = read_u16(&from);
    struct peer_name name = {.node = read_u32(&from)};
    name.start = read_u32(&from);
    struct bytes nonce = read_bytes(&from, PEER_NONCE_BYTES);
    struct bytes proof = read_bytes(&from, PEER_PROOF_BYTES);
    uint64_t theirs_ms = read_u64(&from);

    if (!reader_done(&from) || version < PEER_VERSION_OLDEST || version > PEER_VERSION ||
        name.node == 0) {
        return give_up(hello, "a CHALLENGE that cannot be read");
    }
    hello->transcript.acceptor = name;
    memcpy(hello->transcript.acceptor_nonce, nonce.data, PEER_NONCE_BYTES);
    if (!proof_is_right(hello, PEER_ACCEPTOR, proof)) {
        return hello->state;
    }
    if (hello->wish.node != 0 && name.node != hello->wish.node) {
        return refuse_node(hello, name.node);
    }
    if (name.start < hello->wish.start) {
        return refuse_for(hello, PEER_REFUSED_START, PEER_START_TEXT);
    }
    if (!clock_is_right(hello, theirs_ms, clock_ms)) {
        return hello->state;
    }
    hello->opening.from = name;
    put_open(hello, clock_ms);
    hello->next = PEER_WANTS_OPENED;
    return hello->state;
}

static enum peer_hello_state take_opened(struct peer_hello *hello, struct bytes body)
{
    struct reader from = reader_of(body);
    uint32_t shards = read_u32(&from);
    uint64_t epoch = read_u64(&from);

    if (!reader_done(&from) || shards == 0 || shards > PEER_HELLO_SHARDS_MAX) {
        return give_up(hello, "an OPENED that cannot be read");
    }
    hello->opening.role = hello->wish.role;
    hello->opening.shard = hello->wish.to_shard;
    hello->opening.shards = shards;
    hello->opening.to_shard = hello->wish.shard;
    hello->opening.epoch = epoch;
    return end(hello, PEER_HELLO_DONE);
}

/* ---- Both ---- */

static enum peer_hello_state take_frame(struct peer_hello *hello, const struct peer_frame *frame,
                                        uint64_t clock_ms)
{
    if (frame->kind == PEER_REFUSED && hello->next != PEER_WANTS_HELLO) {
        return take_refused(hello, frame->body);
    }
    if (frame->kind == PEER_HELLO && hello->next == PEER_WANTS_HELLO) {
        return take_hello(hello, frame->body, clock_ms);
    }
    if (frame->kind == PEER_CHALLENGE && hello->next == PEER_WANTS_CHALLENGE) {
        return take_challenge(hello, frame->body, clock_ms);
    }
    if (frame->kind == PEER_OPEN && hello->next == PEER_WANTS_OPEN) {
        return take_open(hello, frame->body, clock_ms);
    }
    if (frame->kind == PEER_OPENED && hello->next == PEER_WANTS_OPENED) {
        return take_opened(hello, frame->body);
    }
    return give_up(hello, "a frame that is not due");
}

/* Take bytes until `size` of the frame are there. Returns whether they are. */
static bool gather(struct peer_hello *hello, struct bytes *input, size_t size)
{
    size_t more = hello->in_size < size ? size - hello->in_size : 0;

    more = more < input->size ? more : input->size;
    if (more > 0) {
        memcpy(hello->in + hello->in_size, input->data, more);
        hello->in_size += more;
        *input = bytes_of(input->data + more, input->size - more);
    }
    return hello->in_size >= size;
}

enum peer_hello_state peer_hello_take(struct peer_hello *hello, struct bytes *input,
                                      uint64_t clock_ms)
{
    while (hello->state == PEER_HELLO_MORE && gather(hello, input, PEER_HEAD_BYTES)) {
        struct peer_frame frame;
        int64_t size =
            peer_frame_size(bytes_of(hello->in, hello->in_size), PEER_HELLO_BODY_BYTES_MAX);
        if (size < 0) {
            return give_up(hello, "no frame of the protocol of nodes");
        }
        if (!gather(hello, input, (size_t)size)) {
            break;
        }
        if (peer_frame_parse(bytes_of(hello->in, (size_t)size), &frame) != 0) {
            return give_up(hello, "a frame whose checksum is wrong");
        }
        take_frame(hello, &frame, clock_ms);
        hello->in_size = 0;
    }
    return hello->state;
}

void peer_hello_dial(struct peer_hello *hello, const struct peer_self *self,
                     const struct peer_wish *wish, const uint8_t nonce[PEER_NONCE_BYTES],
                     uint64_t clock_ms)
{
    assert((self->name.node == 0) == (wish->role == PEER_ROLE_JOIN));
    assert(self->shards >= 1 && self->shards <= PEER_HELLO_SHARDS_MAX);
    *hello = (struct peer_hello){
        .self = self,
        .side = PEER_DIALER,
        .next = PEER_WANTS_CHALLENGE,
        .transcript = {.dialer = self->name},
        .wish = *wish,
        .asked_ms = clock_ms,
    };
    memcpy(hello->transcript.cluster, self->cluster, CLUSTER_ID_BYTES);
    memcpy(hello->transcript.dialer_nonce, nonce, PEER_NONCE_BYTES);
    put_hello(hello);
}

void peer_hello_accept(struct peer_hello *hello, const struct peer_self *self,
                       const uint8_t nonce[PEER_NONCE_BYTES])
{
    assert(self->name.node != 0);
    *hello = (struct peer_hello){
        .self = self,
        .side = PEER_ACCEPTOR,
        .next = PEER_WANTS_HELLO,
        .transcript = {.acceptor = self->name},
    };
    memcpy(hello->transcript.acceptor_nonce, nonce, PEER_NONCE_BYTES);
}

void peer_hello_fail(struct peer_hello *hello, enum peer_refusal refusal)
{
    hello->refusal = refusal;
    hello->refused_there = false;
    hello->text[0] = '\0';
    say(hello, refusal == PEER_REFUSED_SLOW      ? "it took too long"
               : refusal == PEER_REFUSED_CROWDED ? "it had to make room for newer connections"
                                                 : "the connection ended in the middle");
    end(hello, PEER_HELLO_FAILED);
}
