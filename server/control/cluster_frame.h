/* Bodies of the frames between the control threads of two nodes (peer_frame.h), and what a seed is. Integers are
 * little-endian, varints have their shortest form.
 *
 *   kind       frame's number            body
 *   RAFT       0                         a message of Raft (raft_message.h)
 *   LIVENESS   epoch of the sender's map a message of liveness (liveness_message.h)
 *   REPORT     0                         a report, to the leader (the same)
 *   MAP_PULL   epoch of the sender's map nothing: who has a newer map gives it
 *   MAP        its epoch                 a map (map.h)
 *   PROPOSE    of the proposal           an entry (cluster_log.h), to the leader
 *   PROPOSED   of the proposal           u8 version (1), varint errno: the leader will never take it
 *   ARCHIVED   0                         what the archive has (archive_tails.h); who does not know it passes over it
 *
 *   seed       u8 version (1), u64 index, u64 term, then a snapshot of Raft
 */
#ifndef CLUSTER_FRAME_H
#define CLUSTER_FRAME_H

#include "peer_frame.h"

enum { CLUSTER_PROPOSED_VERSION = 1, CLUSTER_SEED_VERSION = 1, CLUSTER_SEED_HEAD_BYTES = 17 };

#endif
