"""Django's sessions in its cache, by django-redis."""

import sys
import threading
import time

from django.conf import settings

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{sys.argv[1]}/1"}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache", USE_TZ=True)

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402 pylint: disable=wrong-import-position

session = SessionStore()
session["user"] = "ada"
session.save()
assert session.exists(session.session_key)

# Another request of the same user.
again = SessionStore(session.session_key)
assert again["user"] == "ada"
again["cart"] = ["rope"]
again.save()
assert SessionStore(session.session_key)["cart"] == ["rope"]

# Concurrent requests: of each user's own session nothing is lost, and all see the one that they share.
shared, seen = again.session_key, []


def request(name):
    mine = SessionStore()
    mine["user"] = name
    mine.save()
    for visit in range(20):
        mine = SessionStore(mine.session_key)
        assert mine.get("visits", 0) == visit and mine["user"] == name
        mine["visits"] = visit + 1
        mine.save()
        assert SessionStore(shared)["user"] == "ada"
    seen.append(name)


threads = [threading.Thread(target=request, args=(f"user {i}",)) for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(seen) == 8, seen

# A new id at the login: the old one is of no use.
old = again.session_key
again.cycle_key()
assert again.session_key != old
assert SessionStore(again.session_key)["user"] == "ada"
assert SessionStore(old).get("user") is None

# Nobody can make a session under an id that is taken.
taken = SessionStore(again.session_key)
taken.create()
assert taken.session_key != again.session_key

# Expiry, and logout.
short = SessionStore()
short["user"] = "bob"
short.set_expiry(1)
short.save()
assert short.exists(short.session_key)
while short.exists(short.session_key):
    time.sleep(0.05)
key = again.session_key
again.flush()
assert not SessionStore().exists(key) and SessionStore(key).get("user") is None
print("all is well")
