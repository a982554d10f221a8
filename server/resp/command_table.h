/* The rows of commands.h, in order of name.
 *
 * X(name, arity, flags, first key, last key, step, join, run, ends, local, since, group, summary); a name with a run is
 * a procedure, one with a local is the door's.
 */
#ifndef COMMAND_TABLE_H
#define COMMAND_TABLE_H

enum command_flag {
    COMMAND_WRITE = 1,
    COMMAND_READ = 2,
    COMMAND_FAST = 4,
    COMMAND_CONNECTION = 8, /* About the connection or the server, without a session. */
    COMMAND_MAKES = 16,     /* May begin a session: it is what a full memory refuses. */
    COMMAND_ADMIN = 32,
    COMMAND_NO_AUTH = 64, /* Before the client has said who it is. */
    COMMAND_SHORT = 128,  /* As short as those that Redis calls fast. */
    COMMAND_LONG = 256,   /* FAST in Redis, but how long it takes is in its arguments. */
};

/* How the replies about many keys become one. */
enum command_join {
    JOIN_NONE = 0, /* One key. */
    JOIN_SUM,
    JOIN_ARRAY,
    JOIN_OK,
    JOIN_WATCH,
    JOIN_MOVE, /* Two keys, of which one becomes the other: nothing is joined. */
    JOIN_EXEC, /* One reply, in which those to what is done later (exec.h) are still missing. */
};

