"""The documentation: every block of it runs, every name is in it, and every link leads somewhere.

A `python` block of `README.md` and of `docs/` is a program of its own; below the comment
`<!-- continues -->` it goes on where the block before it has ended. One that has a test is collected by
pytest, any other is run as a script. What is not to be run is a `console` or a `text` block.

Below `<!-- prints -->` stands a `text` block with what the program before it prints, to the letter.

A program below `<!-- needs postgresql -->` has a server at the address that it names; without one it is not run.

Pytest is given options for a program below `<!-- passes with OPTIONS -->`. Below `<!-- fails with OPTIONS -->` stands
one whose tests pass as they are, and fail with these options.
"""

import ast
import contextlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import jobify
import jobify.serializers
import jobify.storage
import jobify_testing
from tests.interpreters import Interpreter
from tests.postgres import Database

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERY_PAGE = [*PAGES, ROOT / "CONTRIBUTING.md"]
REFERENCE = "\n".join(page.read_text("utf-8") for page in sorted((ROOT / "docs" / "reference").glob("*.md")))
MODULES = [jobify, jobify.storage, jobify.serializers, jobify_testing]

CONFIGURATION = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

KEEPS_ITS_TURN = "has kept its turn"
"""What a program is warned of that waits for real, as its own subject."""

CONTINUES = "<!-- continues -->"
PRINTS = "<!-- prints -->"
NEEDS_POSTGRES = "<!-- needs postgresql -->"
ITS_ADDRESS = "postgresql://jobs@localhost/jobs"
OPTIONS = re.compile(r"<!-- (passes|fails) with (.+) -->")
FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


class Block(NamedTuple):
    """A fenced block: its language, the number of its first line, its lines, and what stands right above it."""

    language: str
    start: int
    lines: list[str]
    above: str


class Program(NamedTuple):
    """One or more blocks of a page; each line of the source has the number that it has in the page.

    Its tests are run with the options of pytest in `passes_with`; with those in `fails_with`, if there are any, some
    of them fail. A script prints what `prints` says, or anything if that is None.
    """

    start: int
    source: str
    passes_with: tuple[str, ...] = ()
    fails_with: tuple[str, ...] = ()
    prints: str | None = None
    needs_postgres: bool = False

    @property
    def is_test(self) -> bool:
        """Whether pytest is to run it. What cannot be parsed is left to Python, which says why."""
        with contextlib.suppress(SyntaxError):
            return any(
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.name.lower().startswith("test")
                for node in ast.parse(self.source).body
            )
        return False


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    block: Block | None = None
    fence = above = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        match = FENCE.fullmatch(line)
        if block is not None:
            if line.strip() == fence:
                yield block
                block, above = None, ""
            else:
                block.lines.append(line)
        elif match is not None:
            fence = match[1]
            block = Block(match[2].strip(), number + 1, [], above)
        elif line.strip():
            above = line.strip()
    assert block is None, f"{name(page)}:{block.start}: a block has no end"


def programs(page: Path) -> list[Program]:
    """Return the programs of a page."""
    found: list[Program] = []
    for language, start, lines, above in blocks(page):
        if above == PRINTS:
            found[-1] = found[-1]._replace(prints="\n".join(lines) + "\n")
        if language != "python":
            continue
        before = found.pop() if above == CONTINUES and found else Program(start, "")
        gap = "\n" * (start - 1 - before.source.count("\n"))
        program = before._replace(source=before.source + gap + "\n".join(lines) + "\n")
        if above == NEEDS_POSTGRES:
            program = program._replace(needs_postgres=True)
        said = OPTIONS.fullmatch(above)
        if said is not None:
            options = tuple(said[2].split())
            program = (
                program._replace(passes_with=options) if said[1] == "passes" else program._replace(fails_with=options)
            )
        found.append(program)
    return found


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    lines: list[str] = page.read_text("utf-8").splitlines()
    for block in blocks(page):
        first = block.start - 1
        lines[first : first + len(block.lines)] = [""] * len(block.lines)
    return "\n".join(lines)


