#include "creates.h"

#include "far.h"
#include "plane_private.h"
#include "procedure.h"
#include "recover.h"
#include "shard_thread.h"
#include "slot.h"

static bool may_be_handed_on(const struct request *request)
{
    const struct procedure *procedure = request->procedure;

    return request->op == REQUEST_WRITE &&
           (procedure == NULL || (!procedure->many && !procedure->inner));
}

/* It is not known here: is it just being begun elsewhere? */
static void find_new(struct shard_thread *thread, struct request *request, uint32_t slot, bool may,
                     struct copies_route *route)
{
    struct route_far far;

    if (far_has(thread, request)) {
        route->kind = ROUTE_WAIT;
    } else if (may && may_be_handed_on(request) &&
               shard_level(thread->shard, request) <= ACK_REPLICA &&
               replication_route_create(thread->copies.replication, slot, &far)) {
        request->ack = ACK_REPLICA;
        request->for_first = true;
        *route = (struct copies_route){.kind = ROUTE_FAR, .far = far};
    }
}

/* Another owner hands it on to this one, or this one has before. Without a way back it is not done. */
static void look_back(const struct shard_thread *thread, struct request *request, uint32_t slot,
                      struct copies_route *route)
{
    const struct replication *replication = thread->copies.replication;

    if (replication_is_first(replication, slot)) {
        request->for_first = false;
    } else if (route->kind == ROUTE_LOCAL && !replication_tells_first(replication, slot)) {
        route->kind = ROUTE_NOWHERE;
    }
}

void creates_find(struct shard_thread *thread, const struct call *call, struct request *request,
                  bool may, struct copies_route *route)
{
    const uint32_t slot = slot_of_position(request->position);

    copies_find_for(thread, call, request, route);
    if (request->for_first) {
        look_back(thread, request, slot, route);
    }
    if (route->kind == ROUTE_LOCAL && !route->stands_in && !call->coordinate &&
        replication_hands_on(thread->copies.replication) && shard_is_new(thread->shard, request)) {
        find_new(thread, request, slot, may, route);
    }
    if (route->kind == ROUTE_LOCAL && request->procedure != &recover_merge &&
        (restores_holds(thread, request) || far_waits(thread, request))) {
        route->kind = ROUTE_WAIT; /* It came after that; but what it waits for goes before. */
    }
}