/* clang-format off */
#define COMMAND_TABLE(X) \
    X("acl", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_ACL, "6.0.0", "server", "About users.") \
    X("append", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_append, false, LOCAL_NONE, "2.0.0", "string", "Appends to a string, or begins one.") \
    X("asking", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_ASKING, "3.0.0", "cluster", "Goes before a request that was redirected.") \
    X("auth", -2, COMMAND_CONNECTION | COMMAND_FAST | COMMAND_NO_AUTH, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_AUTH, "1.0.0", "connection", "Says who the client is.") \
    X("client", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_CLIENT, "2.4.0", "connection", "About the connection.") \
    X("cluster", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_CLUSTER, "3.0.0", "cluster", "About the cluster, at its own port.") \
    X("command", -1, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_COMMAND, "2.8.13", "server", "About the commands.") \
    X("config", -2, COMMAND_CONNECTION | COMMAND_ADMIN, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_CONFIG, "2.0.0", "server", "About the configuration.") \
    X("dbsize", 1, COMMAND_READ, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_DBSIZE, "1.0.0", "server", "Counts the keys of the database.") \
    X("decr", 2, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_decr, false, LOCAL_NONE, "1.0.0", "string", "Takes one from a number.") \
    X("decrby", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_decrby, false, LOCAL_NONE, "1.0.0", "string", "Takes some from a number.") \
    X("del", -2, COMMAND_WRITE, 1, -1, 1, JOIN_SUM, command_del, true, LOCAL_NONE, "1.0.0", "generic", "Ends sessions.") \
    X("discard", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_DISCARD, "2.0.0", "transactions", "Forgets a transaction.") \
    X("echo", 2, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_ECHO, "1.0.0", "connection", "Gives the argument back.") \
    X("eval", -3, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_EVAL, "2.6.0", "scripting", "Runs one of the known scripts.") \
    X("evalsha", -3, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_EVALSHA, "2.6.0", "scripting", "Runs one of the known scripts, by its SHA1.") \
    X("exec", 1, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_EXEC, "1.2.0", "transactions", "Runs a transaction, whole or not at all.") \
    X("exists", -2, COMMAND_READ | COMMAND_FAST, 1, -1, 1, JOIN_SUM, command_exists, false, LOCAL_NONE, "1.0.0", "generic", "Counts the keys that are there.") \
    X("expire", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_expire, false, LOCAL_NONE, "1.0.0", "generic", "Sets a deadline in seconds from now.") \
    X("expireat", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_expireat, false, LOCAL_NONE, "1.2.0", "generic", "Sets a deadline in seconds since 1970.") \
    X("expiretime", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_expiretime, false, LOCAL_NONE, "7.0.0", "generic", "Tells the deadline in seconds since 1970.") \
    X("flushall", -1, COMMAND_WRITE | COMMAND_ADMIN, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_FLUSHALL, "1.0.0", "server", "Ends all sessions, where resp.allow_flush says that this may be.") \
    X("flushdb", -1, COMMAND_WRITE | COMMAND_ADMIN, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_FLUSHDB, "1.0.0", "server", "The same of the database.") \
    X("get", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_get, false, LOCAL_NONE, "1.0.0", "string", "Gives a string.") \
    X("getdel", 2, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_getdel, false, LOCAL_NONE, "6.2.0", "string", "Gives a string and ends it.") \
    X("getex", -2, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_getex, false, LOCAL_NONE, "6.2.0", "string", "Gives a string and sets its deadline.") \
    X("getset", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_getset, false, LOCAL_NONE, "1.0.0", "string", "Gives a string and sets it.") \
    X("hdel", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hdel, false, LOCAL_NONE, "2.0.0", "hash", "Removes fields.") \
    X("hello", -1, COMMAND_CONNECTION | COMMAND_FAST | COMMAND_NO_AUTH, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_HELLO, "6.0.0", "connection", "Chooses the version of the protocol.") \
    X("hexists", 3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hexists, false, LOCAL_NONE, "2.0.0", "hash", "Tells whether a field is there.") \
    X("hget", 3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hget, false, LOCAL_NONE, "2.0.0", "hash", "Gives a field.") \
    X("hgetall", 2, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_hgetall, false, LOCAL_NONE, "2.0.0", "hash", "Gives all fields and values.") \
    X("hgetex", -5, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hgetex, false, LOCAL_NONE, "8.0.0", "hash", "Gives some fields and sets their deadline.") \
    X("hincrby", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hincrby, false, LOCAL_NONE, "2.0.0", "hash", "Adds some to a number in a field.") \
    X("hincrbyfloat", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hincrbyfloat, false, LOCAL_NONE, "2.6.0", "hash", "Adds some to a number with a fraction in a field.") \
    X("hkeys", 2, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_hkeys, false, LOCAL_NONE, "2.0.0", "hash", "Gives the names of all fields.") \
    X("hlen", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hlen, false, LOCAL_NONE, "2.0.0", "hash", "Counts the fields.") \
    X("hmget", -3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hmget, false, LOCAL_NONE, "2.0.0", "hash", "Gives some fields.") \
    X("hmset", -4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hmset, false, LOCAL_NONE, "2.0.0", "hash", "Sets some fields.") \
    X("hscan", -3, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_hscan, false, LOCAL_NONE, "2.8.0", "hash", "Gives fields and values, all at once.") \
    X("hset", -4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hset, false, LOCAL_NONE, "2.0.0", "hash", "Sets some fields, and counts the new ones.") \
    X("hsetex", -6, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hsetex, false, LOCAL_NONE, "8.0.0", "hash", "Sets some fields and their deadline.") \
    X("hsetnx", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hsetnx, false, LOCAL_NONE, "2.0.0", "hash", "Sets a field that is not there.") \
    X("hstrlen", 3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_hstrlen, false, LOCAL_NONE, "3.2.0", "hash", "Tells the size of a field.") \
    X("hvals", 2, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_hvals, false, LOCAL_NONE, "2.0.0", "hash", "Gives the values of all fields.") \
    X("incr", 2, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_incr, false, LOCAL_NONE, "1.0.0", "string", "Adds one to a number.") \
    X("incrby", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_incrby, false, LOCAL_NONE, "1.0.0", "string", "Adds some to a number.") \
    X("incrbyfloat", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_incrbyfloat, false, LOCAL_NONE, "2.6.0", "string", "Adds some to a number with a fraction.") \
    X("info", -1, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_INFO, "1.0.0", "server", "About the server.") \
    X("keys", 2, COMMAND_READ, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_KEYS, "1.0.0", "generic", "Gives all keys that match a pattern.") \
    X("memory", -2, COMMAND_READ, 2, 2, 1, JOIN_NONE, command_memory, false, LOCAL_NONE, "4.0.0", "server", "Tells how many bytes a value takes.") \
    X("mget", -2, COMMAND_READ | COMMAND_FAST, 1, -1, 1, JOIN_ARRAY, command_mget, false, LOCAL_NONE, "1.0.0", "string", "Gives many strings.") \
    X("monitor", 1, COMMAND_CONNECTION | COMMAND_ADMIN, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_MONITOR, "1.0.0", "server", "Shows all commands of all clients as they come.") \
    X("mset", -3, COMMAND_WRITE | COMMAND_MAKES, 1, -1, 2, JOIN_OK, command_mset, false, LOCAL_NONE, "1.0.1", "string", "Sets many strings, each by itself.") \
    X("multi", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_MULTI, "1.2.0", "transactions", "Begins a transaction.") \
    X("object", -2, COMMAND_READ, 2, 2, 1, JOIN_NONE, command_object, false, LOCAL_NONE, "2.2.3", "generic", "Tells how a value is kept.") \
    X("persist", 2, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_persist, false, LOCAL_NONE, "2.2.0", "generic", "Removes the deadline.") \
    X("pexpire", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_pexpire, false, LOCAL_NONE, "2.6.0", "generic", "Sets a deadline in milliseconds from now.") \
    X("pexpireat", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_pexpireat, false, LOCAL_NONE, "2.6.0", "generic", "Sets a deadline in milliseconds since 1970.") \
    X("pexpiretime", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_pexpiretime, false, LOCAL_NONE, "7.0.0", "generic", "Tells the deadline in milliseconds since 1970.") \
    X("ping", -1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_PING, "1.0.0", "connection", "Is answered.") \
    X("psetex", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_SHORT, 1, 1, 1, JOIN_NONE, command_psetex, false, LOCAL_NONE, "2.6.0", "string", "Sets a string and its deadline in milliseconds.") \
    X("psubscribe", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_PSUBSCRIBE, "2.0.0", "pubsub", "Listens to all channels whose names match.") \
    X("pttl", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_pttl, false, LOCAL_NONE, "2.6.0", "generic", "Tells how many milliseconds are left.") \
    X("publish", 3, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_PUBLISH, "2.0.0", "pubsub", "Sends a message to those who listen.") \
    X("pubsub", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_PUBSUB, "2.8.0", "pubsub", "About the channels.") \
    X("punsubscribe", -1, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_PUNSUBSCRIBE, "2.0.0", "pubsub", "Listens no longer to such channels.") \
    X("quit", -1, COMMAND_CONNECTION | COMMAND_FAST | COMMAND_NO_AUTH, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_QUIT, "1.0.0", "connection", "Ends the connection.") \
    X("readonly", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_READONLY, "3.0.0", "cluster", "Any node that has a key may be asked for it.") \
    X("readwrite", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_READWRITE, "3.0.0", "cluster", "Ends READONLY.") \
    X("rename", 3, COMMAND_WRITE | COMMAND_MAKES, 1, 2, 1, JOIN_MOVE, command_rename, false, LOCAL_NONE, "1.0.0", "generic", "Moves a session to another key.") \
    X("renamenx", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 2, 1, JOIN_MOVE, command_renamenx, false, LOCAL_NONE, "1.0.0", "generic", "Moves a session to another key that has none.") \
    X("reset", 1, COMMAND_CONNECTION | COMMAND_FAST | COMMAND_NO_AUTH, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_RESET, "6.2.0", "connection", "Makes the connection as new.") \
    X("role", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_ROLE, "2.8.12", "server", "Tells what part this server has in replication.") \
    X("sadd", -3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_sadd, false, LOCAL_NONE, "1.0.0", "set", "Adds members, and counts the new ones.") \
    X("scan", -2, COMMAND_READ, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_SCAN, "2.8.0", "generic", "Gives keys from a cursor on.") \
    X("scard", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_scard, false, LOCAL_NONE, "1.0.0", "set", "Counts the members.") \
    X("script", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_SCRIPT, "2.6.0", "scripting", "About the known scripts.") \
    X("select", 2, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_SELECT, "1.0.0", "connection", "Chooses the key space.") \
    X("set", -3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_SHORT, 1, 1, 1, JOIN_NONE, command_set, false, LOCAL_NONE, "1.0.0", "string", "Sets a string, whatever was there.") \
    X("setex", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_SHORT, 1, 1, 1, JOIN_NONE, command_setex, false, LOCAL_NONE, "2.0.0", "string", "Sets a string and its deadline in seconds.") \
    X("setnx", 3, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_setnx, false, LOCAL_NONE, "1.0.0", "string", "Sets a string where there is nothing.") \
    X("sismember", 3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_sismember, false, LOCAL_NONE, "1.0.0", "set", "Tells whether a member is there.") \
    X("slowlog", -2, COMMAND_CONNECTION | COMMAND_ADMIN, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_SLOWLOG, "2.2.12", "server", "About the commands that took long.") \
    X("smembers", 2, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_smembers, false, LOCAL_NONE, "1.0.0", "set", "Gives all members.") \
    X("smismember", -3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_smismember, false, LOCAL_NONE, "6.2.0", "set", "Tells which members are there.") \
    X("spop", -2, COMMAND_WRITE | COMMAND_FAST | COMMAND_LONG, 1, 1, 1, JOIN_NONE, command_spop, false, LOCAL_NONE, "1.0.0", "set", "Gives random members and removes them.") \
    X("srandmember", -2, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_srandmember, false, LOCAL_NONE, "1.0.0", "set", "Gives random members.") \
    X("srem", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_srem, false, LOCAL_NONE, "1.0.0", "set", "Removes members.") \
    X("sscan", -3, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_sscan, false, LOCAL_NONE, "2.8.0", "set", "Gives members, all at once.") \
    X("strlen", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_strlen, false, LOCAL_NONE, "2.2.0", "string", "Tells the size of a string.") \
    X("subscribe", -2, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_SUBSCRIBE, "2.0.0", "pubsub", "Listens to channels.") \
    X("time", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_TIME, "2.6.0", "server", "Tells the time.") \
    X("touch", -2, COMMAND_READ | COMMAND_FAST, 1, -1, 1, JOIN_SUM, command_touch, false, LOCAL_NONE, "3.2.1", "generic", "Uses sessions, and counts those that are there.") \
    X("ttl", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_ttl, false, LOCAL_NONE, "1.0.0", "generic", "Tells how many seconds are left.") \
    X("type", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_type, false, LOCAL_NONE, "1.0.0", "generic", "Tells the type of a value.") \
    X("unlink", -2, COMMAND_WRITE | COMMAND_FAST, 1, -1, 1, JOIN_SUM, command_del, true, LOCAL_NONE, "4.0.0", "generic", "Ends sessions.") \
    X("unsubscribe", -1, COMMAND_CONNECTION, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_UNSUBSCRIBE, "2.0.0", "pubsub", "Listens no longer to channels.") \
    X("unwatch", 1, COMMAND_CONNECTION | COMMAND_FAST, 0, 0, 0, JOIN_NONE, NULL, false, LOCAL_UNWATCH, "2.2.0", "transactions", "Forgets what WATCH saw.") \
    X("watch", -2, COMMAND_CONNECTION | COMMAND_FAST, 1, -1, 1, JOIN_NONE, NULL, false, LOCAL_WATCH, "2.2.0", "transactions", "Lets EXEC do nothing where a key was changed since.") \
    X("zadd", -4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zadd, false, LOCAL_NONE, "1.2.0", "sorted-set", "Adds members, or sets their scores.") \
    X("zcard", 2, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zcard, false, LOCAL_NONE, "1.2.0", "sorted-set", "Counts the members.") \
    X("zcount", 4, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zcount, false, LOCAL_NONE, "2.0.0", "sorted-set", "Counts the members within scores.") \
    X("zincrby", 4, COMMAND_WRITE | COMMAND_MAKES | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zincrby, false, LOCAL_NONE, "1.2.0", "sorted-set", "Adds some to a score.") \
    X("zrange", -4, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_zrange, false, LOCAL_NONE, "1.2.0", "sorted-set", "Gives members by place or score.") \
    X("zrangebyscore", -4, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_zrangebyscore, false, LOCAL_NONE, "1.0.5", "sorted-set", "Gives members within scores.") \
    X("zrem", -3, COMMAND_WRITE | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zrem, false, LOCAL_NONE, "1.2.0", "sorted-set", "Removes members.") \
    X("zrevrange", -4, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_zrevrange, false, LOCAL_NONE, "1.2.0", "sorted-set", "Gives members by place, from the end.") \
    X("zrevrangebyscore", -4, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_zrevrangebyscore, false, LOCAL_NONE, "2.2.0", "sorted-set", "Gives members within scores, from the highest.") \
    X("zscan", -3, COMMAND_READ, 1, 1, 1, JOIN_NONE, command_zscan, false, LOCAL_NONE, "2.8.0", "sorted-set", "Gives members and scores, all at once.") \
    X("zscore", 3, COMMAND_READ | COMMAND_FAST, 1, 1, 1, JOIN_NONE, command_zscore, false, LOCAL_NONE, "1.2.0", "sorted-set", "Gives a score.")

