/* belayctl archive restore: records on their way into the cluster, many at a time. Each may be sent again, as merging
 * it twice changes nothing. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive_restore.h"
#include "limits.h"
#include "session.h"

enum {
    FLIGHT_BYTES = 64 * 1024, /* Of records, or one record. */
    FLYING_MAX = 1024,        /* Each takes FLIGHT_BYTES, however few sessions a slot has. */
    FLYING_BYTES_MAX = 8 * 1024 * 1024,
    SEND_BYTES = 128 * 1024, /* So much is handed to the kernel at a time. */
    PATIENCE_MS = 60000,     /* Without any good answer. */
    TOLD_MS = 3000,          /* ... after so long that is told. */
    PAUSE_MS = 100,          /* Where a busy server does not say. */
};

/* Sessions of one slot. */
struct flight {
    struct flight *next;
    struct restore *restore;
    uint16_t slot;
    uint32_t count;
    struct buffer records; /* Each behind its size... */
    size_t at;             /* ... from here on; those before have arrived. */
};

static struct bytes left_of(const struct flight *flight)
{
    return bytes_of(flight->records.data + flight->at, flight->records.size - flight->at);
}

static struct bytes key_of(const struct flight *flight)
{
    struct reader records = reader_of(left_of(flight));

    return session_key(read_string(&records));
}

/* So many more of it need not be sent. */
static void pass(struct flight *flight, uint32_t count)
{
    struct reader records = reader_of(left_of(flight));

    for (; count > 0 && reader_left(&records) > 0; count--) {
        (void)read_string(&records);
    }
    flight->at = flight->records.size - reader_left(&records);
}

static void free_flight(struct flight *flight)
{
    buffer_fini(&flight->records);
    free(flight);
}

static void refuse(struct flight *flight, enum belay_status status, const char *text)
{
    struct restore *restore = flight->restore;
    struct bytes key = key_of(flight);

    restore->done.refused++;
    progress_end(&restore->progress);
    fputs("belayctl: archive restore: ", stderr);
    show_bytes(stderr, belay_bytes_of(key.data, key.size));
    fprintf(stderr, ": %s\n", text == NULL ? belay_status_text(status) : text);
    pass(flight, 1);
}

static void give_up(struct restore *restore, enum belay_status status, const char *text,
                    const char *node)
{
    if (restore->code == CTL_OK) {
        progress_end(&restore->progress);
        restore->code = ctl_failed_for(restore->command.ctl, NULL, status, text, node);
    }
}

/* It is sent once more by restore_land(). */
static void keep(struct flight *flight)
{
    flight->next = flight->restore->again;
    flight->restore->again = flight;
}

/* Nothing has gone well for a while, and it is tried on: said once each time. */
static void tell_trouble(struct restore *restore, const char *text)
{
    if (restore->trouble_told || restore->command.ctl->json) {
        return;
    }
    restore->trouble_told = true;
    progress_end(&restore->progress);
    fprintf(stderr,
            "belayctl: archive restore: the cluster takes nothing (%s); it is tried for %d s\n",
            text, PATIENCE_MS / 1000);
}

/* Returns whether it is to be tried again. */
static bool try_again(struct flight *flight, enum belay_status status, struct belay_result *result)
{
    struct restore *restore = flight->restore;
    uint64_t now_ms = archive_now_ms();
    uint32_t pause_ms = result == NULL ? 0 : belay_result_retry_after_ms(result);

    if (restore->trouble_since_ms == 0) {
        restore->trouble_since_ms = now_ms;
    }
    if (restore->code != CTL_OK) {
        return false;
    }
    const char *text = result == NULL ? belay_status_text(status) : belay_result_text(result);
    if (now_ms > restore->trouble_since_ms + PATIENCE_MS) {
        give_up(restore, status, text, result == NULL ? "" : belay_result_node(result));
        return false;
    }
    if (now_ms >= restore->trouble_since_ms + TOLD_MS) {
        tell_trouble(restore, text);
    }
    pause_ms = pause_ms == 0 ? PAUSE_MS : pause_ms;
    restore->pause_ms = pause_ms > restore->pause_ms ? pause_ms : restore->pause_ms;
    return true;
}

