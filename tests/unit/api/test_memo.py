"""What is compiled from a spec is made once for each, and never kept longer than it."""

from __future__ import annotations

import gc

import pytest

from modelrollout.api.memo import once


class _Spec:
    pass


def test_it_is_found_out_once_for_each_object_and_forgotten_with_it() -> None:
    made: list[object] = []

    @once
    def compiled(spec: _Spec, gate: _Spec) -> int:
        made.append(spec)
        return len(made)

    spec, gate, other = _Spec(), _Spec(), _Spec()
    assert [compiled(spec, gate), compiled(spec, gate), compiled(spec, other), compiled(spec, gate)] == [1, 1, 2, 1]
    made.clear()
    for _ in range(50):  # whose ids may well be those of the ones before
        spec = _Spec()
        gc.collect()
        before = len(made)
        compiled(spec, gate)
        assert len(made) == before + 1


def test_errors_are_not_remembered() -> None:
    answers = iter([ValueError("not now"), None])

    @once
    def compiled(spec: _Spec) -> str:
        error = next(answers)
        if error is not None:
            raise error
        return "made"

    spec = _Spec()
    with pytest.raises(ValueError, match="not now"):
        compiled(spec)
    assert compiled(spec) == "made"