#define COMMAND_RUNS(X) \
    X(append) X(decr) X(decrby) X(del) X(exists) X(expire) X(expireat) X(expiretime) X(get) \
    X(getdel) X(getex) X(getset) X(hdel) X(hexists) X(hget) X(hgetall) X(hgetex) X(hincrby) \
    X(hincrbyfloat) X(hkeys) X(hlen) X(hmget) X(hmset) X(hscan) X(hset) X(hsetex) X(hsetnx) \
    X(hstrlen) X(hvals) X(incr) X(incrby) X(incrbyfloat) X(memory) X(mget) X(mset) X(object) \
    X(persist) X(pexpire) X(pexpireat) X(pexpiretime) X(psetex) X(pttl) X(rename) X(renamenx) X(sadd) X(scard) X(set) \
    X(setex) X(setnx) X(sismember) X(smembers) X(smismember) X(spop) X(srandmember) X(srem) X(sscan) \
    X(strlen) X(touch) X(ttl) X(type) X(zadd) X(zcard) X(zcount) X(zincrby) X(zrange) \
    X(zrangebyscore) X(zrem) X(zrevrange) X(zrevrangebyscore) X(zscan) X(zscore)

#define COMMAND_LOCALS(X) \
    X(ACL) X(ASKING) X(AUTH) X(CLIENT) X(CLUSTER) X(COMMAND) X(CONFIG) X(DBSIZE) X(DISCARD) X(ECHO) X(EVAL) \
    X(EVALSHA) X(EXEC) X(FLUSHALL) X(FLUSHDB) X(HELLO) X(INFO) X(KEYS) X(MONITOR) X(MULTI) X(PING) X(PSUBSCRIBE) X(PUBLISH) X(PUBSUB) X(PUNSUBSCRIBE) X(QUIT) \
    X(READONLY) X(READWRITE) X(RESET) X(ROLE) X(SCAN) X(SCRIPT) X(SELECT) X(SLOWLOG) X(SUBSCRIBE) X(TIME) X(UNSUBSCRIBE) \
    X(UNWATCH) X(WATCH)
/* clang-format on */

#endif
