#include <errno.h>

#include "stream.h"

void stream_in_init(struct stream_in *in, struct actor sender)
{
    *in = (struct stream_in){.sender = sender};
}

int stream_in_begin(struct stream_in *in, uint64_t life, bool resumed)
{
    if (life == 0 || resumed != (life == in->life)) {
        return -EPROTO;
    }
    if (!resumed) {
        *in = (struct stream_in){.sender = in->sender, .life = life};
    }
    return 0;
}

/* Take the next record of a run apart. Returns 0 or -EBADMSG. */
static int read_record(struct reader *run, struct stream_record *record)
{
    struct reader from = reader_of(read_bytes(run, read_u32(run)));

    *record = (struct stream_record){.kind = read_u8(&from)};
    record->position = read_u64(&from);
    record->hlc = read_u64(&from);
    record->era = read_u8(&from);
    record->body = read_bytes(&from, reader_left(&from));
    return run->bad || from.bad || record->era >= ACTOR_ERAS_MAX ? -EBADMSG : 0;
}

int stream_in_receive(struct stream_in *in, uint64_t first, struct bytes run, stream_apply *apply,
                      void *context)
{
    struct reader from = reader_of(run);
    struct stream_record record;

    if (in->life == 0 || first == 0 || first > in->applied + 1) {
        return -EPROTO;
    }
    for (uint64_t number = first; reader_left(&from) > 0; number++) {
        int rc = read_record(&from, &record);
        if (rc == 0 && number > in->applied) {
            rc = apply(context, &record);
            in->applied += rc == 0;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

void stream_in_set_whole(struct stream_in *in, uint32_t slot)
{
    in->whole[slot / 64] |= UINT64_C(1) << (slot % 64);
}

void stream_in_clear_whole(struct stream_in *in, uint32_t slot)
{
    in->whole[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
}
