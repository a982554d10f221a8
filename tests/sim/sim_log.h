/* A node's log: what belayd's log writer and store are to its shard, on a simulated disk (sim_node.disk).
 *
 * It has the format of the store (log_format.h): each life begins a new epoch, each device write brings a MARK. Epochs
 * are known to the node for sure, as segments' headers are written before they are used. A start reads the log up to
 * its end, gives it to the shard, and goes on behind it.
 */
#ifndef SIM_LOG_H
#define SIM_LOG_H

#include "disk.h"
#include "log_format.h"
#include "ports.h"

struct shard;

enum { SIM_LOG_EPOCHS_MAX = 512, SIM_LOG_INTERVAL_US = 10000 };

struct sim_log {
    struct log_port port;
    struct sim *sim;
    uint32_t node;
    size_t waiting_bytes_max; /* More than that waits to be written: -EAGAIN. */
    /* A record is in the file. NULL: nobody wants to know. */
    void (*appended)(struct sim_log *log, uint8_t kind);

    /* In the data directory. */
    struct sim_log_epoch {
        struct log_epoch epoch;
        size_t at; /* Where it begins in the file. */
    } epochs[SIM_LOG_EPOCHS_MAX];
    uint32_t epoch_count;

    /* Of this life. */
    bool timed;    /* The interval runs. */
    bool failed;   /* The device has. */
    size_t marked; /* Up to here the file was when the last record was put. */
    int rc;        /* How an append failed first, since somebody set this to 0. */
};

void sim_log_init(struct sim_log *log, struct sim *sim, uint32_t node);

/* The data directory is empty. */
void sim_log_wipe(struct sim_log *log);
bool sim_log_is_new(const struct sim_log *log);

/* A life begins; it goes on behind what can be read of the file, which ends there. */
void sim_log_open(struct sim_log *log);
void sim_log_begin(struct sim_log *log, size_t end);

/* Visit the records from one place, where one begins, up to another, until `visit` returns another value than 0. Returns
 * where it stopped: at that record, or where what can be read ends. */
size_t sim_log_walk(const struct sim_log *log, size_t from, size_t until,
                    int (*visit)(void *context, size_t at, const struct log_record *record),
                    void *context);

/* A record goes back to where it came from. */
void sim_log_give(struct shard *shard, const struct log_record *record);

/* A device write is over, and the shard knows. */
void sim_log_written(struct sim_log *log, bool good);

#endif
