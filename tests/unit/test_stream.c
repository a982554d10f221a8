/* Streams: what comes is what was appended, in order, whatever happens to the connections between. */
#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "random.h"
#include "stream.h"

static const struct actor sender = {3, 2};

enum { RUN_BYTES = 16 * 1024, BODY_MAX = 512 };

/* What the receiver has applied. */
struct applied {
    uint64_t count, last; /* Of the present life; the last one's hlc. */
    uint64_t refuse_at;   /* The hlc that is not taken; 0: none. */
    uint8_t body[BODY_MAX];
};

static uint64_t append(struct stream_out *out, uint64_t hlc, struct bytes body)
{
    const struct stream_record record = {.kind = 2, .position = hlc * 3, .hlc = hlc};
    const struct bytes parts[] = {bytes_of(body.data, body.size / 2),
                                  bytes_of(body.data + body.size / 2, body.size - body.size / 2)};

    return stream_out_append(out, &record, parts, 2);
}

/* The body of a record says which one it is. */
static struct bytes body_of(uint64_t hlc, uint8_t body[BODY_MAX])
{
    uint64_t random = hlc;
    size_t size = 8 + random_below(&random, BODY_MAX - 8);

    for (size_t i = 0; i < size; i++) {
        body[i] = (uint8_t)(hlc + i);
    }
    store_u64(body, hlc);
    return bytes_of(body, size);
}

static int apply(void *context, const struct stream_record *record)
{
    struct applied *applied = context;

    if (applied->refuse_at != 0 && record->hlc == applied->refuse_at) {
        return -ENOMEM;
    }
    assert_int_equal(record->kind, 2);
    assert_int_equal(record->position, record->hlc * 3);
    assert_true(bytes_equal(record->body, body_of(record->hlc, applied->body)));
    assert_true(record->hlc == applied->last + 1 || applied->count == 0);
    applied->last = record->hlc;
    applied->count++;
    return 0;
}

static void begin(struct stream_out *out, struct stream_in *in, struct applied *applied)
{
    bool resumed = stream_out_open(out, in->life, in->applied);

    assert_int_equal(stream_in_begin(in, out->life, resumed), 0);
    if (!resumed) {
        applied->count = 0;
    }
}

static uint64_t send_all(struct stream_out *out, struct stream_in *in, struct applied *applied)
{
    struct stream_run run;
    uint64_t runs = 0;

    for (; stream_out_next(out, RUN_BYTES, &run); runs++) {
        assert_int_equal(stream_in_receive(in, run.first, run.bytes, apply, applied), 0);
    }
    return runs;
}

