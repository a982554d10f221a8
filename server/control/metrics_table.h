/* The table behind metrics.h.
 *
 * X(name, kind, scope, labels, help, value): `scope` NODE has one row of samples, SHARD one for each shard
 * with a label `shard`; `labels` is "" or `key=value|value...`: one sample for each value, with `i` its
 * place. OUTCOMES is SHARD with one more label, `outcome`: `i` is the place times SHARD_STATUSES plus the
 * status; what never happened, but for `ok`, is not shown. `value` is an expression over `m` (struct
 * metrics), `s` (struct metrics_shard; NODE: the first) and `i`. A HISTOGRAM's value is a pointer to one in microseconds; those of all shards are added.
 */
#ifndef METRICS_TABLE_H
#define METRICS_TABLE_H

#include "metrics.h"

#define METRICS_NODE_TABLE(X)                                                                      \
    X(belay_build_info, GAUGE, NODE, "version=" BELAY_VERSION,                                     \
      "Always 1; the label says which build.", 1)                                                  \
    X(belay_uptime_seconds, GAUGE, NODE, "", "Time since the start.", (double)m->uptime_ms / 1e3)  \
    X(belay_ready, GAUGE, NODE, "", "1 while /readyz says 200.", m->ready)                         \
    X(belay_clock_ahead_seconds, GAUGE, NODE, "",                                                  \
      "How far the clock that deadlines use is ahead of the system's.",                            \
      (double)m->clock_ahead_ms / 1e3)                                                             \
    X(belay_memory_limit_bytes, GAUGE, NODE, "", "memory.limit.", m->memory_limit)                 \
    X(belay_disk_free_bytes, GAUGE, NODE, "", "Free where the data directory lies.",               \
      m->disk_free_bytes)                                                                          \
    X(process_cpu_seconds_total, COUNTER, NODE, "", "CPU time of the process.",                    \
      (double)m->process_cpu_us / 1e6)                                                             \
    X(process_resident_memory_bytes, GAUGE, NODE, "", "Resident memory of the process.",           \
      m->process_resident_bytes)                                                                   \
    X(process_start_time_seconds, GAUGE, NODE, "", "When the process started, since 1970.",        \
      (double)m->start_ms / 1e3)

#define METRICS_LOGIN_TABLE(X)                                                                     \
    X(belay_logins_total, COUNTER, NODE, "result=right|wrong|limited|busy",                        \
      "Logins: the password was right or wrong; or there were too many failures, or too many "     \
      "that waited, to look at it.",                                                               \
      i == 0   ? m->logins_right                                                                   \
      : i == 1 ? m->logins_wrong                                                                   \
      : i == 2 ? m->logins_limited                                                                 \
               : m->logins_busy)

#define METRICS_REQUEST_TABLE(X)                                                                   \
    X(belay_requests_total, COUNTER, OUTCOMES, "op=get|write|scan|inspect",                        \
      "Requests answered, by how they ended: `ok`, or the name of the error (proto/status.h).",    \
      s->shard.answers[i / SHARD_STATUSES][i % SHARD_STATUSES])                                    \
    X(belay_request_duration_seconds, HISTOGRAM, SHARD, "op=get|write|scan|inspect",               \
      "From a request's arrival to its answer.", &s->shard.latency[i])                             \
    X(belay_reads_total, COUNTER, SHARD, "result=hit|miss", "GETs that found a session, or none.", \
      i == 0 ? s->shard.hits : s->shard.misses)                                                    \
    X(belay_acks_total, COUNTER, SHARD, "level=memory|replica|disk|archive",                       \
      "Writes acknowledged, by the level reached.", s->shard.acks[i + 1])                          \
    X(belay_requests_refused_total, COUNTER, SHARD, "reason=busy|timeout|limit",                   \
      "Requests answered BUSY, TIMEOUT, or with the error of another limit.",                      \
      i == 0   ? s->shard.busy                                                                     \
      : i == 1 ? s->shard.timeouts                                                                 \
               : s->shard.refused)                                                                 \
    X(belay_writes_repeated_total, COUNTER, SHARD, "",                                             \
      "Repeated writes that were recognised and not applied twice.", s->shard.repeated)            \
    X(belay_touches_logged_total, COUNTER, SHARD, "", "Uses of sessions that were logged.",        \
      s->shard.touches_logged)

