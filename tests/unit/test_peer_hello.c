/* The handshake of nodes: both sides against each other, every refusal, and whoever does not keep to it. */
#include "check.h"

#include "crc32c.h"
#include "peer_hello.h"
#include "random.h"

enum { NOW_MS = 1000000, SKEW_MS = 2000 };

struct pair {
    struct peer_self dialler_self, acceptor_self;
    struct peer_hello dialler, acceptor;
    uint64_t dialler_ms, acceptor_ms; /* Their clocks. */
};

static void fill(uint8_t *to, size_t size, uint8_t from)
{
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)(from + i);
    }
}

static struct peer_self self_of(uint32_t node, uint32_t start, uint32_t shards)
{
    struct peer_self self = {
        .name = {node, start},
        .shards = shards,
        .clock_skew_max_ms = SKEW_MS,
        .epoch = 100 + node,
    };

    fill(self.cluster, sizeof self.cluster, 1);
    fill(self.secret, sizeof self.secret, 50);
    return self;
}

/* Node 3, life 7, 4 shards calls node 4, life 2, 6 shards. */
static struct pair new_pair(void)
{
    return (struct pair){
        .dialler_self = self_of(3, 7, 4),
        .acceptor_self = self_of(4, 2, 6),
        .dialler_ms = NOW_MS,
        .acceptor_ms = NOW_MS,
    };
}

static void begin(struct pair *pair, struct peer_wish wish)
{
    uint8_t nonce[PEER_NONCE_BYTES];

    fill(nonce, sizeof nonce, 90);
    peer_hello_dial(&pair->dialler, &pair->dialler_self, &wish, nonce, pair->dialler_ms);
    fill(nonce, sizeof nonce, 160);
    peer_hello_accept(&pair->acceptor, &pair->acceptor_self, nonce);
}

/* Give `input` in pieces of at most `step` bytes. Returns what was not taken. */
static size_t give(struct peer_hello *to, struct bytes input, size_t step, uint64_t now_ms)
{
    while (input.size > 0 && to->state == PEER_HELLO_MORE) {
        struct bytes piece = bytes_of(input.data, input.size < step ? input.size : step);
        size_t size = piece.size;
        peer_hello_take(to, &piece, now_ms);
        input = bytes_of(input.data + size - piece.size, input.size - (size - piece.size));
        if (piece.size > 0) {
            break;
        }
    }
    return input.size;
}

static bool carry(struct peer_hello *from, struct peer_hello *to, size_t step, uint64_t now_ms)
{
    size_t size = from->out_size;

    from->out_size = 0;
    if (size > 0) {
        assert_int_equal(give(to, bytes_of(from->out, size), step, now_ms), 0);
    }
    return size > 0;
}

/* Carry bytes to and fro until nothing moves. */
static void run(struct pair *pair, size_t step)
{
    bool moved = true;

    while (moved) {
        moved = carry(&pair->dialler, &pair->acceptor, step, pair->acceptor_ms);
        if (pair->acceptor.state == PEER_HELLO_ASKS) {
            peer_hello_answer(&pair->acceptor, PEER_REFUSED_NONE, NULL);
        }
        moved = carry(&pair->acceptor, &pair->dialler, step, pair->dialler_ms) || moved;
    }
}

static const struct peer_wish control = {.node = 4, .role = PEER_ROLE_CONTROL};

/* ---- What goes well ---- */

static void test_control_link(void **state)
{
    (void)state;
    for (size_t step = 1; step < 200; step += step < 40 ? 1 : 37) {
        struct pair pair = new_pair();
        begin(&pair, control);
        run(&pair, step);
        assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
        assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);
        assert_int_equal(pair.dialler.opening.from.node, 4);
        assert_int_equal(pair.dialler.opening.from.start, 2);
        assert_int_equal(pair.dialler.opening.shards, 6);
        assert_int_equal(pair.dialler.opening.epoch, 104);
        assert_int_equal(pair.acceptor.opening.role, PEER_ROLE_CONTROL);
        assert_int_equal(pair.acceptor.opening.from.node, 3);
        assert_int_equal(pair.acceptor.opening.from.start, 7);
        assert_int_equal(pair.acceptor.opening.shards, 4);
        assert_int_equal(pair.acceptor.opening.epoch, 103);
    }
}

