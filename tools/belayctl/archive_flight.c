/* belayctl archive restore: records on their way into the cluster, many at a time. Each may be sent again, as merging
 * it twice changes nothing. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive_restore.h"

enum {
    FLYING_MAX = 16 * 1024,
    FLYING_BYTES_MAX = 32 * 1024 * 1024,
    SEND_BYTES = 128 * 1024, /* So much is handed to the kernel at a time. */
    PATIENCE_MS = 60000,     /* Without any good answer. */
    PAUSE_MS = 100,          /* Where a busy server does not say. */
};

struct flight {
    struct flight *next;
    struct restore *restore;
    size_t key_size, record_size;
    uint8_t bytes[]; /* Key, record. */
};

static void fly(struct flight *flight);

static void refuse(struct flight *flight, enum belay_status status, const char *text)
{
    struct restore *restore = flight->restore;

    restore->done.refused++;
    progress_end(&restore->progress);
    fputs("belayctl: archive restore: ", stderr);
    show_bytes(stderr, belay_bytes_of(flight->bytes, flight->key_size));
    fprintf(stderr, ": %s\n", text == NULL ? belay_status_text(status) : text);
}

static void give_up(struct restore *restore, enum belay_status status, const char *text,
                    const char *node)
{
    if (restore->code == CTL_OK) {
        progress_end(&restore->progress);
        restore->code = ctl_failed_for(restore->command.ctl, NULL, status, text, node);
    }
}

/* Returns whether it is to be tried again, and is kept for that. */
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
    if (now_ms > restore->trouble_since_ms + PATIENCE_MS) {
        give_up(restore, status,
                result == NULL ? belay_status_text(status) : belay_result_text(result),
                result == NULL ? "" : belay_result_node(result));
        return false;
    }
    pause_ms = pause_ms == 0 ? PAUSE_MS : pause_ms;
    restore->pause_ms = pause_ms > restore->pause_ms ? pause_ms : restore->pause_ms;
    flight->next = restore->again;
    restore->again = flight;
    return true;
}

/* Returns whether the flight is over. */
static bool settle(struct flight *flight, enum belay_status status, struct belay_result *result)
{
    struct restore *restore = flight->restore;

    switch (status) {
    case BELAY_OK:
        restore->trouble_since_ms = 0;
        return true;
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
        return !try_again(flight, status, result);
    case BELAY_INVALID:
    case BELAY_DAMAGED:
    case BELAY_KEY_TOO_LARGE:
    case BELAY_SESSION_TOO_LARGE:
    case BELAY_TOO_MANY_FIELDS:
    case BELAY_FRAME_TOO_LARGE:
        refuse(flight, status, result == NULL ? NULL : belay_result_text(result));
        return true;
    default:
        give_up(restore, status,
                result == NULL ? belay_status_text(status) : belay_result_text(result),
                result == NULL ? "" : belay_result_node(result));
        return true;
    }
}

static void landed(struct belay_result *result, void *context)
{
    struct flight *flight = context;
    struct restore *restore = flight->restore;

    restore->flying--;
    restore->flying_bytes -= flight->record_size;
    if (settle(flight, belay_result_status(result), result)) {
        free(flight);
    }
}

static void fly(struct flight *flight)
{
    struct restore *restore = flight->restore;
    struct belay_bytes key = belay_bytes_of(flight->bytes, flight->key_size);
    struct belay_bytes record =
        belay_bytes_of(flight->bytes + flight->key_size, flight->record_size);
    struct belay_request *request = belay_recover_begin(restore->client, key, record);

    belay_request_timeout_ms(request, PATIENCE_MS);
    belay_write_ack(request, BELAY_ACK_DISK); /* So what is kept as done is durable. */
    enum belay_status status = belay_send(request, landed, flight);
    if (status == BELAY_OK) {
        restore->flying++;
        restore->flying_bytes += flight->record_size;
    } else if (settle(flight, status, NULL)) {
        free(flight);
    }
}

void restore_send(struct restore *restore, struct bytes key, struct bytes record)
{
    struct flight *flight = malloc(sizeof *flight + key.size + record.size);

    if (flight == NULL) {
        restore->code = archive_refused(&restore->command, "out of memory");
        return;
    }
    *flight = (struct flight){.restore = restore, .key_size = key.size, .record_size = record.size};
    memcpy(flight->bytes, key.data, key.size);
    memcpy(flight->bytes + key.size, record.data, record.size);
    fly(flight);
    restore->unsent_bytes += record.size;
    if (restore->unsent_bytes >= SEND_BYTES) {
        restore->unsent_bytes = 0;
        belay_client_dispatch(restore->client);
    }
    while (restore->flying > FLYING_MAX || restore->flying_bytes > FLYING_BYTES_MAX) {
        belay_client_step(restore->client);
    }
}

void restore_land(struct restore *restore)
{
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
                free(again);
            }
            again = next;
        }
    }
}