#define METRICS_SESSION_TABLE(X)                                                                   \
    X(belay_sessions, GAUGE, SHARD, "", "Live sessions.", s->shard.live)                           \
    X(belay_loading, GAUGE, SHARD, "",                                                             \
      "1 while a restart's sessions are still brought into memory; they are served all the same.", \
      s->shard.loading)                                                                            \
    X(belay_load_failing, GAUGE, SHARD, "",                                                        \
      "1 while a restart's sessions have not read from the disk for some seconds: requests for "   \
      "those that do not read are refused.",                                                       \
      s->shard.load_failing)                                                                       \
    X(belay_sessions_fetched_total, COUNTER, SHARD, "",                                            \
      "Sessions asked of the store: before a restart had come to them, or as they were cold.",     \
      s->shard.fetched)                                                                            \
    X(belay_sessions_cold, GAUGE, SHARD, "",                                                       \
      "Live sessions whose fields are on the disk only (memory.limit).", s->shard.cold)            \
    X(belay_session_moves_total, COUNTER, SHARD, "to=disk|memory",                                 \
      "Sessions whose fields left memory, or came back.",                                          \
      i == 0 ? s->shard.frozen : s->shard.thawed)                                                  \
    X(belay_cold_requests_total, COUNTER, SHARD, "",                                               \
      "Requests that waited for fields to come back; all others found them in memory.",            \
      s->shard.cold_requests)                                                                      \
    X(belay_fetch_duration_seconds, HISTOGRAM, SHARD, "",                                          \
      "From a request to the fields that it needs being in memory.", &s->shard.fetch_us)           \
    X(belay_records, GAUGE, SHARD, "", "Records in memory: sessions and tombstones.",              \
      s->keeper.records)                                                                           \
    X(belay_session_bytes, GAUGE, SHARD, "", "Bytes of the records.", s->keeper.record_bytes)      \
    X(belay_session_memory_bytes, GAUGE, SHARD, "",                                                \
      "Memory held for sessions: records, pages, index.", s->keeper.memory_bytes)                  \
    X(belay_sessions_created_total, COUNTER, SHARD, "", "Sessions begun.", s->shard.created)       \
    X(belay_sessions_ended_total, COUNTER, SHARD, "cause=destroyed|expired", "Sessions ended.",    \
      i == 0 ? s->shard.destroyed : s->shard.expired)                                              \
    X(belay_siblings_hidden_total, COUNTER, SHARD, "",                                             \
      "Concurrent values that a reader was not shown.", s->shard.siblings_hidden)                  \
    X(belay_records_moved_total, COUNTER, SHARD, "", "Records moved to empty sparse pages.",       \
      s->keeper.moved)

#define METRICS_CONNECTION_TABLE(X)                                                                \
    X(belay_shard_responding, GAUGE, SHARD, "",                                                    \
      "0: the shard did not answer in time, and its other samples are missing.", s->responding)    \
    X(belay_connections, GAUGE, SHARD, "", "Open connections of clients.", s->connections)         \
    X(belay_connections_accepted_total, COUNTER, SHARD, "", "Connections accepted.", s->accepted)  \
    X(belay_connections_refused_total, COUNTER, SHARD, "",                                         \
      "Connections refused at limits.connections.", s->refused_connections)                        \
    X(belay_connections_output_limited_total, COUNTER, SHARD, "",                                  \
      "Connections closed because replies were not read (limits.output_buffer).",                  \
      s->output_limited)                                                                           \
    X(belay_events_dropped_total, COUNTER, SHARD, "",                                              \
      "Keyspace events that were not told, as too many messages waited.", s->events_dropped)       \
    X(belay_received_bytes_total, COUNTER, SHARD, "", "Bytes from clients.", s->bytes_in)          \
    X(belay_sent_bytes_total, COUNTER, SHARD, "", "Bytes to clients.", s->bytes_out)               \
    X(belay_frames_bad_total, COUNTER, SHARD, "", "Malformed or damaged frames.", s->frames_bad)   \
    X(belay_hops_total, COUNTER, SHARD, "",                                                        \
      "Requests that went to another shard than their connection's.", s->hops)                     \
    X(belay_shard_cpu_seconds_total, COUNTER, SHARD, "", "CPU time of the shard's thread.",        \
      (double)s->cpu_us / 1e6)