static void test_data_link(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, (struct peer_wish){
                     .node = 4, .role = PEER_ROLE_DATA, .shard = 3, .to_shard = 5, .to_shards = 6});
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
    assert_int_equal(pair.dialler.opening.shard, 5);
    assert_int_equal(pair.dialler.opening.shards, 6);
    assert_int_equal(pair.dialler.opening.to_shard, 3);
    assert_int_equal(pair.acceptor.opening.role, PEER_ROLE_DATA);
    assert_int_equal(pair.acceptor.opening.shard, 3);
    assert_int_equal(pair.acceptor.opening.shards, 4);
    assert_int_equal(pair.acceptor.opening.to_shard, 5);
}

static void test_join(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    pair.dialler_self.name = (struct peer_name){0, 0};
    begin(&pair, (struct peer_wish){.role = PEER_ROLE_JOIN});
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);
    assert_int_equal(pair.acceptor.opening.role, PEER_ROLE_JOIN);
    assert_int_equal(pair.dialler.opening.from.node, 4);
}

/* What comes behind the handshake is left to the link, at both ends. */
static void test_rest(void **state)
{
    (void)state;
    struct pair pair = new_pair();
    uint8_t bytes[PEER_HELLO_FRAME_BYTES_MAX + 5];

    begin(&pair, control);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
    memcpy(bytes, pair.dialler.out, pair.dialler.out_size);
    memcpy(bytes + pair.dialler.out_size, "later", 5);
    struct bytes input = bytes_of(bytes, pair.dialler.out_size + 5);
    assert_int_equal(peer_hello_take(&pair.acceptor, &input, NOW_MS), PEER_HELLO_ASKS);
    assert_bytes_equal(input, text("later"));
    peer_hello_answer(&pair.acceptor, PEER_REFUSED_NONE, NULL);
    memcpy(bytes, pair.acceptor.out, pair.acceptor.out_size);
    memcpy(bytes + pair.acceptor.out_size, "first", 5);
    input = bytes_of(bytes, pair.acceptor.out_size + 5);
    assert_int_equal(peer_hello_take(&pair.dialler, &input, NOW_MS), PEER_HELLO_DONE);
    assert_bytes_equal(input, text("first"));
}

/* The bytes are an agreement between releases: lengths and places of all that has one. */
static void test_golden_hello(void **state)
{
    (void)state;
    struct pair pair = new_pair();
    uint8_t right[PEER_HEAD_BYTES + 60] = {60, 0, 0, 0, PEER_HELLO};

    begin(&pair, control);
    uint8_t *body = right + PEER_HEAD_BYTES;
    store_u32(right + 16, 0x74189835);
    store_u16(body, 5);
    store_u16(body + 2, 5);
    fill(body + 4, 16, 1);
    store_u32(body + 20, 3);
    store_u32(body + 24, 7);
    fill(body + 28, 32, 90);
    assert_int_equal(pair.dialler.out_size, sizeof right);
    assert_memory_equal(body, pair.dialler.out + PEER_HEAD_BYTES, 60);
    assert_int_equal(load_u32(pair.dialler.out + 16), load_u32(right + 16));
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    assert_int_equal(pair.acceptor.out_size, PEER_HEAD_BYTES + 82);
    assert_int_equal(load_u64(pair.acceptor.out + PEER_HEAD_BYTES + 74), NOW_MS);
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
    assert_int_equal(pair.dialler.out_size, PEER_HEAD_BYTES + 65);
    assert_int_equal(load_u64(pair.dialler.out + PEER_HEAD_BYTES + 57), NOW_MS);
}

/* ---- Refusals ---- */

/* Both ends know the reason, and only one of them gave it. */
static void assert_refused(const struct pair *pair, enum peer_refusal refusal, bool by_acceptor,
                           const char *word)
{
    assert_int_equal(pair->dialler.state, PEER_HELLO_FAILED);
    assert_int_equal(pair->acceptor.state, PEER_HELLO_FAILED);
    assert_int_equal(pair->dialler.refusal, refusal);
    assert_int_equal(pair->acceptor.refusal, refusal);
    assert_int_equal(pair->dialler.refused_there, by_acceptor);
    assert_int_equal(pair->acceptor.refused_there, !by_acceptor);
    assert_string_equal(pair->dialler.text, pair->acceptor.text);
    assert_non_null(strstr(pair->dialler.text, word));
}

