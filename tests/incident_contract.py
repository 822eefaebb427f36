"""What every store must do with feedback and recovery; run against each store by the tests of each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from airflow_de_agent.core.incident import REOPEN_SECONDS, Store
from tests.store_contract import HOUR, NOW, key, record


class IncidentContract:
    """Subclasses give a fixture `store`, empty at the start of each test."""

    def test_one_person_has_one_vote(self, store: Store) -> None:
        """Votes are counted by person; a change of mind replaces, a withdrawal removes, and each asks for an edit."""
        opened = store.add(record(key()), window=HOUR)
        for person, vote in (("U1", "helpful"), ("U1", "helpful"), ("U2", "not_helpful"), ("U3", "helpful")):
            store.vote(opened.id, person=person, vote=vote)
        voted = store.incident(opened.id)
        assert (voted.helpful, voted.not_helpful) == (2, 1)
        assert voted.revision > opened.revision
        store.vote(opened.id, person="U1", vote="not_helpful")
        store.vote(opened.id, person="U3", vote="")
        voted = store.incident(opened.id)
        assert (voted.helpful, voted.not_helpful) == (0, 2)
        assert [i.id for i in store.undelivered()] == [opened.id]
        store.vote("0" * 16, person="U1", vote="helpful")
        assert store.incident("0" * 16) is None

    def test_votes_at_once_are_all_counted(self, store: Store) -> None:
        """Twenty people who click at the same moment count as twenty."""
        opened = store.add(record(key()), window=HOUR)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: store.vote(opened.id, person=f"U{n}", vote="helpful"), range(20)))
        assert store.incident(opened.id).helpful == 20

    def test_a_fix_is_noted(self, store: Store) -> None:
        """The note is there when the cause strikes the next time."""
        opened = store.add(record(key()), window=HOUR)
        store.note_fix(opened.id, note="gave the cluster 16 GB ✓")
        store.add(record(key(run_id="r2"), at=NOW + 2 * HOUR), window=HOUR)
        earlier = store.earlier_incidents("f1", since=0.0)[-1]
        assert (earlier.id, earlier.fixed_by) == (opened.id, "gave the cluster 16 GB ✓")

    def test_an_incident_is_closed_once(self, store: Store) -> None:
        """Of two that see the recovery one may tell of it."""
        opened = store.add(record(key()), window=HOUR)
        store.shown(opened.id, revision=opened.revision, channel="C1", message_ts="1.2")
        assert store.close(opened.id, now=NOW + 60) is True
        assert store.close(opened.id, now=NOW + 90) is False
        assert store.close("0" * 16, now=NOW) is False
        closed = store.incident(opened.id)
        assert closed.closed_at == NOW + 60
        assert [i.id for i in store.undelivered()] == [opened.id]

    def test_what_comes_back_within_a_day_is_the_same_incident(self, store: Store) -> None:
        """A closed incident is opened again by its fingerprint for a day; a diagnosis made anew does not open it."""
        opened = store.add(record(key()), window=HOUR)
        store.close(opened.id, now=NOW + 60)
        store.add(record(key(), at=NOW + 70), window=HOUR)
        assert store.incident(opened.id).closed_at == NOW + 60
        back = store.add(record(key(run_id="r2"), at=NOW + 5 * HOUR), window=HOUR)
        assert (back.id, back.count, back.closed_at, back.reopened) == (opened.id, 2, None, 1)
        store.close(opened.id, now=NOW + 6 * HOUR)
        later = store.add(record(key(run_id="r3"), at=NOW + 6 * HOUR + REOPEN_SECONDS + 1), window=HOUR)
        assert later.id != opened.id

    def test_incidents_are_listed_by_time_and_state(self, store: Store) -> None:
        """The report asks for all since a time, the sweep for those still open."""
        first = store.add(record(key("a")), window=HOUR)
        second = store.add(record(key("b"), mark="f2", at=NOW + 1), window=HOUR)
        third = store.add(record(key("c"), mark="f3", at=NOW + 2), window=HOUR)
        store.close(second.id, now=NOW + 3)
        assert [i.id for i in store.incidents(since=NOW)] == [third.id, second.id, first.id]
        assert [i.id for i in store.incidents(since=NOW + 1)] == [third.id, second.id]
        assert [i.id for i in store.incidents(since=0, still_open=True)] == [third.id, first.id]
        assert [i.id for i in store.incidents(since=0, limit=1)] == [third.id]

    def test_all_that_joined_are_told_by_key_and_time(self, store: Store) -> None:
        """The sweep looks every task instance up, however many there are and in whatever run."""
        keys = [key("a", map_index=n) for n in range(120)] + [key("b", run_id="r2", try_number=3)]
        for n, task_key in enumerate(keys):
            cause = store.add(record(task_key, at=NOW + n), window=HOUR)
        assert sorted(store.joined(cause.id)) == sorted((task_key, NOW + n) for n, task_key in enumerate(keys))
        assert list(store.joined("0" * 16)) == []

    def test_what_grew_meanwhile_is_not_closed(self, store: Store) -> None:
        """A failure that joins between the look at an incident and its end keeps it open."""
        opened = store.add(record(key("a")), window=HOUR)
        store.add(record(key("b"), at=NOW + 1), window=HOUR)
        assert store.close(opened.id, now=NOW + 60, count=1) is False
        assert store.incident(opened.id).closed_at is None
        assert store.close(opened.id, now=NOW + 60, count=2) is True
        assert (store.incident(opened.id).closed_at, store.incident(opened.id).count) == (NOW + 60, 2)

    def test_an_edit_that_comes_late_with_older_words_is_made_again(self, store: Store) -> None:
        """Of two hosts that edit one message, the slower may show less: its note says so, and the message is behind."""
        opened = store.add(record(key()), window=HOUR)
        store.note_fix(opened.id, note="a")
        store.shown(opened.id, revision=2, channel="C1", message_ts="1.2")
        assert store.undelivered() == []
        store.shown(opened.id, revision=1)
        assert [(i.id, i.shown_revision) for i in store.undelivered()] == [(opened.id, 1)]

    def test_an_incident_is_found_by_its_message(self, store: Store) -> None:
        """A reaction and a question in a thread name the message only."""
        opened = store.add(record(key()), window=HOUR)
        store.shown(opened.id, revision=opened.revision, channel="C1", message_ts="1.2")
        assert store.incident_of("C1", "1.2").id == opened.id
        assert store.incident_of("C2", "1.2") is None
        assert store.incident_of("C1", "1.3") is None

    def test_one_owner_writes_into_a_thread(self, store: Store) -> None:
        """Others wait until it is done or gone; who follows one that did not end is told to look first."""
        opened = store.add(record(key()), window=HOUR)
        assert store.begin_entry(opened.id, owner="a", now=NOW, stale_after=120) == "first"
        assert store.begin_entry(opened.id, owner="b", now=NOW + 1, stale_after=120) == "no"
        assert store.begin_entry(opened.id, owner="a", now=NOW + 2, stale_after=120) == "again"
        assert store.begin_entry(opened.id, owner="b", now=NOW + 200, stale_after=120) == "again"
        store.end_entry(opened.id, told="the details")
        assert store.begin_entry(opened.id, owner="a", now=NOW + 201, stale_after=120) == "first"
        assert store.thread(opened.id).told == "the details"
        assert store.begin_entry("0" * 16, owner="a", now=NOW, stale_after=120) == "no"
        store.end_entry("0" * 16, told="nothing")
        assert store.incident("0" * 16) is None

    def test_a_thread_knows_the_dags_that_joined(self, store: Store) -> None:
        """Each DAG whose tasks joined is named once, and nothing is told at first."""
        for n, dag_id in enumerate(("sales", "finance", "sales")):
            task = key(f"t{n}")._replace(dag_id=dag_id)
            opened = store.add(record(task, at=NOW + n), window=HOUR)
        assert (store.thread(opened.id).told, store.thread(opened.id).dags) == ("", ("finance", "sales"))
        assert store.thread("0" * 16).dags == ()

    def test_the_refused_wait_behind_all_others(self, store: Store) -> None:
        """However many messages Slack refuses for good, a new one is delivered first; one that it took is no longer."""
        refused = [store.add(record(key(f"t{n}"), mark=f"f{n}", at=NOW + n), window=HOUR) for n in range(110)]
        for n, incident in enumerate(refused):
            store.refused(incident.id, now=NOW + HOUR + (n + 55) % 110)
        fresh = store.add(record(key("new"), mark="new", at=NOW + 2 * HOUR), window=HOUR)
        due = store.undelivered(limit=100)
        assert [due[0].id, due[1].id, len(due)] == [fresh.id, refused[55].id, 100]
        assert due[1].refused_at == NOW + HOUR
        store.shown(refused[55].id, revision=0, channel="C1", message_ts="1.2")
        assert store.incident(refused[55].id).refused_at is None
        store.refused("0" * 16, now=NOW)
        assert store.incident("0" * 16) is None
