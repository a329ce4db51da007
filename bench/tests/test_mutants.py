"""The mutations fit the code, and the command reports mutations that no test notices."""

from collections import Counter

import pytest

from bench import mutants
from bench.mutations import MUTATIONS, Mutation

CODE = "def double(x):\n    return 2 * x\n"
TESTS = """
import code_of_the_test as code

def test_one():
    assert code.double(1) == 2

def test_nothing():
    assert code.double(0) == 0
"""
TRIPLE = Mutation("triple", "code_of_the_test.py", "2 * x", "3 * x", ("test_it.py::test_one",))


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Make a small project whose tests run without Django, which takes time to start."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setattr(
        mutants, "INHERITED", (*mutants.INHERITED, "PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    )
    root = tmp_path / "root"
    root.mkdir()
    (root / "code_of_the_test.py").write_text(CODE)
    (root / "test_it.py").write_text(TESTS)
    (root / "pytest.ini").touch()
    return root


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_fits_the_code_and_names_its_tests(mutation):
    assert mutation.old != mutation.new
    assert mutation.tests
    mutants.check(mutation)


def test_names_are_unique():
    assert [
        name
        for name, count in Counter(mutation.name for mutation in MUTATIONS).items()
        if count > 1
    ] == []


def test_a_noticed_mutation_is_reported(tree, capsys):
    assert mutants.survive([TRIPLE], tree) == 0

    out = capsys.readouterr().out
    assert out.startswith("noticed  triple ")
    assert out.splitlines()[-1].startswith("1 of 1 noticed, in ")
    # The tree itself is unchanged.
    assert (tree / TRIPLE.file).read_text() == CODE


def test_a_surviving_mutation_is_reported(tree, capsys):
    blind = TRIPLE._replace(name="blind", tests=("test_it.py::test_nothing",))

    assert mutants.survive([TRIPLE, blind], tree) == 1

    assert "\nSURVIVED blind " in capsys.readouterr().out


@pytest.mark.parametrize("new", ["nobody_knows(x)", "__import__('nothing')"])
def test_an_invalid_mutation_does_not_count_as_noticed(tree, capsys, new):
    assert mutants.survive([TRIPLE._replace(new=new)], tree) == 1

    assert capsys.readouterr().out.startswith("BROKEN   triple ")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"old": "4 * x"}, "has '4 * x' 0 times, not once"),
        ({"old": "x"}, "has 'x' 2 times, not once"),
        ({"new": "2 *"}, "does not compile"),
        ({"tests": ("test_it.py::test_two",)}, "there is no test test_it.py::test_two"),
        ({"tests": ("test_no.py::test_one",)}, "there is no test test_no.py::test_one"),
    ],
)
def test_a_stale_list_is_reported(tree, capsys, change, said):
    assert mutants.survive([TRIPLE._replace(**change)], tree) == 2

    assert said in capsys.readouterr().err


def test_tests_must_pass_without_the_mutation(tree, capsys):
    (tree / TRIPLE.file).write_text(CODE.replace("2 * x", "1 * x + 0 * 2 * x"))

    assert mutants.survive([TRIPLE], tree) == 2

    assert "must pass on the code as it is: test_one" in capsys.readouterr().err


def test_skipped_tests_prove_nothing(tree, capsys):
    (tree / "test_it.py").write_text("import pytest\npytestmark = pytest.mark.skip\n" + TESTS)

    assert mutants.survive([TRIPLE], tree) == 2

    assert "test_one is skipped" in capsys.readouterr().err


def test_the_list_is_printed(capsys):
    assert mutants.main(["--list"]) == 0

    assert len(capsys.readouterr().out.splitlines()) == len(MUTATIONS)


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit) as ended:
        mutants.main(["nothing-of-the-kind"])

    assert ended.value.code == 2
    assert "no such mutation: nothing-of-the-kind" in capsys.readouterr().err