static void test_wrong_secret(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    pair.dialler_self.secret[31] ^= 1;
    begin(&pair, control);
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_SECRET, false, "join-token");
}

/* A dialler that does not look at the acceptor's proof: its own is wrong all the same. */
static void test_wrong_secret_of_who_goes_on(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, control);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
    pair.acceptor_self.secret[0] ^= 1;
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_SECRET, true, "different secrets");
}

static void test_other_cluster(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    pair.dialler_self.cluster[15] ^= 1;
    begin(&pair, control);
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_CLUSTER, true, "different clusters");
    assert_int_equal(pair.acceptor.transcript.dialer.node, 0); /* Nothing of it was taken in. */
}

/* Change the body of the frame in `out`, and put its checksum right. */
static void change_out(struct peer_hello *hello, size_t offset, uint16_t value)
{
    uint8_t *body = hello->out + PEER_HEAD_BYTES;
    struct bytes whole = bytes_of(body, hello->out_size - PEER_HEAD_BYTES);

    store_u16(body + offset, value);
    peer_frame_head_put(hello->out, hello->out[4], 0, &whole, 1);
}

static void test_versions(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, control);
    change_out(&pair.dialler, 0, PEER_VERSION + 2);
    change_out(&pair.dialler, 2, PEER_VERSION + 1);
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_VERSION, true, "versions 6 to 7");

    pair = new_pair();
    begin(&pair, control);
    change_out(&pair.dialler, 0, PEER_VERSION_OLDEST - 1);
    change_out(&pair.dialler, 2, PEER_VERSION_OLDEST - 2);
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_VERSION, true, "bring both to neighbouring releases");

    pair = new_pair(); /* A newer one that speaks this one, too, and says more. */
    begin(&pair, control);
    change_out(&pair.dialler, 0, PEER_VERSION + 2);
    uint8_t *body = pair.dialler.out + PEER_HEAD_BYTES;
    memcpy(body + 60, "more", 4);
    struct bytes whole = bytes_of(body, 64);
    peer_frame_head_put(pair.dialler.out, PEER_HELLO, 0, &whole, 1);
    pair.dialler.out_size += 4;
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);
    assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
}

static void test_nodes(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, (struct peer_wish){.node = 5, .role = PEER_ROLE_CONTROL});
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_NODE, false, "node 4 was called and node 5 was meant");

    pair = new_pair();
    pair.dialler_self.name.node = 4; /* The node itself. */
    begin(&pair, control);
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_NODE, true, "same number");

    pair = new_pair(); /* The acceptor's user says who may in. */
    begin(&pair, control);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_ASKS);
    peer_hello_answer(&pair.acceptor, PEER_REFUSED_NODE, "not a member");
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_NODE, true, "not a member");
}

static void test_old_start(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, (struct peer_wish){.node = 4, .start = 3, .role = PEER_ROLE_CONTROL});
    run(&pair, SIZE_MAX);
    assert_refused(&pair, PEER_REFUSED_START, false, "earlier life");

    pair = new_pair();
    begin(&pair, (struct peer_wish){.node = 4, .start = 2, .role = PEER_ROLE_CONTROL});
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
}

static void test_clocks(void **state)
{
    (void)state;
    static const struct {
        int64_t acceptor_ms, dialler_skew_ms, acceptor_skew_ms;
        bool good, by_acceptor;
    } rows[] = {
        {SKEW_MS, SKEW_MS, SKEW_MS, true, false},
        {-SKEW_MS, SKEW_MS, SKEW_MS, true, false},
        {SKEW_MS + 1, SKEW_MS, SKEW_MS, false, false},
        {-SKEW_MS - 1, SKEW_MS, SKEW_MS, false, false},
        {SKEW_MS + 1, 2 * SKEW_MS, SKEW_MS, false, true},
        {-SKEW_MS - 1, 2 * SKEW_MS, SKEW_MS, false, true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair pair = new_pair();
        pair.acceptor_ms = (uint64_t)(NOW_MS + rows[i].acceptor_ms);
        pair.dialler_self.clock_skew_max_ms = (uint32_t)rows[i].dialler_skew_ms;
        begin(&pair, control);
        run(&pair, SIZE_MAX);
        if (rows[i].good) {
            assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
            assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);
        } else {
            assert_refused(&pair, PEER_REFUSED_CLOCK, rows[i].by_acceptor, "2001 ms");
            assert_non_null(strstr(pair.dialler.text, "cluster.max_clock_skew (2000 ms)"));
        }
    }
}

