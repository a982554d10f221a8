/* Every key of belayd.conf, once. From these tables come the struct, the parser, the checks, the
 * example file, the man page and the answer to `belayctl config get`.
 *
 * X(section, key, kind, default, least, most, help): `least` and `most` bound a number, a size in bytes
 * or a duration in milliseconds, and the length of a text. A default is written as in the file.
 */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "limits.h"

#define CONFIG_MS_PER_DAY INT64_C(86400000)
#define CONFIG_TTL_MAX    (TTL_MS_MAX_DAYS * CONFIG_MS_PER_DAY)
#define CONFIG_KIB        INT64_C(1024)
#define CONFIG_MIB        (1024 * CONFIG_KIB)
#define CONFIG_GIB        (1024 * CONFIG_MIB)
#define CONFIG_TIB        (1024 * CONFIG_GIB)

enum { CONFIG_TEXT_MAX = 1000 };

#define CONFIG_NODE_KEYS(X)                                                                        \
    X(node, name, TEXT, "", 0, 255,                                                                \
      "Name of this node in messages, replies and metrics. Empty: the name of the host. It keeps " \
      "the "                                                                                       \
      "one with which its data directory was made, or entered a cluster.")                         \
    X(node, zone, TEXT, "", 0, 255,                                                                \
      "Zone (rack, availability zone) of this node: the copies of a session are in different "     \
      "zones where there are several. Said when the node joins.")                                  \
    X(node, region, TEXT, "", 0, 255, "Region of this node. Said when the node joins.")            \
    X(node, weight, TEXT, "", 0, 7,                                                                \
      "Share of the sessions that this node takes, relative to the others: a number up to "        \
      "1000000. Empty: the memory limit in GiB times 100. 0: it joins without any, until "         \
      "`belayctl node activate`. Said when the node joins; later it is the map's (`belayctl node " \
      "weight`).")                                                                                 \
    X(node, drain_on_stop, DURATION, "0", 0, CONFIG_MS_PER_DAY,                                    \
      "On SIGTERM the node gives its sessions to the others first, for so long at most, and "      \
      "comes back to its part at the next start; a second SIGTERM, or `belayctl node drain NAME "  \
      "--cancel`, stops it at once. 0: it stops at once, and others stand in.")                    \
    X(node, shards, NUMBER, "0", 0, 255,                                                           \
      "Threads that serve sessions, each with its part of them. 0: one for each core that the "    \
      "process may use, as far as `memory.limit` has room for them. May change from start to "     \
      "start.")

#define CONFIG_LISTEN_KEYS(X)                                                                      \
    X(listen, address, ADDRESS, "127.0.0.1", 1, 64,                                                \
      "IPv4 or IPv6 address to listen on. Outside of loopback there must be users, or "            \
      "`insecure`.")                                                                               \
    X(listen, port, NUMBER, "7400", 0, 65535,                                                      \
      "Port of the native protocol and of Redis clients. 0: the system picks one, shown when "     \
      "belayd is ready.")                                                                          \
    X(listen, cluster_port, NUMBER, "7401", 0, 65535,                                              \
      "Port for cluster-aware Redis clients. 0: the system picks one.")                            \
    X(listen, peer_port, NUMBER, "7402", 0, 65535,                                                 \
      "Port for other nodes, which prove that they have the secret of the cluster. 0: the system " \
      "picks one. Where another program has it, a node that is alone goes on without.")            \
    X(listen, http_port, NUMBER, "7403", 0, 65535,                                                 \
      "Port of /metrics, /healthz and /readyz. 0: the system picks one.")                          \
    X(listen, announce, TEXT, "", 0, 253,                                                          \
      "Address or name under which other nodes and clients reach this node. Empty: `address`, "    \
      "or the name of the host where that is every address.")                                      \
    X(listen, insecure, SWITCH, "no", 0, 0,                                                        \
      "Without users, listen outside of loopback all the same: whoever reaches the port may read " \
      "and end every session.")

#define CONFIG_STORAGE_KEYS(X)                                                                     \
    X(storage, dir, TEXT, "/var/lib/belay", 1, CONFIG_TEXT_MAX,                                    \
      "Data directory: log, checkpoint and identity of this node. One belayd at a time uses it.")  \
    X(storage, log_interval, DURATION, "10ms", 1, 10000,                                           \
      "At most this long after a write the log is written to the disk, or when the write to the "  \
      "disk before is done. It bounds what a machine that loses power loses of writes "            \
      "acknowledged at `memory`; a process that is killed loses none.")                            \
    X(storage, disk_limit, SIZE, "0", 0, 1024 * CONFIG_TIB,                                        \
      "Most bytes that the data directory may take; past it writes are refused and reads go on. "  \
      "At least three times `storage.segment_size` for each shard. 0: what the disk has.")         \
    X(storage, segment_size, SIZE, "0", 0, 4 * CONFIG_GIB,                                         \
      "Size of a file of the log; each shard has at least two. It is raised to 16MiB, and to "     \
      "what the largest session needs. 0: as small as that allows.")

