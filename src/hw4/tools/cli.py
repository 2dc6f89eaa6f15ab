"""The command line: `hw4 run | report | shapes | tune | doctor`."""

import argparse
import json
import sys
from pathlib import Path

from hw4 import runtime
from hw4.tools import tuning_command

EXECUTED, REPORT = runtime.BUILD / "notebooks", runtime.BUILD / "report"


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; return its exit code: 0 fine, 1 a check failed, 2 a wrong call."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a terminal that cannot show a sign gets another one, not an error
            stream.reconfigure(errors="replace")
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, FileNotFoundError) as error:
        print(f"hw4 {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; what is finished is kept, nothing is half-written", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hw4", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    run = commands.add_parser("run", help="execute notebooks, render the report, print the claims")
    run.add_argument("notebooks", nargs="*", help="all by default; q7 is enough for one")
    run.add_argument("--in-place", action="store_true", help="replace the committed notebooks")
    run.set_defaults(run=_run)

    report = commands.add_parser("report", help="print and check the claims of executed notebooks")
    report.add_argument("notebooks", nargs="*", type=Path, help="the committed ones by default")
    report.add_argument("--json", action="store_true", help="print everything as JSON")
    report.add_argument("--html", type=Path, metavar="FOLDER", help="write HTML pages there too")
    report.set_defaults(run=_report)

    shapes = commands.add_parser(
        "shapes", help="output shapes, parameters and receptive fields of a network as text"
    )
    shapes.add_argument("network", help='for instance "conv 64 3x3 s1 same; pool 2; dense 10"')
    shapes.add_argument("--input", required=True, help="height, width, channels: 256x256x3")
    shapes.add_argument("--convention", choices=("keras", "pytorch"), default="keras")
    shapes.add_argument("--json", action="store_true", help="print the rows as JSON")
    shapes.set_defaults(run=_shapes)

    tune = commands.add_parser("tune", help="the search of question 1, on one process or many")
    tuning_command.add_arguments(tune)
    tune.set_defaults(run=tuning_command.run)

    doctor = commands.add_parser("doctor", help="check this installation and say what it has")
    doctor.set_defaults(run=_doctor)
    return parser


def _run(options) -> int:
    from rich.console import Console

    from hw4.tools import execute, report

    console = Console(stderr=True)
    sources = execute.find(options.notebooks)
    target = runtime.NOTEBOOKS if options.in_place else EXECUTED
    failed = execute.run_all(
        sources, target, console, verdict=lambda path: report.summary([report.read(path)])
    )
    done = [target / source.name for source in sources if source not in failed]
    code = _show(done, as_json=False, folder=REPORT)
    return 1 if failed else code


def _report(options) -> int:
    paths = options.notebooks or sorted(runtime.NOTEBOOKS.glob("q*.ipynb"))
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise FileNotFoundError(
            f"notebooks must be existing files; got {', '.join(missing) or 'none'}. "
            "Run `make run` first, or name executed notebooks."
        )
    return _show(paths, options.json, options.html)


def _show(paths: list[Path], as_json: bool, folder: Path | None) -> int:
    from hw4.tools import report

    findings = [report.read(path) for path in paths]
    if as_json:
        print(json.dumps(report.as_json(findings), indent=1, ensure_ascii=False))
    else:
        _print_tables(findings)
    if folder:
        index = report.render(findings, folder)
        print(f"Report: {_short(index)}", file=sys.stderr)
    return 1 if any(finding.problems for finding in findings) else 0


def _print_tables(findings) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hw4.tools import report

    console = Console()
    for finding in findings:
        if console.is_terminal:
            table = Table("claim", "statement", "reported", "measured", "verdict", highlight=False)
            table.title, table.title_justify = finding.path.stem, "left"
            for *cells, verdict in report.rows(finding):
                table.add_row(*map(escape, cells), f"[{_STYLES[verdict]}]{verdict}[/]")
            console.print(table)
        else:
            for row in report.rows(finding):
                print("\t".join((finding.path.stem, *row)))
        for problem in finding.problems:
            console.print(
                f"PROBLEM in {finding.path.stem}: {problem}", markup=False, soft_wrap=True
            )
    console.print(report.summary(findings), highlight=False, soft_wrap=True)


_STYLES = {
    "confirmed": "green",
    "exceeded": "blue",
    "corrected": "yellow",
    "added": "magenta",
    "not run": "dim",
    "failed": "bold red",
}


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