/* A minute between two frames: the clocks are as equal as ever, and both see it. */
static void test_clocks_of_a_slow_network(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, control);
    pair.dialler_ms = pair.acceptor_ms = NOW_MS + 60000;
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, pair.acceptor_ms);
    pair.dialler_ms = pair.acceptor_ms = NOW_MS + 120000;
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, pair.dialler_ms);
    pair.dialler_ms = pair.acceptor_ms = NOW_MS + 180000;
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.dialler.state, PEER_HELLO_DONE);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);
}

static void test_shards(void **state)
{
    (void)state;
    static const struct {
        uint32_t shard, to_shard, to_shards;
        const char *word;
    } rows[] = {
        {0, 0, 5, "6 shards and not 5"}, {0, 6, 6, "no slot in common"},
        {4, 0, 6, "no slot in common"},  {0, 1, 6, "no slot in common"},
        {0, 0, 0, "6 shards and not 0"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pair pair = new_pair();
        begin(&pair, (struct peer_wish){.node = 4,
                                        .role = PEER_ROLE_DATA,
                                        .shard = rows[i].shard,
                                        .to_shard = rows[i].to_shard,
                                        .to_shards = rows[i].to_shards});
        run(&pair, SIZE_MAX);
        assert_refused(&pair, PEER_REFUSED_SHARDS, true, rows[i].word);
    }
    assert_true(peer_shards_meet(1, 4, 3, 6));
    assert_false(peer_shards_meet(1, 4, 2, 6));
    assert_true(peer_shards_meet(0, 1, 7, 8));
    assert_false(peer_shards_meet(0, 0, 0, 0));
}

/* A joiner may not open other links, and a member does not join: both need a proof to say so at all. */
static void test_roles(void **state)
{
    (void)state;
    for (uint16_t role = 0; role < 5; role++) {
        struct pair pair = new_pair();
        pair.dialler_self.name = (struct peer_name){0, 0};
        begin(&pair, (struct peer_wish){.role = PEER_ROLE_JOIN});
        carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
        carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
        change_out(&pair.dialler, PEER_PROOF_BYTES, role); /* (The byte behind it is 0 anyway.) */
        run(&pair, SIZE_MAX);
        assert_int_equal(pair.acceptor.state,
                         role == PEER_ROLE_JOIN ? PEER_HELLO_DONE : PEER_HELLO_FAILED);
    }
}

/* ---- Who does not keep to it ---- */

/* All that a dialler said once is said again on another connection: the nonce there is another one. */
static void test_replayed_proof(void **state)
{
    (void)state;
    struct pair pair = new_pair();
    uint8_t said[2 * PEER_HELLO_FRAME_BYTES_MAX], nonce[PEER_NONCE_BYTES] = {1};

    begin(&pair, control);
    size_t hello_size = pair.dialler.out_size;
    memcpy(said, pair.dialler.out, hello_size);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    carry(&pair.acceptor, &pair.dialler, SIZE_MAX, NOW_MS);
    size_t open_size = pair.dialler.out_size;
    memcpy(said + hello_size, pair.dialler.out, open_size);
    run(&pair, SIZE_MAX);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_DONE);

    peer_hello_accept(&pair.acceptor, &pair.acceptor_self, nonce);
    assert_int_equal(give(&pair.acceptor, bytes_of(said, hello_size + open_size), SIZE_MAX, NOW_MS),
                     0);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_FAILED);
    assert_int_equal(pair.acceptor.refusal, PEER_REFUSED_SECRET);
}