#define METRICS_LOG_TABLE(X)                                                                       \
    X(belay_log_appended_lsn, GAUGE, SHARD, "", "The log's end in memory.", s->log.lsn_appended)   \
    X(belay_log_durable_lsn, GAUGE, SHARD, "", "The log's end on the disk.", s->log.lsn_durable)   \
    X(belay_log_records_total, COUNTER, SHARD, "", "Records appended.", s->log.records)            \
    X(belay_log_bytes_total, COUNTER, SHARD, "", "Bytes appended.", s->log.bytes)                  \
    X(belay_log_device_writes_total, COUNTER, SHARD, "", "Writes to the disk.",                    \
      s->log.device_writes)                                                                        \
    X(belay_log_device_bytes_total, COUNTER, SHARD, "", "Bytes written to the disk.",              \
      s->log.device_bytes)                                                                         \
    X(belay_log_device_write_duration_seconds, HISTOGRAM, SHARD, "", "Of one write to the disk.",  \
      &s->log.device_write_us)                                                                     \
    X(belay_log_full, GAUGE, SHARD, "",                                                            \
      "1 while writes are refused for want of room on the disk.", s->log.full)                     \
    X(belay_log_failed, GAUGE, SHARD, "",                                                          \
      "1 after the disk refused a write: the shard takes no more until a restart.", s->log.failed) \
    X(belay_log_disk_bytes, GAUGE, SHARD, "", "Bytes of the log's files.",                         \
      s->store.log_disk_bytes)                                                                     \
    X(belay_damaged_records_total, COUNTER, SHARD, "",                                             \
      "Damaged records found in the log or the checkpoint.", s->store.damaged)                     \
    X(belay_checkpoint_age_seconds, GAUGE, SHARD, "", "Time since the last checkpoint ended.",     \
      (double)s->store.checkpoint_age_ms / 1e3)                                                    \
    X(belay_checkpoint_duration_seconds, GAUGE, SHARD, "", "What the last checkpoint took.",       \
      (double)s->store.checkpoint_duration_ms / 1e3)                                               \
    X(belay_checkpoint_sessions, GAUGE, SHARD, "", "Sessions that the last checkpoint wrote.",     \
      s->store.checkpoint_sessions)                                                                \
    X(belay_checkpoints_total, COUNTER, SHARD, "", "Checkpoints made.", s->store.checkpoint_count) \
    X(belay_checkpoint_errors_total, COUNTER, SHARD, "", "Checkpoints that failed.",               \
      s->store.checkpoint_errors)

