"""The command `de-agent`.

Exit codes: 0 answered (``unknown`` is an answer), 2 wrong usage or settings, 1 anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from airflow_de_agent import settings as configuration
from airflow_de_agent.core.errors import DeAgentError, SettingsError
from airflow_de_agent.core.failure_text import run_shown
from airflow_de_agent.core.incident import Record
from airflow_de_agent.settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        command: Callable[[argparse.Namespace, Settings], int] = arguments.command
        return command(arguments, configuration.load())
    except SettingsError as exc:
        return _failed(f"settings are wrong:\n{exc}", 2)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        return 130  # as shells have it: 128 and the signal's number
    except OSError as exc:
        return _failed(f"{exc.filename}: {exc.strerror}" if exc.filename and exc.strerror else str(exc), 1)
    except DeAgentError as exc:
        return _failed(str(exc), 1)


def _failed(why: str, code: int) -> int:
    print(f"de-agent: {why}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="de-agent", description="Tells why an Airflow task failed.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command, describe in (
        ("diagnose", _diagnose, _diagnose_options),
        ("list", _list, _list_options),
        ("show", _show, _show_options),
        ("replay", _replay, _replay_options),
        ("drain", _drain, _no_options),
        ("sweep", _sweep, _no_options),
        ("eval", _eval, _eval_options),
        ("report", _report, _report_options),
        ("doctor", _doctor, _format_option),
        ("store", _store, _store_options),
        ("bundle", _bundle, _bundle_options),
    ):
        sub = commands.add_parser(name, help=command.__doc__, description=command.__doc__)
        sub.set_defaults(command=command)
        describe(sub)
    return parser


def _no_options(sub: argparse.ArgumentParser) -> None:
    del sub


def _format_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--format", choices=("text", "json"), default="text")


def _above_zero(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _diagnose_options(sub: argparse.ArgumentParser) -> None:
    log = "a task log, plain or .gz, or - for standard input; without it the ids name a task instance"
    sub.add_argument("--log", type=Path, metavar="FILE", help=log)
    evidence = "a JSON file with run_state, recent_runs, redshift, lambda_errors"
    sub.add_argument("--evidence", type=Path, metavar="FILE", help=evidence)
    for name, of in (("dag-id", "DAG"), ("run-id", "DAG run"), ("task-id", "task")):
        sub.add_argument(f"--{name}", default="", metavar="ID", help=f"the {of}; with --log only a name to show")
    sub.add_argument("--map-index", type=int, default=-1, metavar="N", help="of a mapped task instance")
    sub.add_argument("--try-number", type=_above_zero, metavar="N", help="default: the latest, with --log 1")
    sub.add_argument("--offline", action="store_true", help="ask neither AWS nor a model")
    sub.add_argument("--print-prompt", action="store_true", help="print what a model would be sent, and send nothing")
    _format_option(sub)


def _diagnose(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print one diagnosis, of a log file or of a task instance."""
    from airflow_de_agent import diagnose_command

    if not arguments.log and not (arguments.dag_id and arguments.run_id and arguments.task_id):
        return _failed("diagnose needs --log FILE, or --dag-id, --run-id and --task-id", 2)
    return diagnose_command.run(arguments, settings)


def _list_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--dag-id", default="", metavar="ID", help="of this DAG only")
    sub.add_argument("--run-id", default="", metavar="ID", help="of this DAG run only")
    sub.add_argument("--limit", type=_above_zero, default=50, metavar="N", help="as many at most (%(default)s)")
    _format_option(sub)


def _list(arguments: argparse.Namespace, settings: Settings) -> int:
    """List stored diagnoses, newest first."""
    from airflow_de_agent import bootstrap

    store = bootstrap.open_store(settings)
    records = store.recent(limit=arguments.limit, dag_id=arguments.dag_id, run_id=arguments.run_id)
    if arguments.format == "json":
        print(json.dumps([as_json(record) for record in records], indent=1))
    for record in records if arguments.format == "text" else ():
        diagnosis = record.diagnosis
        print(f"{record.id}  {record.failure.failed_at[:19]}  {diagnosis.category.value:<18} {_row(record)}")
    if not records and arguments.format == "text":
        _failed(f"no such diagnosis in {_store_named(settings)}; is AIRFLOW_HOME or store_url that of Airflow?", 0)
    return 0


def _store_named(settings: Settings) -> str:
    from airflow_de_agent.core.redaction import Redactor

    return Redactor().redact(settings.store_in_force)


def _row(record: Record) -> str:
    return f"{record.failure.key.label}: {' '.join(record.diagnosis.root_cause.split())[:160]}"


def _show_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("id", help="a diagnosis id, as `list` prints it")
    sub.add_argument("--prompt", action="store_true", help="print what a model was sent, word for word")
    sub.add_argument("--bundle", action="store_true", help="print all that it was made from, as `replay` reads it")
    _format_option(sub)