/* Returns whether there is more to send of it. */
static bool goes_on(struct flight *flight, enum belay_status status, struct belay_result *result)
{
    struct restore *restore = flight->restore;

    switch (status) {
    case BELAY_OK:
        restore->trouble_since_ms = 0;
        restore->trouble_told = false;
        if (belay_result_recovered(result) == 0) {
            give_up(restore, BELAY_DAMAGED, "the answer makes no sense", belay_result_node(result));
            return false;
        }
        pass(flight, belay_result_recovered(result));
        return flight->at < flight->records.size;
    case BELAY_BUSY:
    case BELAY_UNAVAILABLE:
    case BELAY_MAYBE_APPLIED:
    case BELAY_MEMORY_FULL:
    case BELAY_TIMEOUT:
    case BELAY_STOPPING:
    case BELAY_DISCONNECTED:
    case BELAY_CANNOT_CONNECT:
    case BELAY_TOO_MANY_IN_FLIGHT:
    case BELAY_TOO_MANY_CONNECTIONS:
        return try_again(flight, status, result);
    case BELAY_INVALID:
    case BELAY_DAMAGED:
    case BELAY_KEY_TOO_LARGE:
    case BELAY_SESSION_TOO_LARGE:
    case BELAY_TOO_MANY_FIELDS:
    case BELAY_FRAME_TOO_LARGE:
        refuse(flight, status, result == NULL ? NULL : belay_result_text(result));
        return flight->at < flight->records.size;
    default:
        give_up(restore, status,
                result == NULL ? belay_status_text(status) : belay_result_text(result),
                result == NULL ? "" : belay_result_node(result));
        return false;
    }
}

static void settle(struct flight *flight, enum belay_status status, struct belay_result *result)
{
    if (goes_on(flight, status, result)) {
        keep(flight);
    } else {
        free_flight(flight);
    }
}

static void landed(struct belay_result *result, void *context)
{
    struct flight *flight = context;
    struct restore *restore = flight->restore;

    restore->flying--;
    restore->flying_bytes -= flight->records.size;
    settle(flight, belay_result_status(result), result);
}

static void fly(struct flight *flight)
{
    struct restore *restore = flight->restore;
    struct bytes key = key_of(flight), left = left_of(flight);
    struct belay_request *request = belay_recover_begin(
        restore->client, belay_bytes_of(key.data, key.size), belay_bytes_of(left.data, left.size));

    belay_request_timeout_ms(request, PATIENCE_MS);
    belay_write_ack(request, BELAY_ACK_DISK); /* So what is kept as done is durable. */
    enum belay_status status = belay_send(request, landed, flight);
    if (status == BELAY_OK) {
        restore->flying++;
        restore->flying_bytes += flight->records.size;
    } else {
        settle(flight, status, NULL);
    }
}

/* What was gathered goes. */
static void take_off(struct restore *restore)
{
    struct flight *flight = restore->boarding;

    if (flight == NULL) {
        return;
    }
    restore->boarding = NULL;
    restore->unsent_bytes += flight->records.size;
    fly(flight);
    if (restore->unsent_bytes >= SEND_BYTES) {
        restore->unsent_bytes = 0;
        belay_client_dispatch(restore->client);
    }
    while (restore->flying > FLYING_MAX || restore->flying_bytes > FLYING_BYTES_MAX) {
        belay_client_step(restore->client);
    }
}

/* Room in a flight for one more session. Returns NULL where there is no memory. */
static struct flight *board(struct restore *restore, uint16_t slot, size_t bytes)
{
    struct flight *flight = restore->boarding;

    if (flight != NULL && (flight->slot != slot || flight->count == RECOVER_RECORDS_MAX ||
                           flight->records.size + bytes > FLIGHT_BYTES)) {
        take_off(restore);
        flight = NULL;
    }
    if (flight != NULL) {
        return flight;
    }
    flight = malloc(sizeof *flight);
    if (flight == NULL) {
        return NULL;
    }
    *flight = (struct flight){
        .restore = restore, .slot = slot, .records = {.memory = restore->command.access.memory}};
    if (buffer_reserve(&flight->records, bytes > FLIGHT_BYTES ? bytes : FLIGHT_BYTES) != 0) {
        free_flight(flight);
        return NULL;
    }
    restore->boarding = flight;
    return flight;
}

void restore_send(struct restore *restore, struct bytes key, struct bytes record)
{
    struct flight *flight = board(restore, slot_of_key(key), VARINT_BYTES_MAX + record.size);

    if (flight == NULL) {
        restore->code = archive_refused(&restore->command, "out of memory");
        return;
    }
    struct buffer *records = &flight->records; /* There is room. */
    records->size =
        (size_t)(varint_put(records->data + records->size, record.size) - records->data);
    (void)buffer_append(records, record);
    flight->count++;
}

void restore_land(struct restore *restore)
{
    take_off(restore);
    for (;;) {
        while (restore->flying > 0) {
            belay_client_step(restore->client);
        }
        struct flight *again = restore->again;
        restore->again = NULL;
        if (again == NULL) {
            return;
        }
        usleep((restore->code == CTL_OK ? restore->pause_ms : 0) * 1000);
        restore->pause_ms = 0;
        while (again != NULL) {
            struct flight *next = again->next;
            if (restore->code == CTL_OK) {
                fly(again);
            } else {
                free_flight(again);
            }
            again = next;
        }
    }
}