#define METRICS_CLUSTER_TABLE(X)                                                                   \
    X(belay_cluster_epoch, GAUGE, NODE, "", "Epoch of the cluster map that this node goes by.",    \
      m->cluster.epoch)                                                                            \
    X(belay_cluster_members, GAUGE, NODE, "state=joining|active|degraded|draining|down|left",      \
      "Members by the map.", m->cluster.members[i + 1])                                            \
    X(belay_cluster_degraded, GAUGE, NODE, "reason=operator|disk_full|log_failed",                 \
      "Members that are degraded by the map, by reason.", m->cluster.degraded[i])                  \
    X(belay_cluster_unsettled_slots, GAUGE, NODE, "",                                              \
      "Slots whose owners are not yet those who should own them.", m->cluster.unsettled)           \
    X(belay_cluster_maps_total, COUNTER, NODE, "from=agreement|others",                            \
      "Maps that this node began to go by, and of these those that it asked others for.",          \
      i == 0 ? m->cluster.maps_published : m->cluster.maps_pulled)                                 \
    X(belay_cluster_panic, GAUGE, NODE, "",                                                        \
      "1 at the leader while more than half of the members look down: nobody is taken out.",       \
      m->cluster.panic)                                                                            \
    X(belay_raft_term, GAUGE, NODE, "", "Raft's term.", m->cluster.term)                           \
    X(belay_raft_role, GAUGE, NODE, "role=follower|pre_candidate|candidate|leader",                \
      "1 for what this node is in Raft.", m->cluster.role == (enum raft_role)i)                    \
    X(belay_raft_leader, GAUGE, NODE, "",                                                          \
      "Number of the node that leads, as far as this one knows; 0: nobody.", m->cluster.leader)    \
    X(belay_raft_commit_index, GAUGE, NODE, "",                                                    \
      "Up to here Raft's log is committed, as this node knows.", m->cluster.commit)                \
    X(belay_raft_applied_index, GAUGE, NODE, "", "Up to here it is in this node's map.",           \
      m->cluster.applied)                                                                          \
    X(belay_raft_members, GAUGE, NODE, "kind=voter|learner",                                       \
      "Who follows Raft's log, with or without a vote.",                                           \
      i == 0 ? m->cluster.voters : m->cluster.followers - m->cluster.voters)                       \
    X(belay_raft_votes, GAUGE, NODE, "", "1 where this node votes.", m->cluster.votes)             \
    X(belay_raft_elections_total, COUNTER, NODE, "", "Elections that this node won.",              \
      m->cluster.elections)                                                                        \
    X(belay_raft_snapshots_total, COUNTER, NODE, "",                                               \
      "Snapshots of Raft's state that this node made or was given.", m->cluster.snapshots)         \
    X(belay_proposals_total, COUNTER, NODE, "result=taken|failed",                                 \
      "Changes of the map that this node proposed, and of these those that were refused or not "   \
      "decided in time.",                                                                          \
      i == 0 ? m->cluster.proposals : m->cluster.proposals_failed)                                 \
    X(belay_control_frames_bad_total, COUNTER, NODE, "",                                           \
      "Frames of other nodes' control threads that could not be read.", m->cluster.frames_bad)