#define CONFIG_MEMORY_KEYS(X)                                                                      \
    X(memory, limit, SIZE, "0", 0, 1024 * CONFIG_TIB,                                              \
      "Most memory for sessions. At it those not used for longest keep only their keys and "       \
      "deadlines in memory, and are read back from the checkpoint when they are used; new ones "   \
      "wait for that (BUSY), or are refused (MEMORY_FULL) where the keys alone fill it. Beside "   \
      "it each shard needs up to 100MiB while its log is compacted. At least 8MiB for each "       \
      "shard, and four times the largest `session_max_bytes`; 16MiB are wise. 0: three quarters "  \
      "of what the machine (or the control group of the process) has.")

#define CONFIG_CLUSTER_KEYS(X)                                                                     \
    X(cluster, replicas, NUMBER, "2", 1, 5,                                                        \
      "How many nodes have each session, as far as there are so many. Of a new cluster: later "    \
      "`belayctl cluster replicas` changes it, for all, and what stands here does not count "      \
      "(`replicas-differ` in the log).")                                                           \
    X(cluster, heartbeat, DURATION, "1s", 100, 10000,                                              \
      "So often nodes tell each other that they live.")                                            \
    X(cluster, down_after, DURATION, "3s", 300, 120000,                                            \
      "A node that was not heard for so long, by others neither, is down: the map says so, and "   \
      "its slots get other owners. At least three times `heartbeat`.")                             \
    X(cluster, link_silent, DURATION, "500ms", 100, 10000,                                         \
      "A node that was not heard for so long is passed over: the next owner of a session takes "   \
      "its requests, without the map being changed.")                                              \
    X(cluster, heal_rate, SIZE, "0", 0, CONFIG_TIB,                                                \
      "Of sessions that move, and of those that another node lacks, this one sends about so many " \
      "bytes in a second. 0: as many as the others take.")                                         \
    X(cluster, heal_share, NUMBER, "25", 1, 100,                                                   \
      "Of its time each shard spends so many percent on taking such sessions in while clients "    \
      "want something of it; while they do not, all.")                                             \
    X(cluster, switch_hold, DURATION, "20ms", 1, 1000,                                             \
      "While a slot goes to another node its writes are held for so long at most at a time, "      \
      "until "                                                                                     \
      "what was begun before is done; then they go on here, and it is tried again.")               \
    X(cluster, cooldown, DURATION, "30s", 0, 600000,                                               \
      "A node that went down owns slots again after so long; while it comes and goes, after "      \
      "twice as long each time, up to `cooldown_max`.")                                            \
    X(cluster, cooldown_max, DURATION, "10m", 0, 86400000,                                         \
      "The longest cooldown; a node that stayed up for so long begins with the shortest again.")   \
    X(cluster, probes, NUMBER, "3", 0, 16,                                                         \
      "So many other nodes are asked whether they hear one that is silent, before it is down.")    \
    X(cluster, panic, NUMBER, "50", 10, 50,                                                        \
      "While more than so many percent of the nodes look down no slot gets another owner: the "    \
      "fault is then more likely in the network between them.")                                    \
    X(cluster, max_clock_skew, DURATION, "2s", 10, 3600000,                                        \
      "A node whose clock differs by more from ours is refused: deadlines and the order of "       \
      "writes go by clocks.")                                                                      \
    X(cluster, tombstone_keep, DURATION, "1h", 1000, CONFIG_TTL_MAX,                               \
      "How long a destroyed session is remembered: under `no_resurrect` a late write cannot "      \
      "bring it back for this long.")

