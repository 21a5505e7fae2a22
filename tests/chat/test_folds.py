"""Large texts behind labels."""

from __future__ import annotations

from llamachat.chat.file_blocks import file_block
from llamachat.chat.folds import Folds, with_long_files_folded
from llamachat.display import LONG_CHARS

LONG = "x" * (LONG_CHARS + 1)
SHORT = "line\n" * 9


def test_a_label_taken_away_takes_its_text_along() -> None:
    folds = Folds()
    assert folds.fold("short") == "short"
    label = folds.fold(LONG)
    other = folds.fold("line\n" * 300)
    assert folds.expand(f"{label} and {other}") == LONG + " and " + "line\n" * 300
    assert folds.expand(f"only {other}") == "only " + "line\n" * 300
    assert folds.expand(label[:-1]) == label[:-1]


def test_a_file_stands_as_its_name_and_size_unless_it_is_short() -> None:
    folds = Folds()
    short, long = file_block("a.txt", SHORT), file_block("a.txt", SHORT + SHORT)
    assert folds.fold_file("a.txt", short) == short
    assert folds.fold_file("a.txt", long) == "[a.txt: 89 characters, 18 lines]"
    assert folds.fold_file("b", file_block("b", "y" * 1001)) == "[b: 1,001 characters]"
    assert folds.expand("[a.txt: 89 characters, 18 lines] [b: 1,001 characters]").startswith(long)


def test_files_of_one_name_and_size_have_labels_of_their_own() -> None:
    folds = Folds()
    blocks = [file_block("a", letter * 2000) for letter in "xyx"]
    labels = [folds.fold_file("a", block) for block in blocks]
    assert labels == ["[a: 2,000 characters]", "[a #2: 2,000 characters]", "[a: 2,000 characters]"]
    assert folds.expand(" ".join(labels)) == " ".join(blocks)


def test_what_a_label_stands_for_may_hold_labels() -> None:
    folds = Folds()
    second = folds.fold_file("b", file_block("b", LONG))
    first = folds.fold_file("a", file_block("a", f"{second}{LONG}"))
    assert folds.expand(f"{first} {second}") == f"{file_block('a', second + LONG)} {file_block('b', LONG)}"


def test_of_a_message_to_go_on_with_the_files_are_folded_and_the_question_is_not() -> None:
    folds = Folds()
    message = f"Look:\n\n{file_block('a', LONG)}\n\n{file_block('b', SHORT)}\n\nWhat is it?"
    folded = folds.fold_message(message)
    assert folded == f"Look:\n\n[a: 8,001 characters]\n\n{file_block('b', SHORT)}\n\nWhat is it?"
    assert folds.expand(folded) == message
    assert folds.fold_message(message) == folded
    assert folds.fold_message(LONG) == "[pasted #2: 8,001 characters]"


def test_many_short_files_are_folded_together() -> None:
    folds = Folds()
    message = "\n\n".join(file_block(f"{number}", SHORT) for number in range(50))
    assert folds.fold_message(message).startswith("[pasted #1: ")
    assert folds.expand(folds.fold_message(message)) == message


def test_a_message_is_shown_with_its_files_unless_they_are_long() -> None:
    short = f"{file_block('a', SHORT * 9)}\n\nWhat is it?"
    assert with_long_files_folded(short) == short
    both = f"{file_block('a', SHORT)}\n\n{file_block('b', LONG)}\n\nWhat is it?"
    assert with_long_files_folded(both) == f"{file_block('a', SHORT)}\n\n[b: 8,001 characters]\n\nWhat is it?"