#define METRICS_COPIES_TABLE(X)                                                                    \
    X(belay_copies_behind_records, GAUGE, SHARD, "",                                               \
      "Writes that were sent to other nodes, which have not said that they have them.",            \
      s->records_behind)                                                                           \
    X(belay_copies_behind_bytes, GAUGE, SHARD, "", "Bytes of them.", s->bytes_behind)              \
    X(belay_copies_behind_seconds, GAUGE, SHARD, "", "Age of the oldest of them.",                 \
      (double)s->behind_us / 1e6)                                                                  \
    X(belay_copies_records_total, COUNTER, SHARD, "direction=in|out",                              \
      "Writes of other nodes that were merged here, and of this one that were sent.",              \
      i == 0 ? s->copies.records_in : s->copies.records_out)                                       \
    X(belay_copies_bytes_total, COUNTER, SHARD, "", "Bytes of writes that were sent.",             \
      s->copies.bytes_out)                                                                         \
    X(belay_copies_slots_owned, GAUGE, SHARD, "", "Slots that this node owns.",                    \
      s->copies.slots_owned)                                                                       \
    X(belay_copies_slots_not_level, GAUGE, SHARD, "",                                              \
      "Of these: not known yet to have what other owners have.", s->copies.slots_not_level)        \
    X(belay_copies_slots_stray, GAUGE, SHARD, "",                                                  \
      "Not this node's, of which something is here until all their owners have it.",               \
      s->copies.slots_stray)                                                                       \
    X(belay_copies_compared_slots_total, COUNTER, SHARD, "result=done|failed",                     \
      "Slots that were compared with another node.",                                               \
      i == 0 ? s->copies.compared : s->copies.compares_failed)                                     \
    X(belay_copies_healed_sessions_total, COUNTER, SHARD, "direction=in|out",                      \
      "Sessions that a comparison brought, or sent.",                                              \
      i == 0 ? s->copies.healed_in : s->copies.healed_out)                                         \
    X(belay_copies_waits_total, COUNTER, SHARD, "for=log|shard",                                   \
      "Times that copies from another node waited for room in the log, and that their stream was " \
      "held, to be sent again, as the shard could not take them.",                                 \
      i == 0 ? s->link_waits : s->copies.held)                                                     \
    X(belay_copies_stuck, GAUGE, SHARD, "",                                                        \
      "Shards of other nodes that have taken none of the sessions that a comparison is to send "   \
      "there for ten seconds.",                                                                    \
      s->copies.stuck)                                                                             \
    X(belay_copies_stuck_total, COUNTER, SHARD, "", "Times that one was.", s->copies.stuck_times)  \
    X(belay_copies_unheeded_total, COUNTER, SHARD, "",                                             \
      "Times that copies to a shard of another node were not waited for any more, as its machine " \
      "did not say that anything came there.",                                                     \
      s->copies.unheeded)                                                                          \
    X(belay_switched_slots_total, COUNTER, SHARD, "direction=in|out",                              \
      "Slots that this node took from their primary before, as the map said, and that it let go.", \
      i == 0 ? s->copies.slots_taken : s->copies.slots_released)                                   \
    X(belay_switch_holds_total, COUNTER, SHARD, "result=all|lapsed",                               \
      "Times that writes of a slot were held before it was let go; and of these, that they went "  \
      "on as what was waited for took longer than `cluster.switch_hold`.",                         \
      i == 0 ? s->copies.holds : s->copies.holds_lapsed)                                           \
    X(belay_switch_held_seconds, HISTOGRAM, SHARD, "",                                             \
      "How long requests waited as their session's slot was switched from one node to another.",   \
      &s->held_us)                                                                                 \
    X(belay_switch_held_longest_seconds, GAUGE, SHARD, "",                                         \
      "The longest of these since the start.", (double)s->held_us.max / 1e6)                       \
    X(belay_copies_bad_messages_total, COUNTER, SHARD, "",                                         \
      "Connections with shards of other nodes that were cut for what came on them.",               \
      s->copies.bad_messages)

#define METRICS_LIVENESS_TABLE(X)                                                                  \
    X(belay_heartbeats_total, COUNTER, NODE, "direction=sent|heard",                               \
      "Heartbeats to and from other members, with pings and their answers.",                       \
      i == 0 ? m->cluster.liveness.heartbeats_sent : m->cluster.liveness.heartbeats_heard)         \
    X(belay_suspicions_total, COUNTER, NODE, "result=begun|refuted|confirmed|silent",              \
      "Members that this node did not hear: it asked others, heard them after all, was told the "  \
      "same, or gave them up (with those confirmed).",                                             \
      i == 0   ? m->cluster.liveness.suspicions                                                    \
      : i == 1 ? m->cluster.liveness.refuted                                                       \
      : i == 2 ? m->cluster.liveness.confirmed                                                     \
               : m->cluster.liveness.silent)                                                       \
    X(belay_probes_total, COUNTER, NODE, "kind=asked|unanswered|answered",                         \
      "Questions about members: asked of others, rounds that nobody answered, and answers to "     \
      "others.",                                                                                   \
      i == 0   ? m->cluster.liveness.probes_sent                                                   \
      : i == 1 ? m->cluster.liveness.probes_unanswered                                             \
               : m->cluster.liveness.answered_yes + m->cluster.liveness.answered_no +              \
                     m->cluster.liveness.answered_unsure)                                          \
    X(belay_member_links_broken_total, COUNTER, NODE, "",                                          \
      "Connections with other members that broke.", m->cluster.liveness.resets)                    \
    X(belay_member_restarts_total, COUNTER, NODE, "",                                              \
      "Members that were heard in another life than before.", m->cluster.liveness.restarts)        \
    X(belay_control_pauses_total, COUNTER, NODE, "",                                               \
      "Times that the control thread did not run for long: no sign of life of others was missed "  \
      "for it.",                                                                                   \
      m->cluster.liveness.pauses)                                                                  \
    X(belay_verdicts_total, COUNTER, NODE, "verdict=down|up|condition|held",                       \
      "At the leader, since it leads: members that it proposed to take out, let in again, or "     \
      "call degraded or well; and that it held although they look down.",                          \
      i == 0   ? m->cluster.verdict.downs                                                          \
      : i == 1 ? m->cluster.verdict.ups                                                            \
      : i == 2 ? m->cluster.verdict.conditions                                                     \
               : m->cluster.verdict.held)                                                          \
    X(belay_flaps_total, COUNTER, NODE, "",                                                        \
      "Of those taken out: such as had been out not long before, and stay out for longer.",        \
      m->cluster.verdict.flaps)                                                                    \
    X(belay_panics_total, COUNTER, NODE, "",                                                       \
      "Times that more than half of the members looked down, since this node leads.",              \
      m->cluster.verdict.panics)