def name(page: Path) -> str:
    """Return the path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def module_name(page: Path, program: Program) -> str:
    """Return what the module of a program is called: it tells the page, and the line."""
    return f"{re.sub('[^a-z]+', '_', name(page).lower().removesuffix('.md'))}_{program.start}"


def pages_with(*, tests: bool) -> list[Path]:
    """Return the pages that have programs of one kind."""
    return [
        page
        for page in PAGES
        if any(program.is_test is tests and not program.needs_postgres for program in programs(page))
    ]


def slow_if_it_waits(page: Path) -> Any:
    """Return a page as a parameter, which is slow if a program of it waits in real time."""
    waits = any(KEEPS_ITS_TURN in program.source for program in programs(page))
    return pytest.param(page, marks=[pytest.mark.slow] if waits else [])


@pytest.mark.parametrize("page", list(map(slow_if_it_waits, pages_with(tests=True))), ids=name)
def test_every_block_with_a_test_passes(page: Path, pytester: pytest.Pytester) -> None:
    """The blocks of a page that have tests are modules of a fresh project, and each has tests that pass."""
    pytester.makeini(CONFIGURATION)
    found = [program for program in programs(page) if program.is_test]
    for options in dict.fromkeys(program.passes_with for program in found):
        modules = [write(page, program, pytester) for program in found if program.passes_with == options]
        recorder = pytester.inline_run("-p", "no:cacheprovider", *options, *modules)  # pyright: ignore[reportUnknownMemberType]  # pytest leaves it untyped
        passed, skipped, failed = recorder.listoutcomes()
        assert not skipped
        assert not failed
        assert recorder.ret == pytest.ExitCode.OK
        assert {report.nodeid.partition("::")[0] for report in passed} == set(modules)


def write(page: Path, program: Program, pytester: pytest.Pytester) -> str:
    """Make a module of a program, and return the name of its file."""
    file = f"test_{module_name(page, program)}.py"
    (pytester.path / file).write_text(program.source, "utf-8")
    return file


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(program.fails_with for program in programs(page))], ids=name
)
def test_blocks_that_fail_with_an_option_do(page: Path, pytester: pytest.Pytester) -> None:
    """A block that is said to fail with an option of pytest fails with it; what the report says repeats a failure."""
    pytester.makeini(CONFIGURATION)
    for program in programs(page):
        if not program.fails_with:
            continue
        file = write(page, program, pytester)
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *program.fails_with, file)
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        command = re.search("^To see it again: pytest (.+)$", result.stdout.str(), re.MULTILINE)
        assert command is not None
        again = pytester.runpytest_inprocess("-p", "no:cacheprovider", *shlex.split(command[1]))
        assert again.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with(tests=False), ids=name)
def test_every_other_block_is_a_program_that_ends(page: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    """The other blocks of a page are scripts that end by themselves, on the real clock, and all at once."""
    found = [program for program in programs(page) if not program.is_test and not program.needs_postgres]
    scripts = [tmp_path / f"{module_name(page, program)}.py" for program in found]
    for script, program in zip(scripts, found, strict=True):
        script.write_text(program.source, "utf-8")
    ended = interpreter.run(*scripts)
    failures = [output for code, output in ended if code]
    assert not failures, "\n".join(failures)
    for script, program, (_, output) in zip(scripts, found, ended, strict=True):
        assert program.prints in (None, output), script.stem


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(program.needs_postgres for program in programs(page))], ids=name
)
def test_blocks_that_need_postgresql_run_with_it(
    page: Path, interpreter: Interpreter, database: Database, tmp_path: Path
) -> None:
    """The blocks of a page that name a PostgreSQL database are scripts that end, with that of the test."""
    for program in programs(page):
        if program.needs_postgres:
            assert ITS_ADDRESS in program.source
            script = tmp_path / f"{module_name(page, program)}.py"
            script.write_text(program.source.replace(ITS_ADDRESS, database.server.dsn), "utf-8")
            (ended,) = interpreter.run(script)
            assert ended.code == 0, ended.output


@pytest.mark.parametrize("page", EVERY_PAGE, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    """No block escapes by its language; what is no program is something to type, or to look at."""
    for block in blocks(page):
        assert block.language in ("python", "console", "text"), f"{name(page)}:{block.start}"
        if block.above.startswith("<!--"):
            is_known = block.above in (CONTINUES, PRINTS, NEEDS_POSTGRES) or OPTIONS.fullmatch(block.above)
            assert is_known, f"{name(page)}:{block.start}"


@pytest.mark.parametrize("page", EVERY_PAGE, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A link to a file names one that is there, and a link to a heading one that the page has."""
    for link in LINK.findall(prose(page)):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.is_file(), link
        if anchor:
            assert anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: ModuleType) -> None:
    """What can be imported from a public module is explained, and so are the members of its classes."""
    names: list[str] = list(module.__all__)
    assert [name for name in names if not re.search(rf"`(?:\w+\.)*{name}\b", REFERENCE)] == []
    members = [f"{name}.{member}" for name in names for member in public_members(getattr(module, name))]
    assert [member for member in members if not is_explained(member.split(".")[1])] == []


def public_members(thing: Any) -> list[str]:
    """Return the names that a class has for its users."""
    if not inspect.isclass(thing) or issubclass(thing, BaseException):
        return []
    return [member for member in vars(thing) if not member.startswith(("_", "test_"))]


def is_explained(member: str) -> bool:
    """Whether code in the reference mentions a member."""
    return re.search(rf"`[^`\n]*\b{member}\b[^`\n]*`", REFERENCE) is not None


def test_every_fixture_and_the_marker_are_in_the_reference(pytestconfig: pytest.Config) -> None:
    """What the plugin brings is explained, with each argument of the marker."""
    lines: list[str] = pytestconfig.getini("markers")
    (marker,) = [line for line in lines if line.startswith("virtual_clock(")]
    arguments = re.findall(r"(\w+)=", marker.partition(":")[0])
    assert arguments
    names = ["virtual_clock", "job_transitions", *arguments]
    testing = (ROOT / "docs" / "reference" / "testing.md").read_text("utf-8")
    assert [name for name in names if f"| `{name}` |" not in testing] == []


def test_every_option_is_in_the_reference(pytester: pytest.Pytester) -> None:
    """What can be said of virtual time on the command line and in the configuration is explained."""
    pytester.makeini(CONFIGURATION)
    told = pytester.runpytest_inprocess("--help").stdout.str()
    options = re.findall(r"^  (--virtual-\w+|virtual_\w+)", told, re.MULTILINE)
    assert {"--virtual-seed", "virtual_seed"} <= set(options)
    testing = (ROOT / "docs" / "reference" / "testing.md").read_text("utf-8")
    assert [option for option in options if not re.search(rf"^(\| `)?{option}\b", testing, re.MULTILINE)] == []


def test_every_module_is_among_the_parts() -> None:
    """The page of the parts knows each module of the two packages, and none that is gone."""
    parts = (ROOT / "docs" / "explanation" / "parts.md").read_text("utf-8")
    modules = {module.stem for package in ("jobify", "jobify_testing") for module in (ROOT / package).glob("*.py")}
    assert [module for module in sorted(modules) if f"`{module}`" not in parts and module != "__init__"] == []
    assert [module for module in re.findall(r"`(_\w+)`", parts) if module not in modules] == []


def test_the_readme_is_short() -> None:
    """People read it to the end."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 150