static void test_in_order(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    struct stream_run run;
    uint8_t body[BODY_MAX];

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 0);
    stream_in_init(&in, sender);
    assert_int_equal(append(&out, 1, body_of(1, body)), 0); /* Nobody is there. */
    begin(&out, &in, &applied);
    assert_int_equal(in.life, 1);
    for (uint64_t hlc = 1; hlc <= 1000; hlc++) {
        assert_int_equal(append(&out, hlc, body_of(hlc, body)), hlc);
        if (hlc % 100 == 0) {
            assert_true(send_all(&out, &in, &applied) > 0);
            assert_int_equal(stream_out_acked(&out, in.applied), 0);
            assert_int_equal(out.bytes, memory.outstanding_bytes);
        }
    }
    assert_int_equal(applied.count, 1000);
    assert_false(stream_out_next(&out, RUN_BYTES, &run));
    assert_int_equal(stream_out_acked(&out, 1001), -EPROTO);
    assert_int_equal(stream_out_acked(&out, 3), 0); /* Said before. */
    assert_int_equal(out.acked, 1000);
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* The bytes are an agreement between nodes of different releases. */
static void test_golden_bytes(void **state)
{
    (void)state;
    static const uint8_t golden[] = {21, 0, 0, 0, 4, 8, 7, 6, 5, 4,   3,   2,  1,
                                     9,  0, 0, 0, 0, 0, 0, 0, 2, 'a', 'b', 'c'};
    const struct stream_record record = {
        .kind = 4, .position = UINT64_C(0x0102030405060708), .hlc = 9, .era = 2};
    const struct bytes parts[] = {text("a"), text(""), text("bc")};
    struct test_memory memory = test_memory();
    struct stream_out out;
    struct stream_run run;

    stream_out_init(&out, &memory.memory, 1 << 20, 0);
    assert_false(stream_out_open(&out, 0, 0));
    assert_int_equal(stream_out_append(&out, &record, parts, 3), 1);
    assert_true(stream_out_next(&out, RUN_BYTES, &run));
    assert_int_equal(run.first, 1);
    assert_true(bytes_equal(run.bytes, bytes_of(golden, sizeof golden)));
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* A connection that breaks loses nothing, and repeats nothing that the other end has said it has. */
static void test_resumes(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    struct stream_run run;
    uint8_t body[BODY_MAX];

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 0);
    stream_in_init(&in, sender);
    begin(&out, &in, &applied);
    stream_in_set_whole(&in, 5);
    for (uint64_t hlc = 1; hlc <= 10; hlc++) {
        append(&out, hlc, body_of(hlc, body));
    }
    assert_true(stream_out_next(&out, 1, &run)); /* One record, however small the limit. */
    assert_int_equal(stream_in_receive(&in, run.first, run.bytes, apply, &applied), 0);
    assert_true(stream_out_next(&out, 1, &run));
    assert_int_equal(run.first, 2); /* Is lost. */
    stream_out_cut(&out);
    assert_false(stream_out_next(&out, RUN_BYTES, &run));
    assert_int_equal(append(&out, 11, body_of(11, body)), 11);
    begin(&out, &in, &applied);
    assert_int_equal(in.life, 1);
    assert_true(stream_in_is_whole(&in, 5));
    assert_true(stream_out_next(&out, RUN_BYTES, &run));
    assert_int_equal(run.first, 2);
    assert_int_equal(stream_in_receive(&in, run.first, run.bytes, apply, &applied), 0);
    assert_int_equal(applied.count, 11);
    /* What comes twice is passed over; what is missing is an error. */
    assert_int_equal(stream_in_receive(&in, run.first, run.bytes, apply, &applied), 0);
    assert_int_equal(applied.count, 11);
    assert_int_equal(stream_in_receive(&in, 13, run.bytes, apply, &applied), -EPROTO);
    assert_int_equal(stream_in_receive(&in, 0, run.bytes, apply, &applied), -EPROTO);
    stream_out_fini(&out);
}

/* A new life where the receiver is another one, has more than was ever sent, or tells of another life. */
static void test_new_lives(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    uint8_t body[BODY_MAX];

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 0);
    stream_in_init(&in, sender);
    begin(&out, &in, &applied);
    stream_in_set_whole(&in, 16383);
    append(&out, 1, body_of(1, body));
    send_all(&out, &in, &applied);
    assert_int_equal(stream_out_acked(&out, 1), 0);

    stream_in_init(&in, sender); /* It was restarted. */
    begin(&out, &in, &applied);
    assert_int_equal(out.life, 2);
    assert_int_equal(out.next, 1);
    assert_false(stream_in_is_whole(&in, 16383));

    append(&out, 7, body_of(7, body));
    assert_false(stream_out_open(&out, 2, 2)); /* One that was never sent. */
    assert_int_equal(out.life, 3);
    assert_false(stream_out_open(&out, 2, 0)); /* The life before. */
    assert_int_equal(stream_in_begin(&in, 4, true), -EPROTO);
    assert_int_equal(stream_in_begin(&in, 2, false), -EPROTO);
    assert_int_equal(stream_in_begin(&in, 0, false), -EPROTO);
    assert_int_equal(stream_in_begin(&in, 4, false), 0);
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* Less was acknowledged than was said to be applied before: what was given up cannot be sent again. */
static void test_receiver_went_back(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    uint8_t body[BODY_MAX];

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 0);
    stream_in_init(&in, sender);
    begin(&out, &in, &applied);
    for (uint64_t hlc = 1; hlc <= 3; hlc++) {
        append(&out, hlc, body_of(hlc, body));
    }
    send_all(&out, &in, &applied);
    assert_int_equal(stream_out_acked(&out, 3), 0);
    assert_false(stream_out_open(&out, 1, 2));
    stream_out_fini(&out);
}

