/* What the RESP door answers otherwise than Redis 7: rows beside those of command_table.h, of which README.md's table is
 * made (tests/tidy/differences.c). A line of tests/integration/resp/commands.txt that gets another answer than from Redis
 * has the name of its row; no other line may.
 *
 * X(name, commands, shown, what, here): `commands`, those of the table that it is about, with blanks between, "" where it
 * is about none or all of them; `shown`, "" where a line of commands.txt shows it, else the test that does, as FILE:CASE;
 * `what` and `here`, the two columns of the table.
 */
#ifndef DIFFERENCES_H
#define DIFFERENCES_H

/* clang-format off */
#define DIFFERENCE_TABLE(X) \
    X("keys", "", "", \
      "keys", \
      "1 to 512 bytes, none that begins with the byte 1") \
    X("deadlines", "expire expireat getex hsetex pexpire pexpireat psetex set setex", "", \
      "deadlines", \
      "at most ten years away; a later one becomes that") \
    X("transactions", "exec multi watch", "", \
      "a transaction (`MULTI`)", \
      "keys of one slot (`{tag}`), else `CROSSSLOT`; at most 128, together within `session_max_bytes`; what it writes is " \
      "there whole after a crash, or not at all") \
    X("queueing", "auth client dbsize eval evalsha flushall flushdb hello keys multi psubscribe punsubscribe scan subscribe unsubscribe", "", \
      "between `MULTI` and `EXEC`", \
      "an error at once: `AUTH`, `CLIENT REPLY`, `DBSIZE`, `FLUSHALL`, `FLUSHDB`, `HELLO`, `KEYS`, `SCAN`, scripts that are not known, " \
      "and what begins or ends a subscription; what is not about keys is done when the rest is done") \
    X("size", "", "test_bad_requests.py:test_too_large", \
      "one request", \
      "`limits.frame` (16 MiB) in all, and 1,048,576 arguments; more ends the connection") \
    X("many", "del exists mget mset touch unlink", "test_resp.py:test_many_keys", \
      "`MSET` and other commands on many keys", \
      "each key by itself, at most 1,024") \
    X("rename", "rename renamenx", "test_rename.py:test_everything_moves", \
      "`RENAME`", \
      "keys of any slots, and a session is under one of the two at any moment, also over a crash; between slots of a cluster for a moment " \
      "under neither; between shards it takes two device writes, in a cluster two writes that another node has; the idle clock begins anew") \
    X("moves", "", "test_moves.py:test_killed_nodes", \
      "`RENAME` in a cluster, where a node dies or is cut off meanwhile", \
      "an error that says so where nobody can tell; the session is under the new key within seconds of another node's taking over, " \
      "or was not renamed. While the new key's nodes cannot be reached it is under neither. Of two renames on two sides of a cut the " \
      "later one counts; a delete of the old key on the other side ends the session, and a field set there goes along") \
    X("walks", "dbsize keys", "test_keys.py:test_too_many_names", \
      "`KEYS`, `DBSIZE`", \
      "walk over all keys while others are served; `KEYS` gives at most what fits into twice `limits.output_buffer`") \
    X("flush", "flushall flushdb", "", \
      "`FLUSHDB`, `FLUSHALL`", \
      "only with `resp.allow_flush = yes`; session by session while others are served") \
    X("subscriptions", "psubscribe subscribe", "test_pubsub.py:test_limits", \
      "`SUBSCRIBE`, `PSUBSCRIBE`", \
      "at most 65,536 channels and 1,024 patterns of one connection, their names 8 MiB; one that does not read is closed " \
      "as with replies, at twice `limits.output_buffer`") \
    X("publish", "publish pubsub", "test_pubsub.py:test_order_within_a_connection", \
      "`PUBLISH`", \
      "sent once all that its connection asked for before is answered; in a cluster the reply counts the subscribers of all " \
      "nodes, as `PUBSUB` does: of those that answer within 500 ms, and in a transaction of the node that is asked") \
    X("events", "config", "test_pubsub.py:test_which_events", \
      "keyspace events (`CONFIG SET notify-keyspace-events`, `resp.notify_keyspace_events`)", \
      "only `expired` (`x`) and `del` (`g`), whatever other letters are set: one for each end of a session, by whatever " \
      "door; `expired` when it leaves memory, within a second of its deadline; `del` also for a hash that went with its " \
      "last field, for what RENAME displaces and FLUSHALL ends; a crash may swallow one, and where a machine goes down it may come again") \
    X("users", "acl auth dbsize keys scan", "test_users.py:test_rights_everywhere", \
      "users", \
      "come from the configuration; `ACL` shows them (`WHOAMI`, `USERS`, `LIST` without hashes). What they may do goes by prefixes " \
      "of keys, also with `SCAN`, `KEYS`, `DBSIZE`, channels and keyspace events") \
    X("slowlog", "config slowlog", "test_slowlog.py:test_what_is_slow", \
      "`SLOWLOG` (`slowlog-log-slower-than`, `slowlog-max-len`; `resp.slowlog_...` in the configuration)", \
      "one log of all threads, at most 100,000 entries; the time is what the shards' threads spent on executing the command, " \
      "summed up over its keys and shards, or the door's own where no session is asked: no waiting for other commands, the disk, " \
      "other threads or a session that comes back from the checkpoint (nor its execution after that). Commands that Redis calls " \
      "fast, and `SET`, `SETEX`, `PSETEX`, are measured only when they are larger than 4 KiB or less than 1,000 us is asked " \
      "for, which then costs each command about 0.2 us; a transaction is one entry, `EXEC`; `AUTH` is redacted however many " \
      "arguments it has") \
    X("monitor", "monitor", "test_monitor.py:test_all_threads", \
      "`MONITOR`", \
      "commands of one connection in their order, those of several threads as they were taken in; shown when they are taken in, so " \
      "before their effect, and those of a transaction also where `WATCH` then prevents it; of a transaction's commands on many " \
      "keys the name is in lower case. No `lua` lines, as no Lua runs. One that does not read is closed as with replies, at twice " \
      "`limits.output_buffer`, never told a part") \
    X("encoding", "append object", "", \
      "`OBJECT ENCODING` after `APPEND`", \
      "as after `SET` of the same value: `embstr` or `int`, where Redis says `raw`") \
    X("scans", "hscan sscan zscan", "", \
      "`HSCAN`, `SSCAN`, `ZSCAN`", \
      "all at once, with cursor 0") \
    X("fractions", "hincrbyfloat incrbyfloat zadd zincrby zrange zscan zscore", "", \
      "fractions", \
      "double precision, told as Redis 7.2 does") \
    X("newer", "client hgetex hscan hsetex", "", \
      "`HSETEX`, `HGETEX`, `HSCAN` with `NOVALUES`, `CLIENT SETINFO`, `CLIENT NO-TOUCH`", \
      "as in Redis 7.2 to 8, but a hash that libbelay began stays, without fields, when the deadline of its last field passes") \
    X("scripts", "eval evalsha script", "", \
      "`EVAL`, `EVALSHA`, `SCRIPT LOAD`", \
      "of the scripts named above, with as many keys as they have; any other is an error that tells its SHA1; the errors are " \
      "those of the commands in them") \
    X("about", "client command config hello info", "", \
      "`CLIENT INFO`, `COMMAND`, `CONFIG GET`, `HELLO`, `INFO`", \
      "what clients of sessions look at; no key specifications or sub-commands of a command") \
    X("subcommands", "client command config memory object pubsub script", "", \
      "`CLIENT`, `COMMAND` and others with sub-commands", \
      "one that is not offered and one with a wrong number of arguments are both unknown, after `MULTI` only to `EXEC`") \
    X("unknown", "", "", \
      "commands that are not offered", \
      "`ERR unknown command`, whatever follows") \
    X("no_resurrect", "", "test_resp.py:test_no_resurrect", \
      "`no_resurrect` in the policy", \
      "a refused write is answered `OK`, 0 or nil, as if it had been done and ended; no command, `SET` with `NX` neither, begins " \
      "such a session again. A lock that one of the scripts lets go of is no session that ended, nor is what gives way to a " \
      "value of another type") \
    X("busy", "", "test_plane_aside.c:test_gives_up", \
      "writes faster than the disk", \
      "wait; `BUSY` after ten seconds")
/* clang-format on */

#define DIFFERENCE_ONE(name, commands, shown, what, here) +1
enum { DIFFERENCE_COUNT = 0 DIFFERENCE_TABLE(DIFFERENCE_ONE) };
#undef DIFFERENCE_ONE

#endif
