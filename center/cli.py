"""`reading-center`: start the centre or one of its roles, declare who takes part, look after what is kept.

Every command finds the centre by the settings (READING_CENTER_…) or `--data DIR`. What goes wrong is said
in one sentence on standard error, and the exit status is not zero.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from center import logs
from center.complaints import Complaint
from storage.settings import BadSetting, Settings, from_environment

Command = Callable[[argparse.Namespace, Settings], int]

# Words of the command line that win over the environment; their names are the settings' names.
OVERRIDES = ("data", "http_port", "dicom_port", "dicom_tls_port")


def main(words: Sequence[str] | None = None) -> NoReturn:
    """The console script. Never returns; never shows a traceback for what a person can mend."""
    arguments = parser().parse_args(words)
    try:
        status = _run(arguments)
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:
        # `reading-center verify | head`: whoever read has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run(arguments: argparse.Namespace) -> int:
    try:
        settings = from_environment(
            only_looks=getattr(arguments, "check", False),
            **{name: getattr(arguments, name, None) for name in OVERRIDES},
        )
        logs.configure("center", level="WARNING")  # the roles say more
        command: Command = arguments.command
        return command(arguments, settings)
    except BrokenPipeError:
        raise
    except (BadSetting, Complaint) as error:
        return _complain(str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return _complain(f"{error.strerror or type(error).__name__}{where}")


def _complain(sentence: str) -> int:
    print(f"reading-center: {sentence}", file=sys.stderr)
    return 1


# --- Commands. Each imports what it needs when it runs: --help is instant, a role loads only itself. ----


def _serve(arguments: argparse.Namespace, settings: Settings) -> int:
    from center import all_in_one

    return all_in_one.serve(settings, demo=arguments.demo)


def _role(name: str) -> Command:
    def run(_arguments: argparse.Namespace, settings: Settings) -> int:
        from center import roles

        return roles.run(name, settings)

    return run


def _migrate(_arguments: argparse.Namespace, settings: Settings) -> int:
    from center import compose, migrate

    with compose.answering(settings):
        compose.prepare_objects(settings)
        migrate.migrate(settings.database_url)
    print("the database schema is up to date")
    return 0


def _apply(arguments: argparse.Namespace, settings: Settings) -> int:
    from center import compose, declaration, migrate

    try:
        text = sys.stdin.read() if str(arguments.file) == "-" else arguments.file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Complaint(f"{arguments.file} is not UTF-8 text") from None
    with compose.answering(settings):
        try:
            if arguments.check:
                differences = declaration.check(settings.database_url, text)
            else:
                migrate.migrate(settings.database_url)
                with compose.open_database(settings) as database:
                    differences = declaration.apply(database, text)
        except declaration.BadDeclaration as error:
            raise Complaint(f"{arguments.file}: {error}") from None
    for difference in differences or ["nothing to change"]:
        print(difference)
    return 0


def _verify(_arguments: argparse.Namespace, settings: Settings) -> int:
    from center import compose, inventory

    with compose.answering(settings), compose.open_database(settings) as database:
        return inventory.report(database, compose.open_objects(settings), out=sys.stdout)


def _verify_report(arguments: argparse.Namespace, settings: Settings) -> int:
    from center import report_verification

    return report_verification.report(arguments.file, settings, authority=arguments.ca, out=sys.stdout)


def _conformance(_arguments: argparse.Namespace, settings: Settings) -> int:
    from dicom_node import conformance

    print(conformance.statement(settings), end="")
    return 0


# --- Words ----------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reading-center",
        description="A shared diagnostic centre for a county.",
        epilog="Settings come from the environment, prefix READING_CENTER_; docs/settings.md lists them.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    centre = argparse.ArgumentParser(add_help=False)
    centre.add_argument("--data", metavar="DIR", help="data folder of the centre (./data)")
    http = argparse.ArgumentParser(add_help=False)
    http.add_argument("--http-port", metavar="N", help="port of the portal (8080; 0 turns it off)")
    dicom = argparse.ArgumentParser(add_help=False)
    dicom.add_argument("--dicom-port", metavar="N", help="port for plain DICOM (11112; 0 turns it off)")
    dicom.add_argument("--dicom-tls-port", metavar="N", help="port for DICOM over TLS (2762; 0 turns it off)")

    def add(
        name: str, command: Command, about: str, *parents: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about, parents=[centre, *parents])
        added.set_defaults(command=command)
        return added

    serve = add("serve", _serve, "Start the whole centre: DICOM node, portal and worker.", http, dicom)
    serve.add_argument("--demo", action="store_true", help="with the demo county, whose devices send studies")
    add("node", _role("node"), "Start the DICOM node alone.", dicom)
    add("portal", _role("portal"), "Start the portal alone.", http)
    add("worker", _role("worker"), "Start the worker alone.")
    apply = add("apply", _apply, "Declare institutions, devices, people, agreements; twice changes nothing.")
    apply.add_argument("file", type=Path, metavar="FILE.toml", help="the declaration; - reads standard input")
    apply.add_argument("--check", action="store_true", help="print the difference and change nothing")
    add("migrate", _migrate, "Bring the database schema up to date.")
    add("verify", _verify, "Re-hash every stored object; status 1 if any is missing or corrupt.")
    add("conformance", _conformance, "Print the DICOM conformance statement of these settings.", dicom)
    report = add("verify-report", _verify_report, "Check a signed report offline: who signed, what it binds.")
    report.add_argument("file", type=Path, metavar="FILE.pdf", help="the signed report")
    report.add_argument("--ca", type=Path, metavar="FILE", help="trusted root certificate (the centre's own)")
    return parser


if __name__ == "__main__":
    main()
