#include "parking.h"

#include <errno.h>
#include <string.h>

#include "request_copy.h"
#include "slot.h"

void parking_init(struct parking *parking, struct memory *memory)
{
    *parking = (struct parking){.memory = memory};
}

static struct parking_chain *chain_of(struct parking *parking, uint64_t position)
{
    return &parking->chains[(position ^ position >> 50) % PARKING_CHAINS];
}

static void append(struct parking_chain *chain, struct parked *parked)
{
    if (chain->last == NULL) {
        chain->first = parked;
    } else {
        chain->last->next = parked;
    }
    chain->last = parked;
}

static int open_chains(struct parking *parking)
{
    struct memory *memory = parking->memory;
    size_t size = PARKING_CHAINS * sizeof parking->chains[0];

    if (parking->chains != NULL) {
        return 0;
    }
    parking->chains = memory->resize(memory, NULL, 0, size);
    if (parking->chains == NULL) {
        return -ENOMEM;
    }
    memset(parking->chains, 0, size);
    return 0;
}

void parking_free(struct parking *parking, struct parked *parked)
{
    parking->bytes -= parked->size;
    parking->count--;
    parking->memory->resize(parking->memory, parked, parked->size, 0);
}

void parking_fini(struct parking *parking)
{
    struct parked *next;

    for (struct parked *parked = parking_take_all(parking); parked != NULL; parked = next) {
        next = parked->next;
        parking_free(parking, parked);
    }
    if (parking->chains != NULL) {
        parking->memory->resize(parking->memory, parking->chains,
                                PARKING_CHAINS * sizeof parking->chains[0], 0);
    }
    parking_init(parking, parking->memory);
}

static struct parked *copy(struct parking *parking, const struct request *request)
{
    size_t size = sizeof(struct parked) + request_bytes(request);
    struct parked *parked = parking->memory->resize(parking->memory, NULL, 0, size);

    if (parked == NULL) {
        return NULL;
    }
    *parked = (struct parked){.size = size};
    parked->request = request_copy(request, parked->bytes);
    parking->bytes += size;
    parking->count++;
    return parked;
}

static bool waits(const struct parking_chain *chain, uint64_t position)
{
    for (const struct parked *parked = chain->first; parked != NULL; parked = parked->next) {
        if (parked->request.position == position) {
            return true;
        }
    }
    return false;
}

int parking_add(struct parking *parking, const struct request *request, bool *first)
{
    if (parking->bytes >= PARKING_BYTES_MAX) {
        return -EAGAIN;
    }
    int rc = open_chains(parking);
    if (rc != 0) {
        return rc;
    }
    struct parking_chain *chain =
        request->op == REQUEST_SCAN ? &parking->scans : chain_of(parking, request->position);
    bool found = waits(chain, request->position);
    struct parked *parked = copy(parking, request);
    if (parked == NULL) {
        return -ENOMEM;
    }
    append(chain, parked);
    *first = !found;
    return 0;
}

void parking_visit_writes(const struct parking *parking,
                          void (*visit)(void *context, uint32_t slot), void *context)
{
    for (uint32_t i = 0; parking->count > 0 && i < PARKING_CHAINS; i++) {
        for (const struct parked *parked = parking->chains[i].first; parked != NULL;
             parked = parked->next) {
            if (parked->request.op == REQUEST_WRITE) {
                visit(context, slot_of_position(parked->request.position));
            }
        }
    }
}

struct parked *parking_take(struct parking *parking, uint64_t position)
{
    struct parking_chain taken = {0}, left = {0};

    if (parking->chains == NULL) {
        return NULL;
    }
    struct parking_chain *chain = chain_of(parking, position);
    for (struct parked *parked = chain->first, *next; parked != NULL; parked = next) {
        next = parked->next;
        parked->next = NULL;
        append(parked->request.position == position ? &taken : &left, parked);
    }
    *chain = left;
    return taken.first;
}

struct parked *parking_take_scans(struct parking *parking)
{
    struct parked *first = parking->scans.first;

    parking->scans = (struct parking_chain){0};
    return first;
}

struct parked *parking_take_all(struct parking *parking)
{
    struct parking_chain all = parking->scans;

    for (uint32_t i = 0; parking->chains != NULL && i < PARKING_CHAINS; i++) {
        struct parking_chain *chain = &parking->chains[i];
        if (chain->first == NULL) {
            continue;
        }
        if (all.last == NULL) {
            all = *chain;
        } else {
            all.last->next = chain->first;
            all.last = chain->last;
        }
        *chain = (struct parking_chain){0};
    }
    parking->scans = (struct parking_chain){0};
    return all.first;
}