/* Who has no secret sends an acceptor's own proof back to it. */
static void test_reflected_proof(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, control);
    carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
    uint8_t *proof = pair.acceptor.out + PEER_HEAD_BYTES + 2 + 4 + 4 + PEER_NONCE_BYTES;
    uint8_t body[65] = {0};
    memcpy(body, proof, PEER_PROOF_BYTES);
    body[PEER_PROOF_BYTES] = PEER_ROLE_CONTROL;
    store_u32(body + PEER_PROOF_BYTES + 5, 4);
    store_u64(body + 57, NOW_MS);
    struct bytes whole = bytes_of(body, sizeof body);
    uint8_t frame[PEER_HEAD_BYTES + sizeof body];
    peer_frame_head_put(frame, PEER_OPEN, 0, &whole, 1);
    memcpy(frame + PEER_HEAD_BYTES, body, sizeof body);
    pair.acceptor.out_size = 0;
    give(&pair.acceptor, bytes_of(frame, sizeof frame), SIZE_MAX, NOW_MS);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_FAILED);
    assert_int_equal(pair.acceptor.refusal, PEER_REFUSED_SECRET);
}

/* Text of another protocol ends it with its 20th byte, and nothing is answered. */
static void test_other_protocol(void **state)
{
    (void)state;
    struct pair pair = new_pair();

    begin(&pair, control);
    give(&pair.acceptor, text("GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n"), 1, NOW_MS);
    assert_int_equal(pair.acceptor.state, PEER_HELLO_FAILED);
    assert_int_equal(pair.acceptor.refusal, PEER_REFUSED_GARBAGE);
    assert_int_equal(pair.acceptor.out_size, 0);
    give(&pair.dialler, text("-ERR unknown command or something\r\n"), 3, NOW_MS);
    assert_int_equal(pair.dialler.state, PEER_HELLO_FAILED);
    assert_int_equal(pair.dialler.refusal, PEER_REFUSED_GARBAGE);
}

/* A frame of another kind, too large, or out of its turn. */
static void test_frames_not_due(void **state)
{
    (void)state;
    uint8_t frame[PEER_HELLO_FRAME_BYTES_MAX + 1] = {0};

    for (unsigned kind = 1; kind < PEER_KINDS_END; kind++) {
        struct pair pair = new_pair();
        begin(&pair, control);
        peer_frame_head_put(frame, (uint8_t)kind, 0, NULL, 0);
        give(&pair.acceptor, bytes_of(frame, PEER_HEAD_BYTES), SIZE_MAX, NOW_MS);
        assert_int_equal(pair.acceptor.state, PEER_HELLO_FAILED);
        assert_int_equal(pair.acceptor.refusal, PEER_REFUSED_GARBAGE);
        give(&pair.dialler, bytes_of(frame, PEER_HEAD_BYTES), SIZE_MAX, NOW_MS);
        assert_int_equal(pair.dialler.state, PEER_HELLO_FAILED);
    }
    struct pair pair = new_pair();
    begin(&pair, control);
    struct bytes large = bytes_of(frame, PEER_HELLO_BODY_BYTES_MAX + 1);
    uint8_t head[PEER_HEAD_BYTES];
    peer_frame_head_put(head, PEER_HELLO, 0, &large, 1);
    give(&pair.acceptor, bytes_of(head, sizeof head), SIZE_MAX, NOW_MS);
    assert_int_equal(pair.acceptor.refusal, PEER_REFUSED_GARBAGE);
}

/* Any changed bit of any frame ends in a refusal or a failure, whoever gets it; never in a link, and never in a crash. */
static void test_changed_bits(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * (80 + 102 + 85 + 32); bit++) {
        struct pair pair = new_pair();
        begin(&pair, control);
        size_t before = 0;
        for (int turn = 0; turn < 4; turn++) {
            struct peer_hello *from = turn % 2 == 0 ? &pair.dialler : &pair.acceptor;
            struct peer_hello *to = turn % 2 == 0 ? &pair.acceptor : &pair.dialler;
            size_t at = bit / 8;
            if (at >= before && at < before + from->out_size) {
                from->out[at - before] ^= (uint8_t)(1 << bit % 8);
            }
            before += from->out_size;
            size_t size = from->out_size;
            from->out_size = 0;
            give(to, bytes_of(from->out, size), SIZE_MAX, NOW_MS);
            if (pair.acceptor.state == PEER_HELLO_ASKS) {
                peer_hello_answer(&pair.acceptor, PEER_REFUSED_NONE, NULL);
            }
        }
        assert_true(pair.dialler.state != PEER_HELLO_DONE ||
                    pair.acceptor.state != PEER_HELLO_DONE);
    }
}

