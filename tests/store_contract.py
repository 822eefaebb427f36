"""What every store must do; run against SQLite, PostgreSQL and DynamoDB by the tests of each."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

from airflow_de_agent.core.diagnosis import Category, Diagnosis
from airflow_de_agent.core.failure import TaskFailure, TaskKey
from airflow_de_agent.core.incident import Record, Store

NOW = 1_800_000_000.0
HOUR = 3600.0


def key(task_id: str = "load", map_index: int = -1, try_number: int = 1, run_id: str = "r1") -> TaskKey:
    return TaskKey("sales", run_id, task_id, map_index, try_number)


def record(task_key: TaskKey, mark: str = "f1", at: float = NOW, cause: str = "KeyError: 'x'") -> Record:
    failure = TaskFailure(task_key, "task", "2026-11-22T03:00:00+00:00")
    return Record(failure, Diagnosis(Category.CODE_ERROR, cause), mark, at)


class StoreContract:
    """Subclasses give a fixture `store`, empty at the start of each test, whose clock says `NOW`."""

    def test_a_claim_has_one_winner(self, store: Store) -> None:
        """Of a hundred owners that claim one try at once exactly one wins."""

        def claim(n: int) -> str:
            return store.claim(key(), owner=f"host-{n}", now=NOW, stale_after=120)

        with ThreadPoolExecutor(20) as pool:
            results = list(pool.map(claim, range(100)))
        assert results.count("won") == 1
        assert results.count("held") == 99

    def test_an_owner_goes_on_with_its_own_claim(self, store: Store) -> None:
        """A drainer that was killed after claiming is followed by one that may finish."""
        assert store.claim(key(), owner="a", now=NOW, stale_after=120) == "won"
        assert store.claim(key(), owner="a", now=NOW + 1, stale_after=120) == "won"

    def test_a_stale_claim_is_taken_over(self, store: Store) -> None:
        """A host that vanished does not keep a try undiagnosed for ever."""
        store.claim(key(), owner="a", now=NOW, stale_after=120)
        assert store.claim(key(), owner="b", now=NOW + 60, stale_after=120) == "held"
        assert store.claim(key(), owner="b", now=NOW + 121, stale_after=120) == "won"

    def test_a_finished_try_is_done(self, store: Store) -> None:
        """What has a record is not claimed again, by nobody."""
        store.claim(key(), owner="a", now=NOW, stale_after=120)
        store.add(record(key()), window=HOUR)
        assert store.claim(key(), owner="a", now=NOW, stale_after=120) == "done"
        assert store.claim(key(), owner="b", now=NOW + 999, stale_after=120) == "done"

    def test_map_indexes_and_tries_are_told_apart(self, store: Store) -> None:
        """Map index 0, no map index and another try are three different things."""
        for task_key in (key(map_index=0), key(map_index=-1), key(map_index=0, try_number=2)):
            assert store.claim(task_key, owner="a", now=NOW, stale_after=120) == "won"
            store.add(record(task_key), window=HOUR)
        assert [r.failure.key.try_number for r in store.tries("sales", "r1", "load", 0)] == [1, 2]

    def test_a_record_comes_back_as_it_went(self, store: Store) -> None:
        """Nothing of a failure or a diagnosis is lost in the store."""
        went = record(key(map_index=3), cause="ключ 'x' fehlt ✗")
        incident = store.add(went, window=HOUR)
        came = store.find(went.failure.key)
        assert came == dataclasses.replace(went, incident_id=incident.id)
        assert store.get(went.id) == came
        assert store.get("0" * 16) is None

    def test_what_is_known_is_told_at_once(self, store: Store) -> None:
        """Of many tries those with a record are picked out; another run, try or map index is another thing."""
        known = [key(map_index=0), key(run_id="r2"), key(try_number=2)]
        for task_key in known:
            store.add(record(task_key), window=HOUR)
        asked = [key("other", map_index=n) for n in range(1200)] + [key(run_id="r2", try_number=2), *known]
        assert store.known(asked) == set(known)
        assert store.known([]) == set()

    def test_one_fingerprint_is_one_incident(self, store: Store) -> None:
        """Failures of one cause count up one incident; another cause opens another."""
        first = store.add(record(key("a")), window=HOUR)
        second = store.add(record(key("b"), at=NOW + 1), window=HOUR)
        other = store.add(record(key("c"), mark="f2", at=NOW + 2), window=HOUR)
        assert (second.id, second.count, second.lead_id) == (first.id, 2, first.lead_id)
        assert second.revision > first.revision
        assert (other.id != first.id, other.count) == (True, 1)

    def test_adding_again_counts_once(self, store: Store) -> None:
        """A diagnosis made anew replaces the old one and asks for the message to be edited."""
        first = store.add(record(key()), window=HOUR)
        again = store.add(record(key(), cause="KeyError: 'y'", at=NOW + 5), window=HOUR)
        assert (again.id, again.count) == (first.id, 1)
        assert again.revision > first.revision
        found = store.find(key())
        assert found is not None
        assert found.diagnosis.root_cause == "KeyError: 'y'"

    def test_concurrent_failures_of_one_cause_are_all_counted(self, store: Store) -> None:
        """Sixty failures from many threads end in one incident of sixty."""
        with ThreadPoolExecutor(8) as pool:
            incidents = list(pool.map(lambda n: store.add(record(key(map_index=n)), window=HOUR), range(60)))
        assert len({incident.id for incident in incidents}) == 1
        assert max(incident.count for incident in incidents) == 60

    def test_a_quiet_incident_is_followed_by_a_new_one(self, store: Store) -> None:
        """What comes back after the window is a new incident, and the history shows both."""
        first = store.add(record(key(run_id="r1")), window=HOUR)
        later = store.add(record(key(run_id="r2"), at=NOW + 2 * HOUR), window=HOUR)
        assert later.id != first.id
        assert [i.id for i in store.earlier_incidents("f1", since=NOW - 1)] == [later.id, first.id]
        assert [i.id for i in store.earlier_incidents("f1", since=NOW + 1)] == [later.id]

    def test_a_record_joins_the_incident_it_is_given(self, store: Store) -> None:
        """A symptom joins its cause's incident whatever its own fingerprint."""
        cause = store.add(record(key("first")), window=HOUR)
        symptom = store.add(record(key("report"), mark="f9", at=NOW + 1), join=cause.id, window=HOUR)
        assert (symptom.id, symptom.count, symptom.lead_id) == (cause.id, 2, cause.lead_id)

    def test_recent_records_are_newest_first_and_can_be_narrowed(self, store: Store) -> None:
        """The list is by time, and by DAG, run and task."""
        store.add(record(key("a"), at=NOW), window=HOUR)
        store.add(record(key("b"), at=NOW + 1), window=HOUR)
        store.add(record(key("a", run_id="r2"), at=NOW + 2), window=HOUR)
        tasks = [r.failure.key[1:3] for r in store.recent()]
        assert tasks == [("r2", "a"), ("r1", "b"), ("r1", "a")]
        assert [r.failure.key.run_id for r in store.recent(dag_id="sales", run_id="r1", task_id="a")] == ["r1"]
        assert store.recent(dag_id="other") == []
        assert len(store.recent(limit=2)) == 2
        assert len(store.recent(since=NOW + 1)) == 2

    def test_the_first_of_a_run_come_first(self, store: Store) -> None:
        """The earliest failure of a run is found among many."""
        for n in range(5):
            store.add(record(key(f"t{n}"), at=NOW + n), window=HOUR)
        assert [r.failure.key.task_id for r in store.first_of_run("sales", "r1", limit=2)] == ["t0", "t1"]

    def test_what_is_shown_is_no_longer_due(self, store: Store) -> None:
        """An incident is due until its message shows its latest revision."""
        incident = store.add(record(key()), window=HOUR)
        assert [i.id for i in store.undelivered()] == [incident.id]
        store.shown(incident.id, revision=incident.revision, channel="C1", message_ts="1.2")
        assert list(store.undelivered()) == []
        store.add(record(key("b"), at=NOW + 1), window=HOUR)
        due = store.undelivered()
        assert [(i.channel, i.message_ts, i.count) for i in due] == [("C1", "1.2", 2)]

    def test_one_owner_posts_the_message(self, store: Store) -> None:
        """Only one owner may post; its successor is told to look first; nobody posts twice."""
        incident = store.add(record(key()), window=HOUR)
        assert store.begin_post(incident.id, owner="a", now=NOW, stale_after=120, channel="#sales") == "first"
        assert store.begin_post(incident.id, owner="b", now=NOW + 1, stale_after=120, channel="#other") == "no"
        assert store.begin_post(incident.id, owner="a", now=NOW + 2, stale_after=120) == "again"
        assert store.begin_post(incident.id, owner="b", now=NOW + 200, stale_after=120, channel="#other") == "again"
        assert (store.incident(incident.id).channel, store.incident(incident.id).message_ts) == ("#sales", "")
        store.shown(incident.id, revision=1, channel="C1", message_ts="1.2")
        assert store.begin_post(incident.id, owner="b", now=NOW + 999, stale_after=120) == "no"

    def test_additions_at_once_are_all_counted(self, store: Store) -> None:
        """Each of a hundred additions at once sees those before it, and none is lost."""

        def add(_: int) -> int:
            return store.add_to_counter("tokens", 7, expires_at=NOW + HOUR)

        with ThreadPoolExecutor(20) as pool:
            values = list(pool.map(add, range(100)))
        assert sorted(values) == list(range(7, 707, 7))
        assert store.add_to_counter("tokens", -700, expires_at=NOW + HOUR) == 0
        assert store.add_to_counter("calls", 3_000_000_000, expires_at=NOW + HOUR) == 3_000_000_000

    def test_an_expired_counter_begins_at_zero(self, store: Store) -> None:
        """Yesterday's count is no part of today's, and each addition says anew how long the count is kept."""
        assert store.add_to_counter("tokens", 5, expires_at=NOW - 1) == 5
        assert store.add_to_counter("tokens", 3, expires_at=NOW + 1) == 3
        assert store.add_to_counter("tokens", 2, expires_at=NOW - 1) == 5
        assert store.add_to_counter("tokens", 1, expires_at=NOW + 1) == 1

    def test_a_text_is_remembered_until_it_expires(self, store: Store) -> None:
        """A text comes back as it went, for as long as it was said to be good; a key without one gives None."""
        store.remember("k", "ключ 'x' fehlt ✗\n", expires_at=NOW + HOUR)
        store.remember("empty", "", expires_at=NOW + HOUR)
        assert store.recall("k", now=NOW + HOUR) == "ключ 'x' fehlt ✗\n"
        assert store.recall("empty", now=NOW) == ""
        assert store.recall("k", now=NOW + HOUR + 1) is None
        assert store.recall("other", now=NOW) is None

    def test_a_later_text_replaces_the_former(self, store: Store) -> None:
        """The last text of a key counts, with its own expiry, also after the former one expired."""
        store.remember("k", "first", expires_at=NOW + HOUR)
        store.remember("k", "second", expires_at=NOW + 2 * HOUR)
        assert store.recall("k", now=NOW + 2 * HOUR) == "second"
        store.remember("k", "gone", expires_at=NOW - 1)
        assert store.recall("k", now=NOW) is None
        store.remember("k", "third", expires_at=NOW + HOUR)
        assert store.recall("k", now=NOW) == "third"

    def test_a_counter_and_a_text_of_one_name_are_two_things(self, store: Store) -> None:
        """Neither overwrites the other."""
        store.remember("k", "text", expires_at=NOW + HOUR)
        assert store.add_to_counter("k", 1, expires_at=NOW + HOUR) == 1
        assert store.recall("k", now=NOW) == "text"