#define CONFIG_ARCHIVE_KEYS(X)                                                                     \
    X(archive, url, TEXT, "", 0, 400,                                                              \
      "Where sessions are archived: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`. All nodes of a "  \
      "cluster have the same. Empty: nowhere.")                                                    \
    X(archive, endpoint, TEXT, "", 0, 300,                                                         \
      "Of S3: `https://HOST:PORT` of the server. Empty: AWS_ENDPOINT_URL of the environment, "     \
      "else "                                                                                      \
      "Amazon's.")                                                                                 \
    X(archive, region, TEXT, "", 0, 60,                                                            \
      "Of S3. Empty: AWS_REGION or AWS_DEFAULT_REGION of the environment, else us-east-1.")        \
    X(archive, path_style, SWITCH, "yes", 0, 0,                                                    \
      "Of S3: the bucket stands in the path of a request, not in the name of the host.")           \
    X(archive, ca_file, TEXT, "", 0, CONFIG_TEXT_MAX,                                              \
      "Of S3: certificates (PEM) that the server's must go back to. Empty: the system's.")         \
    X(archive, credentials_file, TEXT, "", 0, CONFIG_TEXT_MAX,                                     \
      "Of S3: a file as Amazon's tools have it, with aws_access_key_id and "                       \
      "aws_secret_access_key in [default], or in AWS_PROFILE's section. AWS_ACCESS_KEY_ID and "    \
      "AWS_SECRET_ACCESS_KEY of the environment come before it.")                                  \
    X(archive, key_file, TEXT, "", 0, CONFIG_TEXT_MAX,                                             \
      "Objects are enciphered with the first key of this file, a line `ID KEY` with 32 bytes in "  \
      "hexadecimal digits or base64; lines of earlier keys stay as long as there are objects of "  \
      "them. Empty: BELAY_ARCHIVE_KEYS of the environment, else objects are not enciphered.")      \
    X(archive, flush, DURATION, "5s", 10, 3600000,                                                 \
      "So often what was written goes to the archive; sooner where much was, and at once where a " \
      "write of level `archive` waits. It bounds, with one PUT, what is lost of lower levels "     \
      "where all nodes and their disks go.")                                                       \
    X(archive, object_size, SIZE, "16MiB", CONFIG_MIB, 64 * CONFIG_MIB,                            \
      "About so much log goes into an object.")                                                    \
    X(archive, timeout, DURATION, "10s", 100, 600000,                                              \
      "A write of level `archive` that has waited for it for so long is answered UNAVAILABLE; it " \
      "is done, and goes to the archive later.")                                                   \
    X(archive, keep, DURATION, "7d", 0, 3650 * UINT64_C(86400000),                                 \
      "A restore may be as of any time so long ago; what none of these needs is removed. 0: "      \
      "nothing is.")                                                                               \
    X(archive, restore_rate, SIZE, "0", 0, CONFIG_TIB,                                             \
      "Of slots that were lost with their last owner, about so many bytes of the archive are "     \
      "brought back in a second, beside what is asked for, which comes at once. 0: as fast as it " \
      "goes.")                                                                                     \
    X(archive, backlog, SIZE, "4GiB", 0, 1024 * CONFIG_TIB,                                        \
      "While the archive is away, so many bytes of log are kept for it beside what the node "      \
      "needs "                                                                                     \
      "itself; at most half of `storage.disk_limit`. Beyond it the oldest is given up, which is "  \
      "told.")

#define CONFIG_LIMITS_KEYS(X)                                                                      \
    X(limits, connections, NUMBER, "0", 0, 1000000,                                                \
      "Open connections of clients; one more is told TOO_MANY_CONNECTIONS and closed. 0: as many " \
      "as the limit of open files allows, but at most 50000.")                                     \
    X(limits, in_flight, NUMBER, "1024", 1, REQUESTS_IN_FLIGHT_MAX,                                \
      "Unanswered requests of one connection; one more is answered TOO_MANY_IN_FLIGHT.")           \
    X(limits, frame, SIZE, "16MiB", 64 * CONFIG_KIB, FRAME_BYTES_MAX,                              \
      "Largest request. A larger one is answered FRAME_TOO_LARGE and ends the connection.")        \
    X(limits, output_buffer, SIZE, "8MiB", 64 * CONFIG_KIB, CONFIG_GIB,                            \
      "Replies that a client has not read: past it, or 512KiB, its requests wait. Past twice as "  \
      "much, the largest answer not counted, OUTPUT_LIMIT is its last one and it is closed.")      \
    X(limits, queue_delay, DURATION, "100ms", 1, 60000,                                            \
      "A request that has waited longer than this is answered BUSY, with the time after which "    \
      "to try again.")                                                                             \
    X(limits, fields, NUMBER, "65536", 1, SESSION_FIELDS_MAX,                                      \
      "Fields of one session; a write that would pass it is answered TOO_MANY_FIELDS.")

#define CONFIG_RESP_KEYS(X)                                                                        \
    X(resp, allow_flush, SWITCH, "no", 0, 0,                                                       \
      "Redis clients may end all sessions at once, by FLUSHDB and FLUSHALL.")                      \
    X(resp, notify_keyspace_events, TEXT, "", 0, 32,                                               \
      "Which keyspace events Redis clients can subscribe to, in Redis's letters, until CONFIG "    \
      "SET "                                                                                       \
      "says otherwise; of them `del` (g) and `expired` (x) are told. `Egx`: what Spring Session "  \
      "asks for.")                                                                                 \
    X(resp, slowlog_log_slower_than, TEXT, "10000", 1, 20,                                         \
      "Microseconds: commands of Redis clients that take so long in their shard are kept for "     \
      "SLOWLOG, until CONFIG SET says otherwise. Below 1000 each command is measured, which "      \
      "costs some. 0: all. -1: none.")                                                             \
    X(resp, slowlog_max_len, NUMBER, "128", 0, 100000,                                             \
      "How many of them are kept, until CONFIG SET says otherwise; each takes up to 5KiB.")