/* Cut anywhere it just waits; its user ends it, and says why. */
static void test_cut(void **state)
{
    (void)state;
    for (size_t size = 0; size < PEER_HEAD_BYTES + 60; size++) {
        struct pair pair = new_pair();
        begin(&pair, control);
        give(&pair.acceptor, bytes_of(pair.dialler.out, size), 7, NOW_MS);
        assert_int_equal(pair.acceptor.state, PEER_HELLO_MORE);
        peer_hello_fail(&pair.acceptor, PEER_REFUSED_CLOSED);
        assert_int_equal(pair.acceptor.state, PEER_HELLO_FAILED);
        assert_int_equal(pair.acceptor.out_size, 0);
        assert_string_equal(peer_refusal_word(pair.acceptor.refusal), "closed");
        assert_non_null(strstr(pair.acceptor.text, "in the middle"));
    }
}

/* A refusal's text is shown to people: nothing in it reaches their terminal as anything but text. */
static void test_foreign_text(void **state)
{
    (void)state;
    struct pair pair = new_pair();
    uint8_t body[2 + 4] = {PEER_REFUSED_NODE, 4, 'a', 27, '\n', 0xff};
    struct bytes whole = bytes_of(body, sizeof body);
    uint8_t frame[PEER_HEAD_BYTES + sizeof body];

    peer_frame_head_put(frame, PEER_REFUSED, 0, &whole, 1);
    memcpy(frame + PEER_HEAD_BYTES, body, sizeof body);
    begin(&pair, control);
    give(&pair.dialler, bytes_of(frame, sizeof frame), SIZE_MAX, NOW_MS);
    assert_int_equal(pair.dialler.refusal, PEER_REFUSED_NODE);
    assert_string_equal(pair.dialler.text, "a???");

    body[0] = 200; /* A reason of a later release; and then texts that are not what they say. */
    peer_frame_head_put(frame, PEER_REFUSED, 0, &whole, 1);
    memcpy(frame + PEER_HEAD_BYTES, body, sizeof body);
    begin(&pair, control);
    give(&pair.dialler, bytes_of(frame, sizeof frame), SIZE_MAX, NOW_MS);
    assert_int_equal(pair.dialler.refusal, PEER_REFUSED_OTHER);
    body[1] = 5;
    peer_frame_head_put(frame, PEER_REFUSED, 0, &whole, 1);
    memcpy(frame + PEER_HEAD_BYTES, body, sizeof body);
    begin(&pair, control);
    give(&pair.dialler, bytes_of(frame, sizeof frame), SIZE_MAX, NOW_MS);
    assert_int_equal(pair.dialler.refusal, PEER_REFUSED_GARBAGE);
}

/* Random bytes in random pieces, with and without a right beginning. */
static void test_random_bytes(void **state)
{
    (void)state;
    uint64_t random = 4711;

    for (int round = 0; round < 20000; round++) {
        struct pair pair = new_pair();
        uint8_t bytes[300];
        begin(&pair, control);
        if (round % 2 == 0) {
            carry(&pair.dialler, &pair.acceptor, SIZE_MAX, NOW_MS);
        }
        size_t size = random_below(&random, sizeof bytes + 1);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)random_below(&random, 256);
        }
        give(&pair.acceptor, bytes_of(bytes, size), 1 + random_below(&random, 50), NOW_MS);
        assert_true(pair.acceptor.state == PEER_HELLO_FAILED || size < PEER_HEAD_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_link),
        cmocka_unit_test(test_data_link),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_golden_hello),
        cmocka_unit_test(test_wrong_secret),
        cmocka_unit_test(test_wrong_secret_of_who_goes_on),
        cmocka_unit_test(test_other_cluster),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_old_start),
        cmocka_unit_test(test_clocks),
        cmocka_unit_test(test_clocks_of_a_slow_network),
        cmocka_unit_test(test_shards),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_replayed_proof),
        cmocka_unit_test(test_reflected_proof),
        cmocka_unit_test(test_other_protocol),
        cmocka_unit_test(test_frames_not_due),
        cmocka_unit_test(test_changed_bits),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_foreign_text),
        cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