static void test_window(void **state)
{
    (void)state;
    enum { WINDOW = 3 * STREAM_CHUNK_BYTES };
    static uint8_t large[2 * WINDOW];
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    uint8_t body[BODY_MAX];
    uint64_t hlc = 0;

    stream_out_init(&out, &memory.memory, WINDOW, 0);
    stream_in_init(&in, sender);
    begin(&out, &in, &applied);
    stream_out_cut(&out);
    do {
        hlc++;
        assert_true(memory.outstanding_bytes <= WINDOW);
    } while (append(&out, hlc, body_of(hlc, body)) == hlc);
    assert_in_range(hlc, WINDOW / 2 / BODY_MAX, WINDOW / 200);
    assert_false(out.open);
    assert_int_equal(memory.outstanding_bytes, 0);
    assert_int_equal(append(&out, hlc, body_of(hlc, body)),
                     0); /* And stays so until somebody is there. */
    begin(&out, &in, &applied);
    assert_int_equal(in.life, 2);
    assert_int_equal(append(&out, 1, body_of(1, body)), 1);
    send_all(&out, &in, &applied);
    assert_int_equal(stream_out_acked(&out, 1), 0);
    /* One record may be larger than the window, where nothing else waits. */
    const struct stream_record record = {.kind = 1, .hlc = 2};
    const struct bytes parts[] = {bytes_of(large, sizeof large)};
    assert_int_equal(stream_out_append(&out, &record, parts, 1), 2);
    assert_int_equal(append(&out, 3, body_of(3, body)), 0);
    /* The connection may still be sending of it: it stays until that is gone. */
    struct stream_run run;
    assert_false(stream_out_next(&out, RUN_BYTES, &run));
    assert_true(memory.outstanding_bytes >= sizeof large);
    stream_out_cut(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
    stream_out_fini(&out);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    uint8_t body[BODY_MAX];
    uint64_t hlc = 0;

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 0);
    stream_in_init(&in, sender);
    begin(&out, &in, &applied);
    memory.fail_at = 2;
    do {
        hlc++;
    } while (append(&out, hlc, body_of(hlc, body)) == hlc);
    assert_false(out.open); /* A record that cannot be kept is a gap. */
    memory.fail_at = 0;
    stream_out_cut(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
    /* And one that the receiver cannot take ends the connection, not the stream. */
    begin(&out, &in, &applied);
    for (hlc = 1; hlc <= 5; hlc++) {
        append(&out, hlc, body_of(hlc, body));
    }
    struct stream_run run;
    applied.refuse_at = 3;
    assert_true(stream_out_next(&out, RUN_BYTES, &run));
    assert_int_equal(stream_in_receive(&in, run.first, run.bytes, apply, &applied), -ENOMEM);
    assert_int_equal(in.applied, 2);
    applied.refuse_at = 0;
    stream_out_cut(&out);
    begin(&out, &in, &applied);
    send_all(&out, &in, &applied);
    assert_int_equal(applied.count, 5);
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* A run that could not be sent comes again. Lives go on from where the caller says. */
static void test_returned(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    struct stream_run first, again;
    uint8_t body[BODY_MAX];

    stream_out_init(&out, &memory.memory, UINT64_C(1) << 20, 41);
    stream_in_init(&in, sender);
    in.life = 41; /* Of the process before. */
    begin(&out, &in, &applied);
    assert_int_equal(in.life, 42);
    for (uint64_t hlc = 1; hlc <= 600; hlc++) {
        append(&out, hlc, body_of(hlc, body));
    }
    while (stream_out_next(&out, RUN_BYTES, &first)) {
        stream_out_return(&out, &first);
        assert_true(stream_out_next(&out, RUN_BYTES, &again));
        assert_true(again.first == first.first && again.bytes.data == first.bytes.data);
        assert_int_equal(again.bytes.size, first.bytes.size);
        assert_int_equal(stream_in_receive(&in, again.first, again.bytes, apply, &applied), 0);
    }
    assert_int_equal(applied.count, 600);
    stream_out_lapse(&out);
    assert_int_equal(append(&out, 601, body_of(601, body)), 0);
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static int apply_any(void *context, const struct stream_record *record)
{
    uint64_t *sum = context;

    for (size_t i = 0; i < record->body.size; i++) {
        *sum += record->body.data[i];
    }
    return 0;
}

/* Bytes of any kind: each is taken, or refused, and nothing beyond them is read. */
static void test_bad_runs(void **state)
{
    (void)state;
    enum { ROUNDS = 20000 };
    uint64_t random = 5, taken = 0, refused = 0, sum = 0;

    for (int round = 0; round < ROUNDS; round++) {
        uint8_t good[] = {19, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'x', 'y'};
        size_t size = random_below(&random, sizeof good + 1);
        uint8_t *run = malloc(size + 1); /* So that a sanitizer sees its end. */
        struct stream_in in;
        assert_non_null(run);
        memcpy(run, good, size);
        for (uint32_t changes = random_below(&random, 3); changes > 0 && size > 0; changes--) {
            run[random_below(&random, (uint32_t)size)] = (uint8_t)random_next(&random);
        }
        stream_in_init(&in, sender);
        assert_int_equal(stream_in_receive(&in, 1, bytes_of(run, size), apply_any, &sum), -EPROTO);
        assert_int_equal(stream_in_begin(&in, 1, false), 0);
        int rc = stream_in_receive(&in, 1, bytes_of(run, size), apply_any, &sum);
        assert_true(rc == 0 || rc == -EBADMSG);
        taken += rc == 0;
        refused += rc != 0;
        free(run);
    }
    assert_true(taken > ROUNDS / 50 && refused > ROUNDS / 50);
}

/* Cuts, lost runs, late acknowledgements, restarts and full windows, at random. Within a life what comes is all that
 * was appended, in order; apply() checks it. */
static void test_random_connections(void **state)
{
    (void)state;
    enum { STEPS = 200000 };
    struct test_memory memory = test_memory();
    struct applied applied = {0};
    struct stream_out out;
    struct stream_in in;
    uint8_t body[BODY_MAX];
    uint64_t random = 99, hlc = 0, lives = 0, resumed = 0, lapsed = 0, total = 0;

    stream_out_init(&out, &memory.memory, STREAM_CHUNK_BYTES + 256, 0);
    stream_in_init(&in, sender);
    for (int step = 0; step < STEPS; step++) {
        uint32_t what = random_below(&random, 1000);
        struct stream_run run;
        if (what < 600) {
            bool open = out.open;
            hlc++;
            lapsed += append(&out, hlc, body_of(hlc, body)) == 0 && open;
            if (out.connected && !out.open) {
                stream_out_cut(&out);
            }
        } else if (what < 850) {
            if (stream_out_next(&out, 1 + random_below(&random, 4096), &run)) {
                assert_int_equal(stream_in_receive(&in, run.first, run.bytes, apply, &applied), 0);
                total++;
            }
        } else if (what < 970) {
            if (out.connected && in.life == out.life) {
                assert_int_equal(stream_out_acked(&out, in.applied), 0);
            }
        } else if (what < 980) {
            (void)stream_out_next(&out, RUN_BYTES, &run); /* Lost with the connection. */
            stream_out_cut(&out);
        } else if (what < 982) {
            stream_in_init(&in, sender);
            stream_out_cut(&out);
        } else if (!out.connected) {
            uint64_t life = out.life;
            begin(&out, &in, &applied);
            lives += out.life != life;
            resumed += out.life == life;
        }
    }
    print_message("%llu runs, %llu lives, %llu resumed, %llu lapsed\n", (unsigned long long)total,
                  (unsigned long long)lives, (unsigned long long)resumed,
                  (unsigned long long)lapsed);
    assert_true(lives > 100 && resumed > 100 && lapsed > 20 && total > 10000);
    stream_out_fini(&out);
    assert_int_equal(memory.outstanding_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_golden_bytes),
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_new_lives),
        cmocka_unit_test(test_receiver_went_back),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_returned),
        cmocka_unit_test(test_bad_runs),
        cmocka_unit_test(test_random_connections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