def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    """Print one stored diagnosis."""
    from airflow_de_agent import bootstrap
    from airflow_de_agent.core import render
    from airflow_de_agent.core.bundle import kept_as

    store = bootstrap.open_store(settings)
    record = store.get(arguments.id)
    if record is None:
        where = _store_named(settings)
        return _failed(f"there is no diagnosis {arguments.id} in {where}; `de-agent list` shows those there are", 1)
    if arguments.prompt or arguments.bundle:
        return _show_bundle(store.recall(kept_as(record.id), now=time.time()), words_only=arguments.prompt)
    print(json.dumps(as_json(record), indent=1) if arguments.format == "json" else render.plain(record))
    return 0


def _show_bundle(text: str | None, *, words_only: bool) -> int:
    if text is None:
        return _failed("nothing was looked into beyond the task log, so nothing was sent and no bundle was kept", 1)
    sent = json.loads(text)["sent"]
    if not words_only:
        print(text)
    elif not sent:
        return _failed("no model was asked", 1)
    for item in sent if words_only else ():
        print(f"{item['system']}\n\n{item['text']}")
    return 0


def _replay_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("bundle", type=Path, help="a file that `show ID --bundle` printed")
    _format_option(sub)


def _replay(arguments: argparse.Namespace, settings: Settings) -> int:
    """Ask the model again about a stored bundle."""
    from airflow_de_agent import diagnose_command

    return diagnose_command.replay(arguments, settings)


def as_json(record: Record) -> dict[str, Any]:
    """A record as `list` and `show` print it: the diagnosis, and which try it is of."""
    failure = record.failure
    about = {"id": record.id, "incident_id": record.incident_id, "state": failure.state, "failed_at": failure.failed_at}
    key = failure.key._asdict() | {"run_id": run_shown(failure.key.run_id)}
    return {**about, **key, "source": failure.source, **record.diagnosis.to_json()}


def _drain(arguments: argparse.Namespace, settings: Settings) -> int:
    """Work on the spool in the foreground until it is empty."""
    del arguments
    from airflow_de_agent import drainer
    from airflow_de_agent.spool import Spool

    if not drainer.drain_foreground(settings):
        return _failed("a drainer is at work already", 1)
    waiting = len(Spool(settings.spool_path).pending())
    print(f"{waiting} entries still wait in {settings.spool_path}" if waiting else "the spool is empty")
    return 0


def _sweep(arguments: argparse.Namespace, settings: Settings) -> int:
    """Do what the clock asks for: failures nobody told of, messages not delivered, recoveries, the weekly report."""
    del arguments
    from airflow_de_agent import sweep

    swept = sweep.run(settings)
    for line in swept.done:
        print(line)
    return _failed("\n".join(swept.failed), 1) if swept.failed else 0


def _eval_options(sub: argparse.ArgumentParser) -> None:
    from airflow_de_agent import evals

    evals.add_arguments(sub)


def _eval(arguments: argparse.Namespace, settings: Settings) -> int:
    """Measure diagnoses on a directory of labelled failures."""
    from airflow_de_agent import diagnose_command, evals

    return evals.run(arguments, diagnose_command.by_model(settings) if arguments.engine == "gemini" else None)


def _report_options(sub: argparse.ArgumentParser) -> None:
    from airflow_de_agent import report

    report.add_arguments(sub)


def _report(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what failed, how well it was diagnosed, and how soon it recovered."""
    from airflow_de_agent import host, report

    with contextlib.redirect_stdout(sys.stderr):
        connections = host.connections(settings) if arguments.channel else None
    return report.run(arguments, settings, connections)


def _store_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("action", choices=("create",))


def _store(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make what the store of `store_url` needs: a DynamoDB table, or the tables of a database."""
    del arguments
    from airflow_de_agent import bootstrap

    bootstrap.create_store(settings)
    print("the store is ready")
    return 0


def _bundle_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("target", choices=("mwaa",))
    sub.add_argument("--requirements", type=Path, help="the environment's own requirements.txt; ours is added to it")
    sub.add_argument("--out", type=Path, default=Path("dist/mwaa"), help="directory for both (default: %(default)s)")


def _bundle(arguments: argparse.Namespace, settings: Settings) -> int:
    """Make plugins.zip and requirements.txt for an Amazon MWAA environment."""
    del settings
    from airflow_de_agent import mwaa_bundle

    return mwaa_bundle.run(arguments)


def _doctor(arguments: argparse.Namespace, settings: Settings) -> int:
    """Say what is well, doubtful or broken, and what mends it."""
    from airflow_de_agent import doctor, host

    with contextlib.redirect_stdout(sys.stderr):  # where Airflow 2 logs to, ours is for the findings
        findings = doctor.findings(settings, host.connections(settings))
    if arguments.format == "json":
        print(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1))
    for finding in findings if arguments.format == "text" else ():
        print(finding.line)
    return 1 if any(finding.status == "failed" for finding in findings) else 0


if __name__ == "__main__":
    raise SystemExit(main())