#define METRICS_PEER_TABLE(X)                                                                      \
    X(belay_peer_handshakes_total, COUNTER, NODE,                                                  \
      "result=ok|version|cluster|secret|node|start|clock|shards|busy|garbage|other|removed|"       \
      "closed|"                                                                                    \
      "slow|crowded",                                                                              \
      "Handshakes with other nodes, of both directions, by how they ended: `ok`, or why not.",     \
      m->peers.handshakes[i])                                                                      \
    X(belay_peer_handshakes_open, GAUGE, NODE, "direction=in|out", "Handshakes under way.",        \
      i == 0 ? m->peers.greetings : m->peers.dials)                                                \
    X(belay_peer_dials_failed_total, COUNTER, NODE, "",                                            \
      "Dials that found nobody: no address of the name, no connection.", m->peers.dials_failed)    \
    X(belay_peer_links, GAUGE, NODE, "kind=control_out|control_in|data_out",                       \
      "Connections with other nodes that are up: control links that this node dialled, those "     \
      "that others did, data links that this node dialled.",                                       \
      i == 0   ? m->peers.dialled                                                                  \
      : i == 1 ? m->peers.accepted                                                                 \
               : m->peers.data_links)                                                              \
    X(belay_peer_frames_total, COUNTER, NODE, "direction=in|out", "Frames on control links.",      \
      i == 0 ? m->peers.frames_in : m->peers.frames_out)                                           \
    X(belay_peer_bytes_total, COUNTER, NODE, "direction=in|out", "Bytes on control links.",        \
      i == 0 ? m->peers.bytes_in : m->peers.bytes_out)                                             \
    X(belay_peer_frames_dropped_total, COUNTER, NODE, "",                                          \
      "Frames that were not sent, as the other node did not take what was.", m->peers.dropped)

