"""What programs do with redis-py: values, hashes, pipelines, optimistic locking, locks."""

import sys
import threading
import time

import redis

client = redis.Redis(port=int(sys.argv[1]), decode_responses=True)

# A login, and what a request does with it.
assert client.set("session:1", "ada", ex=1800)
assert client.get("session:1") == "ada"
assert 1790 < client.ttl("session:1") <= 1800
assert client.set("session:1", "eve", nx=True) is None
assert client.getex("session:1", px=900_000) == "ada" and client.ttl("session:1") <= 900
assert client.hset("cart:1", mapping={"rope": 1, "lamp": 2}) == 2
assert client.hgetall("cart:1") == {"rope": "1", "lamp": "2"}
assert client.hincrby("cart:1", "rope", 2) == 3
assert client.sadd("online", "ada", "bob") == 2 and client.smembers("online") == {"ada", "bob"}
assert client.zadd("scores", {"ada": 5, "bob": 3}) == 2
assert client.zrange("scores", 0, -1, withscores=True) == [("bob", 3.0), ("ada", 5.0)]
assert client.mget("session:1", "nothing") == ["ada", None]
assert sorted(client.scan_iter("s*", count=2)) == ["scores", "session:1"]

# A pipeline, as a transaction and not.
for transaction in (False, True):
    with client.pipeline(transaction=transaction) as pipe:
        pipe.set("{u}a", 1).incr("{u}a").expire("{u}a", 100).get("{u}a")
        assert pipe.execute() == [True, 2, True, "2"]
try:
    client.hget("session:1", "field")
    raise AssertionError("no error")
except redis.ResponseError as error:
    assert str(error).startswith("WRONGTYPE"), error


# Concurrent requests: each counts, by watching or by a lock.
def watch():
    mine = redis.Redis(port=int(sys.argv[1]))
    for _ in range(25):
        mine.transaction(lambda pipe: count(pipe), "visits")


def count(pipe):
    before = int(pipe.get("visits") or 0)
    pipe.multi()
    pipe.set("visits", before + 1)


def lock():
    mine = redis.Redis(port=int(sys.argv[1]))
    for _ in range(25):
        with mine.lock("lock:visits", timeout=10, sleep=0.001):
            before = int(mine.get("locked visits") or 0)
            mine.set("locked visits", before + 1)


threads = [threading.Thread(target=target) for target in (watch, lock) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert client.get("visits") == "100" and client.get("locked visits") == "100"
assert not client.exists("lock:visits")
held = client.lock("lock:mine", timeout=5)
assert held.acquire() and held.extend(5) and held.reacquire()
assert not client.lock("lock:mine", timeout=5).acquire(blocking=False)
held.release()

# Messages: by channel, by pattern, and of what ends.
client.config_set("notify-keyspace-events", "Egx")
events = set(client.config_get("notify-keyspace-events")["notify-keyspace-events"])
assert events == set("Egx"), events
pubsub = client.pubsub()
pubsub.subscribe("news", "__keyevent@0__:del", "__keyevent@0__:expired")
pubsub.psubscribe("user:*")


def heard(kind):
    while True:
        message = pubsub.get_message(timeout=30)
        assert message is not None, f"no {kind}"
        if message["type"] == kind:
            return message["channel"], message["data"]


for _ in range(3):
    heard("subscribe")
assert heard("psubscribe") == ("user:*", 4)
assert client.publish("news", "hello") == 1 and heard("message") == ("news", "hello")
assert client.publish("user:ada", "hi") == 1 and heard("pmessage") == ("user:ada", "hi")
assert client.publish("nobody", "hello") == 0
assert client.pubsub_numsub("news") == [("news", 1)] and client.pubsub_numpat() == 1
client.set("ends", 1)
client.delete("ends")
assert heard("message") == ("__keyevent@0__:del", "ends")
client.set("ends", 1, px=10)
assert heard("message") == ("__keyevent@0__:expired", "ends")
worker = client.pubsub()
came = threading.Event()
worker.subscribe(jobs=lambda message: came.set())
thread = worker.run_in_thread(sleep_time=0.01)
while not came.wait(0.05):
    client.publish("jobs", "one")
thread.stop()
thread.join()
pubsub.unsubscribe()
pubsub.punsubscribe()
assert heard("punsubscribe") == ("user:*", 0)
pubsub.close()

# A new id at the login: the session moves with what it has and its deadline, and the old id is of no use.
assert client.rename("session:1", "session:1:new") and client.get("session:1") is None
assert client.get("session:1:new") == "ada" and 0 < client.ttl("session:1:new") <= 900
assert client.renamenx("cart:1", "session:1:new") is False
try:
    client.rename("session:1", "session:3")
    raise AssertionError("no error")
except redis.ResponseError as error:
    assert str(error) == "no such key", error

# Expiry, and logout.
client.set("session:2", "bob", px=100)
while client.exists("session:2"):
    time.sleep(0.01)
assert client.delete("session:1:new", "cart:1", "nothing") == 2 and client.get("session:1:new") is None
print("all is well")
