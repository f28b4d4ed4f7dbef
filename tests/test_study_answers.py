"""Answer files: what the page writes is read; damage, edits and strangers are reported in one sentence each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulated import Person, lines_of, session_of, toy_key, written
from unpaired.errors import DataError
from unpaired.study.answer_files import Ranking, Session, chained, read_session, read_sessions
from unpaired.study.answer_places import answer_files, find_key
from unpaired.study.study_key import read_key

KEY = toy_key(models=("one", "two"))


def session(seed: int = 0, number: int = 0) -> Session:
    return session_of(Person(0.3), KEY, np.random.default_rng(seed), number=number)


def lines(seed: int = 0) -> list[dict[str, Any]]:
    return lines_of(session(seed), KEY)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_session(path, KEY)
    text = str(error.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


def test_a_file_is_read_as_it_was_answered(tmp_path: Path) -> None:
    given = session(number=1)
    found, remarks = read_session(written(tmp_path / "a.jsonl", lines_of(given, KEY)), KEY)
    assert (found.participant, found.set, found.ended) == (given.participant, 1, True)
    assert found.answers == given.answers
    assert remarks == []


def test_line_ends_of_windows_and_a_byte_order_mark_are_no_edit(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", lines())
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert len(read_session(path, KEY)[0].answers) == 46


def test_the_checksum_is_fnv_1a() -> None:
    assert chained("", b"") == "811c9dc5"
    assert chained("", b"a") == "e40c292c"
    assert chained("", b"foobar") == "bf9cf968"


def test_an_incomplete_last_line_is_left_out_and_reported(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", lines()[:20])
    path.write_bytes(path.read_bytes()[:-30])
    found, remarks = read_session(path, KEY)
    assert len(found.answers) == 18
    assert remarks[0].endswith("a.jsonl: the last line is incomplete and left out; ask for the file again.")
    assert "ends before the last trial" in remarks[1]


def test_a_reload_in_the_middle_of_a_trial_is_reported(tmp_path: Path) -> None:
    given = lines()
    trial = given[5]["trial"]
    found, remarks = read_session(
        written(tmp_path / "a.jsonl", [*given[:5], {"line": "lost", "trial": trial}, *given[6:]]), KEY
    )
    assert found.lost == (trial,)
    assert remarks == [f"{tmp_path / 'a.jsonl'}: a reload interrupted 1 trial, without an answer."]


@pytest.mark.parametrize("edit", ["change", "remove", "swap", "add"])
def test_an_edited_file_is_refused(tmp_path: Path, edit: str) -> None:
    path = written(tmp_path / "a.jsonl", lines())
    raw = path.read_bytes().splitlines()
    if edit == "change":
        raw[7] = raw[7].replace(b'"left"', b'"xxxx"').replace(b'"right"', b'"left"').replace(b'"xxxx"', b'"right"')
    elif edit == "remove":
        del raw[7]
    elif edit == "swap":
        raw[7], raw[8] = raw[8], raw[7]
    else:
        raw.insert(7, raw[6])
    path.write_bytes(b"\n".join(raw) + b"\n")
    assert refusal(path) == (
        f"{path} was edited or damaged at line 8, so none of its answers are used; ask for the file again."
    )


CHANGES: dict[str, tuple[int, dict[str, Any], str]] = {
    "other study": (0, {"study": "ffff"}, "is of study ffff, not of 0123456789abcdef"),
    "other version": (0, {"schema": 9}, "not an answer file of a study page of this version"),
    "no participant": (0, {"participant": "Jane Doe"}, "line 1 has no participant"),
    "unknown set": (0, {"set": 2}, "line 1 names an unknown set of trials"),
    "unknown trial": (3, {"trial": "zzz"}, "line 4 names the unknown trial zzz"),
    "unknown image": (3, {"left": "zzz"}, "line 4 names images that are not those of its trial"),
    "no choice": (3, {"choice": "both"}, "line 4 has an invalid choice or time"),
    "no time": (3, {"shown_ms": "long"}, "line 4 has an invalid choice or time"),
    "endless": (3, {"response_ms": float("inf")}, "line 4 has an invalid choice or time"),
    "unknown line": (3, {"line": "rank"}, "line 4 is of an unknown kind"),
    "control": (3, {"trial": "\x1b[31m"}, r"line 4 names the unknown trial \x1b[31m"),
    "list": (3, {"trial": []}, "line 4 names the unknown trial []"),
    "list of images": (3, {"left": ["zzz"]}, "line 4 names images that are not those of its trial"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_contradicts_the_key_is_refused(tmp_path: Path, name: str) -> None:
    number, change, sentence = CHANGES[name]
    given = lines()
    given[number] = {**given[number], **change}
    assert sentence in refusal(written(tmp_path / "a.jsonl", given))


def test_a_trial_that_is_answered_twice_is_refused(tmp_path: Path) -> None:
    given = lines()
    assert f"line 4 repeats trial {given[2]['trial']}" in refusal(
        written(tmp_path / "a.jsonl", [*given[:3], given[2], *given[3:]])
    )


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello", b"{}", b"\xff\xfe", b"[" * 10**5, b'{"line":"start"}\n'])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    assert "a.jsonl is" in refusal(tmp_path / "a.jsonl")


def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.jsonl").startswith("Cannot read ")


def test_files_of_one_participant_count_once(tmp_path: Path) -> None:
    given = lines()
    first = written(tmp_path / "first.jsonl", given[:30])
    whole = written(tmp_path / "whole.jsonl", given)
    other = written(tmp_path / "other.jsonl", lines(1))
    sessions, remarks = read_sessions([first, whole, other], KEY)
    assert [len(each.answers) for each in sessions] == [46, 46]
    assert remarks[-1] == f"{first}, {whole} are of one participant, counted once; {whole} is used."


def test_contradicting_files_of_one_participant_are_all_left_out(tmp_path: Path) -> None:
    mine = session()
    theirs = replace(session(1), participant=mine.participant)
    paths = [written(tmp_path / f"{n}.jsonl", lines_of(each, KEY)) for n, each in enumerate((mine, theirs, session(2)))]
    sessions, remarks = read_sessions(paths, KEY)
    assert len(sessions) == 1
    assert "have one participant and different answers, so none of them are used" in remarks[0]


def test_one_bad_file_does_not_stop_the_others_and_none_is_lost_silently(tmp_path: Path) -> None:
    good, bad = written(tmp_path / "good.jsonl", lines()), tmp_path / "bad.jsonl"
    bad.write_bytes(b"x")
    sessions, remarks = read_sessions([bad, good], KEY)
    assert (len(sessions), len(remarks)) == (1, 1)
    with pytest.raises(DataError, match=r"No answer file can be used\. .*bad\.jsonl is not an answer file"):
        read_sessions([bad], KEY)


def test_rankings_are_read_and_refused_alike(tmp_path: Path) -> None:
    key = toy_key("readers", models=("a", "b", "c"), scored=3, checks=0, seconds=0)
    rankings = tuple(
        Ranking(trial, dict(zip(trial.images, (2, 1, 3), strict=True)), "ü 画 \u2028") for trial in key.sets[0].trials
    )
    given = Session("0" * 16, tmp_path / "r.jsonl", 0, rankings=rankings, ended=True)
    path = written(tmp_path / "r.jsonl", lines_of(given, key))
    assert read_session(path, key) == (given, [])
    for change in ({"ranks": [1, 1, 2]}, {"ranks": [1, 2]}, {"ranks": "123"}, {"images": []}, {"comment": 3}):
        changed = lines_of(given, key)
        changed[2] = {**changed[2], **change}
        with pytest.raises(DataError, match="line 3"):
            read_session(written(path, changed), key)


def test_the_key_and_the_files_are_found(tmp_path: Path) -> None:
    answers = tmp_path / "study" / "answers" / "monday"
    answers.mkdir(parents=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    file = written(answers / "a.jsonl", lines())
    key = tmp_path / "study" / "key.json"
    key.write_text(KEY.to_json(), encoding="utf-8")
    assert answer_files([tmp_path / "study"]) == [file]
    assert answer_files([file, tmp_path / "study"]) == [file]
    assert find_key([tmp_path / "study"]) == find_key([answers.parent]) == key
    with pytest.raises(DataError, match=r"There is no key\.json at .*; give the key of the study with --key FILE"):
        find_key([file])
    with pytest.raises(DataError, match="does not exist"):
        answer_files([tmp_path / "none"])
    with pytest.raises(DataError, match="holds no answer files"):
        answer_files([empty])
    assert read_key(key) == KEY


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 1}', b'{"schema": 2}', b"\xff"])
def test_another_file_is_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.json").write_bytes(content)
    with pytest.raises(DataError, match=r"key\.json is not the key of a study"):
        read_key(tmp_path / "key.json")
    with pytest.raises(DataError, match="Cannot read the key"):
        read_key(tmp_path / "none.json")


def test_a_key_with_an_unknown_image_or_kind_is_refused(tmp_path: Path) -> None:
    for change in ({"kind": "quiz"}, {"images": {}}, {"sets": 3}):
        (tmp_path / "key.json").write_text(json.dumps({**json.loads(KEY.to_json()), **change}))
        with pytest.raises(DataError, match="is not the key of a study"):
            read_key(tmp_path / "key.json")