/* Without an archive all of it is 0. */
#define METRICS_ARCHIVE_TABLE(X)                                                                   \
    X(belay_archive_configured, GAUGE, NODE, "", "1 where there is an archive.url.",               \
      m->archive.there)                                                                            \
    X(belay_archive_degraded, GAUGE, NODE, "",                                                     \
      "1 while the archive is away: its last try came to nothing, and it is tried again.",         \
      m->archive.away)                                                                             \
    X(belay_archive_based, GAUGE, NODE, "",                                                        \
      "1 where the archive has all that the node has; 0: it may lack what was not written since "  \
      "the archive is there.",                                                                     \
      m->archive.based)                                                                            \
    X(belay_archive_rpo_seconds, GAUGE, NODE, "",                                                  \
      "Age of the oldest write that is not archived yet: of this node, or of another one whose "   \
      "copy is here.",                                                                             \
      (double)m->archive.behind_ms / 1e3)                                                          \
    X(belay_archive_taken_nodes, GAUGE, NODE, "",                                                  \
      "Other nodes whose writes this one archives, as they are down or behind.", m->archive.taken) \
    X(belay_archive_taken_records_total, COUNTER, NODE, "",                                        \
      "Records of other nodes that this one archived in their place.", m->archive.taken_records)   \
    X(belay_archive_unarchived_bytes, GAUGE, NODE, "", "Log that is not archived yet.",            \
      m->archive.behind_bytes)                                                                     \
    X(belay_archive_kept_bytes, GAUGE, NODE, "",                                                   \
      "Files of the log that are kept for the archive alone (archive.backlog).",                   \
      m->archive.kept_bytes)                                                                       \
    X(belay_archive_objects_total, COUNTER, NODE, "", "Objects stored.", m->archive.objects)       \
    X(belay_archive_checkpoints_total, COUNTER, NODE, "", "Checkpoints stored, each whole.",       \
      m->archive.checkpoints)                                                                      \
    X(belay_archive_records_total, COUNTER, NODE, "", "Records in them.", m->archive.records)      \
    X(belay_archive_bytes_total, COUNTER, NODE, "kind=raw|stored",                                 \
      "Bytes of records that went out, and of the objects that they became: their ratio is what "  \
      "compression leaves.",                                                                       \
      i == 0 ? m->archive.raw_bytes : m->archive.object_bytes)                                     \
    X(belay_archive_errors_total, COUNTER, NODE, "",                                               \
      "Objects that could not be made or stored; each is tried again.", m->archive.failures)       \
    X(belay_archive_conflicts_total, COUNTER, NODE, "",                                            \
      "Names of objects that were taken by others: never seen unless a copy of the data "          \
      "directory runs.",                                                                           \
      m->archive.conflicts)                                                                        \
    X(belay_archive_gap_bytes_total, COUNTER, NODE, "",                                            \
      "Log that was given up, or is damaged, before it was archived.", m->archive.gap_bytes)       \
    X(belay_archive_baseless_total, COUNTER, NODE, "",                                             \
      "Changes of sessions that went without what they change, as the session had left the node.", \
      m->archive.baseless)                                                                         \
    X(belay_archive_restore_slots, GAUGE, NODE, "",                                                \
      "Slots of this node that were lost with their last owner, and are still to come from the "   \
      "archive.",                                                                                  \
      m->archive.restore.slots)                                                                    \
    X(belay_archive_restore_eta_seconds, GAUGE, NODE, "",                                          \
      "In about so long they are there; 0: that is not known, or nothing is lost.",                \
      (double)m->archive.restore.eta_ms / 1e3)                                                     \
    X(belay_archive_restored_sessions_total, COUNTER, NODE, "",                                    \
      "Sessions that were brought back into lost slots, ended ones included.",                     \
      m->archive.restore.sessions)                                                                 \
    X(belay_archive_restore_damaged_total, COUNTER, NODE, "",                                      \
      "Objects, or parts of them, that could not be read for that; the log names them.",           \
      m->archive.restore.damaged)                                                                  \
    X(belay_archive_put_duration_seconds, HISTOGRAM, SHARD, "",                                    \
      "From the first try to store an object to its being stored.",                                \
      s == m->shards ? &m->archive.store_us : metrics_nothing())                                   \
    X(belay_archive_ack_duration_seconds, HISTOGRAM, SHARD, "",                                    \
      "From the arrival of a write of level archive to its being stored there.",                   \
      &s->shard.archive_us)                                                                        \
    X(belay_archive_waiting, GAUGE, SHARD, "", "Writes that wait for the archive.",                \
      s->shard.archive_waits)                                                                      \
    X(belay_archive_late_total, COUNTER, SHARD, "",                                                \
      "Writes that waited for the archive for longer than archive.timeout: UNAVAILABLE.",          \
      s->shard.archive_late)

#define METRICS_TABLE(X)                                                                           \
    METRICS_NODE_TABLE(X)                                                                          \
    METRICS_LOGIN_TABLE(X)                                                                         \
    METRICS_PEER_TABLE(X)                                                                          \
    METRICS_CLUSTER_TABLE(X)                                                                       \
    METRICS_LIVENESS_TABLE(X)                                                                      \
    METRICS_REQUEST_TABLE(X)                                                                       \
    METRICS_SESSION_TABLE(X)                                                                       \
    METRICS_CONNECTION_TABLE(X)                                                                    \
    METRICS_LOG_TABLE(X)                                                                           \
    METRICS_ARCHIVE_TABLE(X)                                                                       \
    METRICS_COPIES_TABLE(X)

#endif
