"""The command line: `hw4 run | test | report | grade | student | shapes | tune | doctor`."""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from hw4 import runtime
from hw4.claims import COLOURS
from hw4.tools import tune
from hw4.tools.submission import visible

MOST = 2000  # signs of a message; hostile text would fill the screen
EXECUTED, REPORT = runtime.BUILD / "notebooks", runtime.BUILD / "report"


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; return its exit code: 0 fine, 1 a check failed, 2 a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a terminal that cannot show a sign gets another one, not an error
            stream.reconfigure(errors="replace")
    options = _parser().parse_args(arguments)
    before = _on_sigterm(_terminate)
    try:
        code = options.run(options)
        if sys.stdout:  # None where the shell closed it
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # nobody reads on; what Python still holds back must not raise the error again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        what = error.strerror or error
        what = f"{what}: {visible(error.filename)}" if error.filename else what
        print(f"hw4 {options.command}: {runtime.cut(str(what), MOST)}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"hw4 {options.command}: {runtime.cut(str(error), MOST)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as signal_:
        print("\ninterrupted; what is finished is kept, nothing is half-written", file=sys.stderr)
        return 143 if isinstance(signal_, Terminated) else 130
    finally:
        _on_sigterm(before)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does, with a code of its own."""


def _terminate(*signal_) -> None:
    raise Terminated


def _on_sigterm(handler) -> object:
    """Set what SIGTERM does; return what it did. Only a main thread may."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler)


class Parser(argparse.ArgumentParser):
    """Python's parser, which repeats a wrong word at any length."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with 2."""
        super().error(runtime.cut(message, MOST))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="hw4", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks, render the report, print the claims")
    run.add_argument("notebooks", nargs="*", help="all by default; q7 is enough for one")
    run.add_argument("--in-place", action="store_true", help="replace the committed notebooks")
    run.set_defaults(run=_run)

    test = commands.add_parser("test", help="lint, unit tests, notebooks executed and compared")
    test.add_argument("parts", nargs="*", help="lint unit notebooks by default; fast: some of unit")
    test.add_argument("--only", nargs="+", metavar="NOTEBOOK", help="q5 for instance; all else")
    test.set_defaults(run=_test)
    for command in (run, test):
        command.add_argument(
            "--jobs", type=int, metavar="N", help="processes at once; as cores and memory allow"
        )

    report = commands.add_parser("report", help="print and check the claims of executed notebooks")
    report.add_argument("notebooks", nargs="*", type=Path, help="the committed ones by default")
    report.set_defaults(run=_report)

    grade = commands.add_parser(
        "grade", help="hold submissions against the committed notebooks, the reference"
    )
    grade.add_argument("submissions", nargs="+", type=Path, help="notebooks, or folders of them")
    grade.add_argument(
        "--reference", type=Path, metavar="FOLDER", help="the committed notebooks by default"
    )
    grade.add_argument("--rerun", action="store_true", help="execute every notebook again")
    grade.add_argument("--workers", type=int, metavar="N", help="processes of --rerun")
    grade.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster for --rerun")
    grade.add_argument("--seconds", type=float, help="limit of --rerun a notebook")
    grade.add_argument("--memory", type=float, help="the same, GiB of address space")
    grade.set_defaults(run=_grade)
    for command in (report, grade):
        command.add_argument("--json", action="store_true", help="print everything as JSON")
        command.add_argument(
            "--csv", type=Path, metavar="FILE", help="write a line a notebook there"
        )
        command.add_argument("--html", type=Path, metavar="FOLDER", help="write HTML pages there")

    student = commands.add_parser("student", help="write notebooks without their answers")
    student.add_argument("notebooks", nargs="*", help="all by default; q5 is enough for one")
    student.add_argument("--out", required=True, type=Path, metavar="FOLDER")
    student.set_defaults(run=_student)

    shapes = commands.add_parser(
        "shapes", help="output shapes, parameters and receptive fields of a network as text"
    )
    shapes.add_argument("network", help='for instance "conv 64 3x3 s1 same; pool 2; dense 10"')
    shapes.add_argument("--input", required=True, help="height, width, channels: 256x256x3")
    shapes.add_argument("--convention", choices=("keras", "pytorch"), default="keras")
    shapes.add_argument("--json", action="store_true", help="print the rows as JSON")
    shapes.set_defaults(run=_shapes)

    search = commands.add_parser("tune", help="the search of question 1, on one process or many")
    tune.add_arguments(search)
    search.set_defaults(run=tune.run)

    doctor = commands.add_parser("doctor", help="check this installation and say what it has")
    doctor.set_defaults(run=_doctor)
    return parser


def _run(options) -> int:
    from rich.console import Console

    from hw4.tools import execute, pages
    from hw4.tools.grade import References, grade_all, summary

    console = Console(stderr=True)
    sources, most = execute.find(options.notebooks), _jobs(options)
    target = runtime.NOTEBOOKS if options.in_place else EXECUTED
    pages.announce(REPORT)

    def verdict(path: Path) -> str:
        return summary([found for found, _ in grade_all([path], References(runtime.NOTEBOOKS))])

    failed = execute.run_all(sources, target, console, verdict, most)
    paths = sorted(target / source.name for source in sources)
    failures = {target / source.name: problem for source, problem in failed.items()}
    missing = [] if options.notebooks else execute.missing()
    return _show(paths, html=REPORT, failures=failures, missing=missing, evidence="run now")


def _test(options) -> int:
    from hw4.tools import check

    if unknown := [part for part in options.parts if part not in check.PARTS]:
        raise ValueError(
            f"parts must be among {', '.join(check.PARTS)}; got {unknown[0]!r}. Correct it."
        )
    return check.run(options.parts, options.only, _jobs(options))


def _jobs(options) -> int | None:
    if options.jobs is not None and options.jobs < 1:
        raise ValueError(f"jobs must be an integer from 1; got {options.jobs}. Correct it.")
    return options.jobs


def _report(options) -> int:
    from hw4.tools import execute

    given = options.notebooks
    paths = _found("folders", given) if given else sorted(execute.find())
    _check_places(options)
    whole = not given or runtime.NOTEBOOKS.resolve() in [place.resolve() for place in given]
    missing = execute.missing() if whole else []
    return _show(paths, options.json, options.csv, options.html, missing=missing)


def _found(name: str, places: list[Path], missing: bool = False) -> list[Path]:
    from hw4.tools import submission

    paths = submission.find(places, missing=missing)
    if not paths:
        raise ValueError(
            f"{name} must hold notebooks; got none below {', '.join(map(str, places))}. "
            "Name another folder."
        )
    return paths


def _check_places(options) -> None:
    """Refuse at once what could only fail when all the work is done."""
    csv, html = options.csv, options.html
    if csv and csv.is_dir():
        raise ValueError(f"csv must be a file; got the folder {csv}. Name a file in it.")
    if html:
        runtime.expect_folder("html", html)


def _grade(options) -> int:
    from hw4.tools.grade import References

    paths = _found("submissions", options.submissions, missing=True)
    _check_places(options)
    reference = options.reference
    references = References(reference or runtime.NOTEBOOKS)
    if reference and not references:
        raise ValueError(
            f"reference must be a folder of executed notebooks; got {reference}. Name another."
        )
    return _show(
        paths,
        options.json,
        options.csv,
        options.html,
        references=references,
        rerun=_rerun(options, paths, references) if options.rerun else None,
        lines=True,
    )


def _rerun(options, paths: list[Path], references) -> dict:
    from hw4.tools import rerun
    from hw4.tools.grade import label

    limits = {}
    for name in ("workers", "seconds", "memory"):
        if (value := getattr(options, name)) is not None:
            limits[name] = value
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a positive number; got {value}. Correct it.")
    again = {}
    for path, found in rerun.run(paths, references, scheduler=options.scheduler, **limits):
        again[path] = found
        print(f"re-run {len(again)}/{len(paths)}: {label(path)}", file=sys.stderr, flush=True)
    return again


def _show(
    paths: list[Path],
    as_json: bool = False,
    csv: Path | None = None,
    html: Path | None = None,
    *,
    failures: dict[Path, str] | None = None,
    missing: list[Path] | None = None,
    references=None,
    evidence: str = "consistent, not re-run",
    rerun: dict | None = None,
    lines: bool = False,
) -> int:
    """Grade notebooks, one at a time, and show the grades; return the exit code."""
    from hw4.tools import grade
    from hw4.tools.rerun import compare
    from hw4.tools.submission import Problem

    if references is None:
        references = grade.References(runtime.NOTEBOOKS)
    pages = _pages(html)
    grades = []
    try:
        for found, notebook in grade.grade_all(paths, references):
            for claim in found.claims:
                claim["evidence"] = evidence
            if rerun and found.path in rerun:
                compare(found, rerun[found.path])
            if problem := (failures or {}).get(found.path):
                found.problems.insert(0, Problem("run failed", None, problem))
                found.status = "findings" if notebook else "unreadable"
            grades.append(found)
            if pages:
                pages.add(found, notebook)
        for path in missing or []:
            found = grade.Grade(path, path.stem.split("_")[0], "unreadable")
            found.add("missing notebook", f"{path.name} is not there")
            grades.append(found)
            if pages:
                pages.add(found, None)
        index = pages.finish() if pages else None
    finally:
        if pages:
            pages.close()
    _print(grades, as_json, lines)
    if csv:
        from hw4.tools import report

        runtime.write_whole(csv, report.as_csv(grades))
    if index:
        print(f"Report: {_short(index)}", file=sys.stderr)
    return 1 if any(found.problems for found in grades) else 0


def _pages(folder: Path | None) -> object:
    if folder is None:
        return None
    from hw4.tools.pages import Pages

    return Pages(folder)


def _print(grades, as_json: bool, lines: bool) -> None:
    from rich.console import Console

    from hw4.tools import grade, report

    if as_json:
        print(report.as_json(grades))
        return
    console = Console()
    for found in grades:
        name = grade.label(found.path) if lines else grade.label(Path(found.path.stem))
        if lines:
            counts = grade.summary([found])
            print("\t".join((name, found.question or "unknown", found.status, counts)))
        elif console.is_terminal:
            _print_table(console, name, report.rows(found))
        else:
            for row in report.rows(found):
                print("\t".join((name, *row)))
        for problem in found.problems:
            place = f", cell {problem.cell}" if problem.cell else ""
            text = visible(problem.text, newlines=True).replace("\n", "\n    ")
            print(f"PROBLEM in {name}{place} [{problem.kind}]: {text}")
    print(grade.summary(grades))


def _print_table(console, name: str, rows: list[tuple]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("claim", "statement", "reported", "measured", "verdict", highlight=False)
    table.title, table.title_justify = escape(name), "left"
    for *cells, verdict in rows:
        table.add_row(*map(escape, cells), f"[{COLOURS[verdict][2]}]{verdict}[/]")
    console.print(table)


def _student(options) -> int:
    from hw4.tools import execute, student

    for path in student.write(execute.find(options.notebooks), options.out):
        print(_short(path))
    return 0


def _shapes(options) -> int:
    from hw4.conv_shapes.text import run

    print(run(options.network, options.input, options.convention, options.json))
    return 0


def _doctor(options) -> int:
    from hw4.tools import doctor

    return doctor.main()


def _short(path: Path) -> str:
    """Show a path as people type it: from the current folder where that is possible."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