#define CONFIG_LOG_KEYS(X)                                                                         \
    X(log, format, LOG_FORMAT, "text", 0, 0,                                                       \
      "Lines on stderr: `text` is `time level event key=value ...`, `json` one object a line.")    \
    X(log, level, LOG_LEVEL, "info", 0, 0, "Least important lines that are written.")

#define CONFIG_TABLE(X)                                                                            \
    CONFIG_NODE_KEYS(X)                                                                            \
    CONFIG_LISTEN_KEYS(X)                                                                          \
    CONFIG_STORAGE_KEYS(X)                                                                         \
    CONFIG_MEMORY_KEYS(X)                                                                          \
    CONFIG_CLUSTER_KEYS(X)                                                                         \
    CONFIG_ARCHIVE_KEYS(X)                                                                         \
    CONFIG_LIMITS_KEYS(X)                                                                          \
    CONFIG_RESP_KEYS(X)                                                                            \
    CONFIG_LOG_KEYS(X)

/* The keys of a [policy "PREFIX"] section. */
#define CONFIG_POLICY_TABLE(X)                                                                     \
    X(policy, ack, ACK, "replica", 0, 0,                                                           \
      "When a write is acknowledged that asks for no level of its own: `memory`, `replica`, "      \
      "`disk` or `archive`. A node that is alone reaches `memory` for `replica`, and says so in "  \
      "the reply. Without `archive.url` nothing reaches `archive`: UNAVAILABLE.")                  \
    X(policy, idle_ttl, DURATION, "0", 0, CONFIG_TTL_MAX,                                          \
      "Idle timeout of sessions that begin without one. 0: none.")                                 \
    X(policy, absolute_ttl, DURATION, "0", 0, CONFIG_TTL_MAX,                                      \
      "Lifetime of sessions that begin without one, whatever their use. 0: none.")                 \
    X(policy, touch_on_read, SWITCH, "no", 0, 0,                                                   \
      "Reading a session counts as use and moves its idle deadline.")                              \
    X(policy, session_max_bytes, SIZE, "1MiB", CONFIG_KIB, SESSION_BYTES_MAX,                      \
      "Largest session, of names and values; a write that would pass it is answered "              \
      "SESSION_TOO_LARGE. For what is kept beside them a quarter of it is added, at most 4KiB: "   \
      "so much more may pass. At most `limits.frame` less 64KiB.")                                 \
    X(policy, no_resurrect, SWITCH, "no", 0, 0,                                                    \
      "A session that was destroyed comes back only by an explicit create, not by a late write, "  \
      "for `cluster.tombstone_keep`. No command of Redis clients is such a create.")               \
    X(policy, conflict_view, VIEW, "newest", 0, 0,                                                 \
      "What a reader sees of a field that was written concurrently: the `newest` value (what it "  \
      "hides is counted) or all `siblings`.")                                                      \
    X(policy, mode, MODE, "available", 0, 0, "Only `available`: `strict` comes later.")            \
    X(policy, archive, ARCHIVE, "on", 0, 0,                                                        \
      "With `archive.url` all sessions are archived, and `off` is refused: to leave some out "     \
      "comes later.")                                                                              \
    X(policy, on_no_replica, NO_REPLICA, "degrade", 0, 0,                                          \
      "What becomes of a write of level `replica` in a cluster where no other owner of its "       \
      "session "                                                                                   \
      "can be reached: `degrade`, it waits for the disk, and the reply says so; `refuse`, it is "  \
      "answered UNAVAILABLE and not done, or MAYBE_APPLIED where the last one went while it "      \
      "waited.")

/* [user "NAME"]. Lists of prefixes are checked, and become grants, in config_users.c. */
#define CONFIG_USER_TABLE(X)                                                                       \
    X(user, password, TEXT, "", 0, 160,                                                            \
      "Hash of the password: what `belayctl password` prints (Argon2id).")                         \
    X(user, password_next, TEXT, "", 0, 160,                                                       \
      "Hash of another password that holds as well, while clients move to it.")                    \
    X(user, read, TEXT, "", 0, 180,                                                                \
      "Whose sessions the user may read: prefixes of keys in quotes, separated by blanks. \"\" "   \
      "is "                                                                                        \
      "every key.")                                                                                \
    X(user, write, TEXT, "", 0, 180, "Whose sessions the user may read, change and end.")          \
    X(user, admin, TEXT, "", 0, 180,                                                               \
      "Whose stored records the user may look into as well. With \"\" the user may do "            \
      "everything: "                                                                               \
      "settings, FLUSHALL and the like.")

#endif
