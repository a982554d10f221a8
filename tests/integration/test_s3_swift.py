"""Objects in S3, as OpenStack Swift has them, which knows no conditional PUT: what is to be new is read before it is
written. Two who write at the same moment may both take it for theirs there; one after the other is told."""

import object_checks
from cases import run_cases
from daemon import check
from http_faults import HttpFaults
from object_checks import BUCKET, expect, expect_object, options
from objects import Objects
from swift import Swift

SWIFT = Swift()


def test_objects():
    object_checks.check_objects(SWIFT)


def test_parts_of_objects():
    object_checks.check_parts_of_objects(SWIFT)


def test_names():
    object_checks.check_names(SWIFT)


def test_lists():
    object_checks.check_lists(SWIFT, 50)


def test_refused():
    object_checks.check_refused(SWIFT)


def test_large():
    with HttpFaults(SWIFT.address) as proxy:
        object_checks.check_large(SWIFT, proxy, object_checks.END_FAULTS[:2])


def test_tidy():
    with HttpFaults(SWIFT.address) as proxy:
        object_checks.check_tidy(SWIFT, proxy)


def test_without_conditions():
    """It asks once for the condition; then it looks before it writes."""
    with HttpFaults(SWIFT.address) as proxy, \
            Objects(options(SWIFT.through(proxy.address), "conditions/")) as objects:
        expect(objects.put("one", 10, 1, only_new=True))
        check(proxy.methods("conditions/one") == ["PUT", "GET", "PUT"], proxy.asked)
        expect(objects.put("two", 10, 1, only_new=True))
        check(proxy.methods("conditions/two") == ["GET", "PUT"], proxy.asked)
        expect(objects.put("two", 10, 1, only_new=True))
        check(proxy.methods("conditions/two")[2:] == ["GET"], proxy.asked)
        expect_object(objects, "two", 10, 1)


def test_lost_answers():
    with HttpFaults(SWIFT.address) as proxy:
        object_checks.check_lost_answers(SWIFT, proxy)


if __name__ == "__main__":
    with SWIFT:
        SWIFT.make_bucket(BUCKET)
        run_cases(__name__)
