#include "ring.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUFFER_GROUP = 0 };

static const char *advice(int error)
{
    switch (error) {
    case -EPERM:
    case -EACCES:
        return "io_uring is not permitted here: set the sysctl kernel.io_uring_disabled to 0 (1 "
               "allows "
               "it to members of kernel.io_uring_group), or, in a container, use a seccomp profile "
               "that allows io_uring_setup, io_uring_enter and io_uring_register (Docker: "
               "--security-opt seccomp=PROFILE; systemd: SystemCallFilter=@aio)";
    case -ENOSYS:
        return "this kernel does not offer io_uring (CONFIG_IO_URING, Linux 6.1 or newer), or a "
               "seccomp profile hides it: allow io_uring_setup, io_uring_enter and "
               "io_uring_register";
    case -EINVAL:
        return "this kernel is too old: Linux 6.1 or newer is needed";
    case -ENOMEM:
        return "not enough locked memory: raise RLIMIT_MEMLOCK (ulimit -l; systemd: LimitMEMLOCK=) "
               "or "
               "use fewer shards";
    case -EMFILE:
    case -ENFILE:
        return "too many open files: raise RLIMIT_NOFILE (ulimit -n; systemd: LimitNOFILE=)";
    default:
        return "see dmesg and the manual page io_uring_setup(2)";
    }
}

void ring_explain(int error, const char *what, char *message, size_t message_size)
{
    snprintf(message, message_size, "%s: %s: %s", what, strerror(-error), advice(error));
}

static int make_buffers(struct ring *ring)
{
    size_t table_bytes = RECEIVE_BUFFERS * sizeof(struct io_uring_buf);
    size_t bytes = table_bytes + (size_t)RECEIVE_BUFFERS * RECEIVE_BUFFER_BYTES;
    void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED) {
        return -errno;
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)area,
        .ring_entries = RECEIVE_BUFFERS,
        .bgid = BUFFER_GROUP,
    };
    int rc = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (rc != 0) {
        munmap(area, bytes);
        return rc;
    }
    ring->buffers = area;
    ring->buffer_bytes = (uint8_t *)area + table_bytes;
    io_uring_buf_ring_init(ring->buffers);
    for (uint16_t i = 0; i < RECEIVE_BUFFERS; i++) {
        io_uring_buf_ring_add(ring->buffers, ring->buffer_bytes + (size_t)i * RECEIVE_BUFFER_BYTES,
                              RECEIVE_BUFFER_BYTES, i, io_uring_buf_ring_mask(RECEIVE_BUFFERS), i);
    }
    io_uring_buf_ring_advance(ring->buffers, RECEIVE_BUFFERS);
    return 0;
}

int ring_create(struct ring *ring, char *message, size_t message_size)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_COOP_TASKRUN | IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED,
        .cq_entries = RING_COMPLETIONS,
    };

    *ring = (struct ring){0};
    int rc = io_uring_queue_init_params(RING_SUBMISSIONS, &ring->uring, &params);
    if (rc != 0) {
        ring_explain(rc, "cannot set up io_uring", message, message_size);
        return rc;
    }
    rc = make_buffers(ring);
    if (rc != 0) {
        ring_explain(rc, "cannot register io_uring receive buffers", message, message_size);
        io_uring_queue_exit(&ring->uring);
        return rc;
    }
    return 0;
}

void ring_destroy(struct ring *ring)
{
    if (ring->buffers == NULL) {
        return;
    }
    io_uring_queue_exit(&ring->uring);
    munmap(ring->buffers, RECEIVE_BUFFERS * sizeof(struct io_uring_buf) +
                              (size_t)RECEIVE_BUFFERS * RECEIVE_BUFFER_BYTES);
    *ring = (struct ring){0};
}

int ring_enable(struct ring *ring)
{
    /* liburing 2.3 declares io_uring_enable_rings() but does not export it. */
    if (syscall(SYS_io_uring_register, ring->uring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) <
        0) {
        return -errno;
    }
    (void)io_uring_register_ring_fd(&ring->uring); /* Saves a look-up; fine without. */
    return 0;
}

struct io_uring_sqe *ring_submission(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);

    while (sqe == NULL) {
        (void)io_uring_submit(&ring->uring);
        sqe = io_uring_get_sqe(&ring->uring);
    }
    return sqe;
}

void ring_wait(struct ring *ring, uint64_t timeout_us)
{
    if (timeout_us == 0) {
        (void)io_uring_submit_and_get_events(&ring->uring);
        return;
    }
    struct __kernel_timespec timeout = {
        .tv_sec = (int64_t)(timeout_us / 1000000),
        .tv_nsec = (int64_t)(timeout_us % 1000000) * 1000,
    };
    struct io_uring_cqe *cqe;
    (void)io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &timeout, NULL);
}

struct bytes ring_received(struct ring *ring, const struct io_uring_cqe *cqe)
{
    uint32_t id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;

    assert((cqe->flags & IORING_CQE_F_BUFFER) != 0 && id < RECEIVE_BUFFERS);
    assert(ring->used_count < RECEIVE_BUFFERS);
    ring->used[ring->used_count++] = (uint16_t)id;
    size_t size = cqe->res > 0 ? (size_t)cqe->res : 0;
    return bytes_of(ring->buffer_bytes + (size_t)id * RECEIVE_BUFFER_BYTES, size);
}

void ring_give_back(struct ring *ring)
{
    for (uint32_t i = 0; i < ring->used_count; i++) {
        uint16_t id = ring->used[i];
        io_uring_buf_ring_add(ring->buffers, ring->buffer_bytes + (size_t)id * RECEIVE_BUFFER_BYTES,
                              RECEIVE_BUFFER_BYTES, id, io_uring_buf_ring_mask(RECEIVE_BUFFERS),
                              (int)i);
    }
    io_uring_buf_ring_advance(ring->buffers, (int)ring->used_count);
    ring->used_count = 0;
}
