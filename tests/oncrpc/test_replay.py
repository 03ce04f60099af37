from __future__ import annotations

from collections import OrderedDict

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oncrpc.replay import IN_PROGRESS, ReplayCache


def test_a_new_call_is_executed_and_its_duplicates_get_the_same_reply() -> None:
    cache = ReplayCache(10, 100_000, 120)
    assert cache.begin("call", 0) is None
    cache.finish("call", [b"reply"], 1)
    assert cache.begin("call", 2) == [b"reply"]
    assert cache.begin("call", 3) == [b"reply"]
    assert cache.resent == 2


def test_a_duplicate_of_a_call_in_progress_is_dropped() -> None:
    cache = ReplayCache(10, 100_000, 120)
    cache.begin("call", 0)
    assert cache.begin("call", 1_000_000) is IN_PROGRESS
    assert cache.dropped == 1


def test_a_call_without_a_reply_is_executed_again() -> None:
    cache = ReplayCache(10, 100_000, 120)
    cache.begin("call", 0)
    cache.forget("call")
    assert cache.begin("call", 0) is None


def test_a_reply_is_kept_for_its_age_and_no_longer() -> None:
    cache = ReplayCache(10, 100_000, 120)
    cache.begin("call", 0)
    cache.finish("call", [b"reply"], 0)
    assert cache.begin("call", 119.9) == [b"reply"]
    assert cache.begin("call", 120) is None
    assert cache.bytes_held == 0


def test_the_oldest_reply_goes_when_there_are_too_many() -> None:
    cache = ReplayCache(2, 100_000, 120)
    for name in "abc":
        cache.begin(name, 0)
        cache.finish(name, [b""], 0)
    assert cache.begin("a", 0) is None
    assert cache.begin("b", 0) == [b""]


def test_replies_go_when_they_are_too_many_bytes() -> None:
    cache = ReplayCache(1000, 10_000, 120)
    for number in range(100):
        cache.begin(number, 0)
        cache.finish(number, [bytes(1000)], 0)
    assert cache.bytes_held <= 10_000
    assert cache.begin(99, 0) == [bytes(1000)]


def test_a_reply_larger_than_the_cache_is_not_kept_and_drops_nothing() -> None:
    cache = ReplayCache(1000, 10_000, 120)
    for number, size in enumerate((10, 20_000)):
        cache.begin(number, 0)
        cache.finish(number, [bytes(size)], 0)
    assert cache.begin(0, 0) == [bytes(10)]
    assert cache.begin(1, 0) is None


class Cache(RuleBasedStateMachine):
    """The cache against a plain model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = ReplayCache(5, 5_000, 10)
        self.now = 0.0
        self.running: set[int] = set()
        self.done: OrderedDict[int, tuple[float, bytes]] = OrderedDict()

    def prune(self) -> None:
        for key in [key for key, (since, _) in self.done.items() if self.now - since >= 10]:
            del self.done[key]

    @rule(key=st.integers(0, 9))
    def begin(self, key: int) -> None:
        found = self.cache.begin(key, self.now)
        if key in self.running:
            assert found is IN_PROGRESS
            return
        self.prune()
        if key in self.done:
            assert found == [self.done[key][1]]
        else:
            assert found is None
            self.running.add(key)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), size=st.integers(0, 2000))
    def finish(self, data: st.DataObject, size: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(key)
        self.cache.finish(key, [bytes(size)], self.now)
        self.done[key] = (self.now, bytes(size))
        while len(self.done) > 5 or sum(640 + len(reply) for _, reply in self.done.values()) > 5_000:
            self.done.popitem(last=False)

    @rule(seconds=st.floats(0, 20))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def bounded(self) -> None:
        assert self.cache.bytes_held <= 5_000
        assert len(self.cache) <= 5 + len(self.running)


TestCache = Cache.TestCase
