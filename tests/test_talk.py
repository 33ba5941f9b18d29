"""Who is told of progress, and how it is said."""

import time

import pytest

import nasproxy as nap
from nasproxy.images import ImageData
from nasproxy.space import SearchSpace
from nasproxy.talk import Talk, listening, printable
from tests.records import Notes


def test_off_a_terminal_only_the_end_of_what_takes_time_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk() as talk:
        for done in range(4):
            talk.progress("counting", done, 3)
        talk.say("a line")
        talk.warn("beware")
    assert capsys.readouterr().err == "a line\nwarning: beware\n"


def test_names_cannot_move_the_cursor_of_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("größe 5\N{NO-BREAK SPACE}%\n猫") == "größe 5\N{NO-BREAK SPACE}%\n猫"
    with Talk() as talk:
        talk.warn("class \x1b[2J\u202e\x07")
    assert capsys.readouterr().err == "warning: class \\x1b[2J\\u202e\\x07\n"


def test_quiet_says_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(verbose=False) as talk:
        talk.progress("counting", 3, 3)
        talk.say("a line")
        talk.warn("beware")
    assert capsys.readouterr().err == "warning: beware\n"


def test_verbose_says_every_second_how_far_it_is_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with Talk(verbose=True) as talk:
        talk.progress("counting", 1, 2, "half of it")
        time.sleep(3)
        talk.progress("counting", 2, 2)
    *half, end = capsys.readouterr().err.splitlines()
    assert half
    assert all(line.startswith("counting 1/2 ") and line.endswith(" half of it") for line in half)
    assert end.startswith("counting 2/2 ")


def test_it_may_be_entered_again_and_in_itself(capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk(verbose=True)
    for number in range(2):
        with talk, listening(talk) as same:
            assert same is talk
            print("printed")
            talk.progress("counting", number, number)
    assert capsys.readouterr().err.count("printed\n") == 2


def test_on_a_terminal_it_has_a_bar_inside_its_context_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes any stream a terminal
    talk = Talk()
    talk.progress("counting", 1, 2)
    assert capsys.readouterr().err == ""
    with talk:
        talk.progress("counting", 2, 2)
    assert "counting" in capsys.readouterr().err
    talk.progress("counting", 2, 2)
    assert capsys.readouterr().err == ""


def test_a_listener_is_told_itself() -> None:
    notes = Notes()
    with listening(notes) as listener:
        assert listener is notes
    with listening(progress=False) as listener:
        listener.progress("counting", 1, 2)


def test_functions_tell_how_far_they_are(digits: ImageData, mini_space: SearchSpace) -> None:
    notes = Notes()
    nap.load_images("digits", progress=notes)
    nap.condense(digits, "dm", images_per_class=2, real_batch_size=8, steps=20, progress=notes)
    told = notes.of("condensing")
    assert (told[0], told[-1]) == ((0, 20), (20, 20))
    assert (10, 20) in told
    assert told == sorted(told)  # there are more of them where a step takes long
    nap.search(mini_space, "params", digits, archs=[arch.id for arch in mini_space.archs()[:3]], progress=notes)
    assert notes.of("searching") == [(0, 3), (1, 3), (2, 3), (3, 3)]
