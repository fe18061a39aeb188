# SPDX-License-Identifier: Apache-2.0
"""What README, docs and help texts tell a user to type, to open and to look up exists."""

import argparse
import functools
import re
import runpy
import shlex
from inspect import isfunction
from pathlib import Path

import pytest
import tyro

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HISTORY = ROOT / "docs" / "experiments.md"
"""Its commands are those of their day; only its links are held."""
SOURCES = [path for top in ("resip_ros", "training") for path in (ROOT / top).rglob("*.py")]
COMMAND = re.compile(r"(?:python -m )?(training\.\w+|resip_ros\.[\w.]+|resip)(?= [^ ])(.*)")


class ParsedError(Exception):
    """The command line was understood; the program goes no further."""


def read_blocks(text):
    """Lines of the fenced blocks without a language, continued lines joined."""
    blocks = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def read_prose(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def read_inline(text):
    """Inline code, which may go over the end of a line."""
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", read_prose(text))]


def read_examples(source):
    """Indented commands in the strings of a source file, without what is said beside them."""
    joined = re.sub(r"\\+\n *", " ", source)
    found = re.findall(r"^ {2,4}((?:python -m |resip )\w.*)", joined, re.M)
    return [re.split(r" {3,}", line)[0] for line in found]


def find_commands(lines):
    """Program and its arguments, of each line that is one of our commands."""
    for line in lines:
        match = COMMAND.fullmatch(re.sub(r"\s#.*", "", line).strip())
        if match:
            yield match[1], *shlex.split(match[2])


def is_whole(command):
    if any(mark in word for word in command for mark in ("…", "|")):
        return False
    return command[-1] != "..." or command[-2].startswith("--")


def collect_commands():
    """Commands to be parsed whole, and those of which only the options can be held."""
    whole, parts = [], []
    for page in (page for page in PAGES if page != HISTORY):
        text = page.read_text()
        for found in find_commands(read_blocks(text)):
            (whole if is_whole(found) else parts).append(found)
        parts += find_commands(read_inline(text))
    for source in SOURCES:
        whole += find_commands(read_examples(source.read_text()))
    return sorted(set(whole)), parts


def group_options(commands):
    """Options that are named with each program, or each of its subcommands."""
    groups = {}
    for command in commands:
        several = command[0] in ("resip", "training.lerobot")
        options = {word.split("=")[0] for word in command[1:] if word.startswith("-")}
        groups.setdefault(command[: 2 if several else 1], set()).update(options - {"--help"})
    return {program: options for program, options in groups.items() if options}


WHOLE, PARTS = collect_commands()
OPTIONS = group_options(PARTS)


def then_stop(parse):
    """The parser, followed by the end of the program."""

    def parse_and_stop(target, *args, **kwargs):
        if isfunction(target):  # tyro would call it

            @functools.wraps(target)
            def nothing(**kwargs):
                pass

            target = nothing
        kwargs.pop("description", None)  # its examples name options too
        parse(target, *args, **kwargs)
        raise ParsedError

    return parse_and_stop


def parse(monkeypatch, module, arguments):
    """Runs a program until it has read its command line."""
    if module.startswith("training."):
        monkeypatch.setattr("tyro.cli", then_stop(tyro.cli))
        several = tyro.extras.subcommand_cli_from_dict
        monkeypatch.setattr("tyro.extras.subcommand_cli_from_dict", then_stop(several))
    else:
        parse_args = argparse.ArgumentParser.parse_args
        monkeypatch.setattr("argparse.ArgumentParser.parse_args", then_stop(parse_args))
    monkeypatch.setattr("sys.argv", [module, *arguments])
    name = "resip_ros.cli" if module == "resip" else module
    runpy.run_module(name, run_name="__main__", alter_sys=True)


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("command", WHOLE, ids=" ".join)
def test_a_command_is_understood(monkeypatch, command):
    with pytest.raises(ParsedError):
        parse(monkeypatch, command[0], command[1:])


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("program", OPTIONS, ids=" ".join)
def test_the_options_of_a_program_exist(monkeypatch, capsys, program):
    with pytest.raises(SystemExit) as stop:
        parse(monkeypatch, program[0], [*program[1:], "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    if program[0].startswith("resip"):
        text = text.split("\n\n")[0]  # the usage
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w.-]*", text))
    assert OPTIONS[program] - known == set()


def anchor(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_are_there(page):
    for target in re.findall(r"\]\(([^)]+)\)", read_prose(page.read_text())):
        if not target.startswith("http"):
            name, _, heading = target.partition("#")
            file = page.parent / name if name else page
            assert file.exists(), target
            if heading:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
                assert heading in map(anchor, headings), target


PARAMETERS = {"policy.checkpoint", "policy.golden", "robot.address"}
"""Names of parameters that look like those of modules."""


def defines(name):
    """Whether a module is there and defines the last of a dotted name's parts."""
    parts = name.split(".")
    folder = ROOT if parts[0] in ("training", "resip_ros") else ROOT / "resip_ros"
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    if not parts:
        return True
    file = folder / f"{parts[0]}.py"
    if not file.exists():
        return False
    text = file.read_text()
    return all(re.search(rf"^ *(def|class) {n}\b|^ *{n} *[:=]", text, re.M) for n in parts[1:])


@pytest.mark.parametrize("page", [p for p in PAGES if p != HISTORY], ids=lambda p: p.name)
def test_names_of_files_and_of_code_are_right(page):
    for code in read_inline(page.read_text()):
        if re.fullmatch(r"(resip_ros|training|test|config|launch|examples|scripts)/[\w./]+", code):
            assert "TASK" in code or (ROOT / code).exists(), code
        if re.fullmatch(r"test_\w+\.py", code):
            assert list((ROOT / "test").rglob(code)), code
        layers = "resip_ros|training|core|policy|sim|robot|bags|cameras|nodes"
        if re.fullmatch(rf"({layers})(\.[a-zA-Z_]\w*)+", code) and code not in PARAMETERS:
            assert defines(code), code
