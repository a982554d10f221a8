/* What liveness.c and liveness_probe.c share. */
#ifndef LIVENESS_PRIVATE_H
#define LIVENESS_PRIVATE_H

#include "liveness.h"

/* The member's place, or NULL. */
struct liveness_peer *liveness_find(struct liveness *liveness, uint32_t node);

/* A message of that kind, with what all have in common; then sent. */
struct liveness_message liveness_message_to(const struct liveness *liveness,
                                            const struct liveness_peer *peer,
                                            enum liveness_kind kind);
void liveness_send(struct liveness *liveness, const struct liveness_peer *peer,
                   const struct liveness_message *message);
void liveness_ping(struct liveness *liveness, struct liveness_peer *peer);

/* This node itself is in trouble, or was answered again. */
void liveness_slower(struct liveness *liveness);
void liveness_faster(struct liveness *liveness);

/* How long a round of probes takes; who is asked has three quarters of it. */
uint32_t liveness_probe_ms(const struct liveness *liveness);

/* Ask others about a suspect: a round begins. */
void liveness_round_begin(struct liveness *liveness, struct liveness_peer *suspect);

/* The time of a round is over. Returns whether others have confirmed the suspicion. */
bool liveness_round_end(struct liveness *liveness, const struct liveness_peer *suspect);

/* A probe, or an answer to one, came from `peer`. */
void liveness_probe(struct liveness *liveness, const struct liveness_peer *peer,
                    const struct liveness_message *message);
void liveness_answer(struct liveness *liveness, const struct liveness_message *message);

/* `subject` was heard: those who asked for it are told. */
void liveness_asked_heard(struct liveness *liveness, uint32_t subject);

/* Ping on for those who asked, and tell NO to those whose time is over. */
void liveness_asked_tick(struct liveness *liveness);

#endif
