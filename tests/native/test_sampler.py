"""Drawing tokens: the exact distribution, what each setting keeps, and determinism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.blocks import Floats
from tests.support.core import ffi, floats, lib, ok

N = 200


@dataclass(frozen=True)
class Sampling:
    temperature: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    top_k: int = 0

    def native(self) -> Any:
        return ffi.new("lc_sampling *", vars(self))


class Sampler:
    def __init__(self, n_vocab: int = N, seed: int = 1) -> None:
        out = ffi.new("lc_sampler **")
        ok(lib.lc_sampler_create(n_vocab, seed, out))
        self.handle = ffi.gc(out[0], lib.lc_sampler_free)

    def draw(self, logits: Floats, how: Sampling, window: tuple[int, ...] = ()) -> int:
        token = ffi.new("int32_t *")
        ok(lib.lc_sampler_draw(self.handle, floats(logits), how.native(), window, len(window), token))
        return int(token[0])

    def shares(
        self, logits: Floats, how: Sampling, ids: NDArray[np.int32], window: tuple[int, ...] = ()
    ) -> NDArray[np.float64]:
        out = ffi.new("float[]", max(1, len(ids)))
        native = ffi.from_buffer("int32_t[]", ids, require_writable=False)
        ok(lib.lc_sampler_shares(
            self.handle, floats(logits), how.native(), window, len(window), native, len(ids), out
        ))  # fmt: skip
        return np.array(list(out)[: len(ids)])


def random_logits(seed: int, n: int = N, spread: float = 2.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(n) * spread).astype(np.float32)


def distribution(logits: Floats, how: Sampling, window: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """The probabilities that the settings mean, in float64."""
    x = logits.astype(np.float64)
    for token in set(window):
        x[token] = x[token] / how.repeat_penalty if x[token] > 0 else x[token] * how.repeat_penalty
    order = np.argsort(-x, kind="stable")
    if how.top_k:
        order = order[: how.top_k]
    p = np.exp(x[order] - x[order[0]])
    p /= p.sum()
    if how.top_p < 1:
        order = order[: max(1, int((np.cumsum(p) < how.top_p).sum()) + 1)]
    p = p[: len(order)]
    order = order[p >= how.min_p * p[0]]
    out = np.zeros(len(x))
    out[order] = np.exp((x[order] - x[order[0]]) / how.temperature)
    return np.asarray(out / out.sum())


SETTINGS = [
    Sampling(),
    Sampling(temperature=0.3),
    Sampling(temperature=5.0),
    Sampling(top_k=7),
    Sampling(top_p=0.6),
    Sampling(top_p=0.99),
    Sampling(min_p=0.1),
    Sampling(top_k=40, top_p=0.9, min_p=0.05, temperature=0.8),
    Sampling(top_k=40, top_p=0.5, min_p=0.01, temperature=2.0, repeat_penalty=1.5),
    Sampling(repeat_penalty=0.5, top_p=0.8),
]
WINDOW = (3, 3, 3, 17, 0, 199, 42)


@pytest.mark.parametrize("how", SETTINGS)
def test_distribution(how: Sampling) -> None:
    """Pearson's chi-square over 20,000 draws; seeds are fixed, so this either holds or does not."""
    logits = random_logits(1)
    expected = distribution(logits, how, WINDOW)
    sampler, n = Sampler(seed=99), 20_000
    drawn = np.bincount([sampler.draw(logits, how, WINDOW) for _ in range(n)], minlength=N)
    assert set(np.flatnonzero(drawn)) <= set(np.flatnonzero(expected))
    often = expected * n >= 5
    observed = np.append(drawn[often], drawn[~often].sum())
    wanted = np.append(expected[often], expected[~often].sum()) * n
    statistic = ((observed - wanted) ** 2 / np.maximum(wanted, 1e-9))[wanted > 0].sum()
    freedom = max(1, int(often.sum()))
    assert statistic < freedom + 4 * np.sqrt(2 * freedom) + 6  # beyond the 99.99th percentile


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000, 50_000])
def test_what_is_kept(n: int) -> None:
    """Every kept token and no other is drawn: at a high temperature, from few kept ones, all come."""
    for seed, spread in ((2, 1.0), (3, 6.0)):
        logits = random_logits(seed, n, spread)
        for how in (
            Sampling(top_k=5, temperature=1e6),
            Sampling(top_p=0.3 if spread > 1 else 0.002, temperature=1e6),
            Sampling(min_p=0.8 if n > 10_000 else 0.3, temperature=1e6),
            Sampling(top_k=9, top_p=0.7, min_p=0.2, temperature=1e6),
        ):
            kept = set(np.flatnonzero(distribution(logits, how)))
            sampler = Sampler(n, 5)
            drawn = {sampler.draw(logits, how) for _ in range(40 * min(len(kept), 50))}
            assert drawn <= kept, how
            if len(kept) <= 20:
                assert drawn == kept, how


def test_extremes() -> None:
    logits = random_logits(4)
    best = int(logits.argmax())
    for how in (
        Sampling(top_k=1),
        Sampling(top_p=0.0),
        Sampling(min_p=1.0),
        Sampling(temperature=0.0),
        Sampling(temperature=1e-30),
        Sampling(temperature=1e-45),
    ):
        sampler = Sampler()
        assert {sampler.draw(logits, how) for _ in range(20)} == {best}, how
    for how in (Sampling(top_k=N), Sampling(top_k=10**9)):
        np.testing.assert_allclose(distribution(logits, how), distribution(logits, Sampling()))
        assert [draw_many(how)] == [draw_many(Sampling())]


def draw_many(how: Sampling, seed: int = 7, n: int = 50) -> list[int]:
    sampler = Sampler(seed=seed)
    return [sampler.draw(random_logits(4), how) for _ in range(n)]


def test_greedy_is_the_first_of_equals_after_the_penalty() -> None:
    logits = np.full(N, -1.0, np.float32)
    logits[[20, 30, 40]] = 2.0
    greedy = Sampling(temperature=0.0)
    assert Sampler().draw(logits, greedy) == 20
    penalized = Sampling(temperature=0.0, repeat_penalty=1.1)
    assert Sampler().draw(logits, penalized, (20, 20, 30)) == 40
    # once, however often the token stands in the window: 2.0 / 1.1 is above 1.7, 2.0 / 1.21 is not
    logits[:] = 0.0
    logits[5], logits[6] = 2.0, 1.7
    assert Sampler().draw(logits, penalized, (5, 5)) == 5
    # a negative logit falls when it is multiplied
    assert Sampler().draw(np.full(N, -3.0, np.float32), penalized, (0, 1)) == 2
    assert logits[5] == 2.0  # the caller's are not changed


def test_equal_logits_are_kept_by_lowest_id() -> None:
    logits = np.zeros(N, np.float32)
    sampler = Sampler()
    assert {sampler.draw(logits, Sampling(top_k=3)) for _ in range(200)} == {0, 1, 2}
    assert {sampler.draw(logits, Sampling(top_p=0.02)) for _ in range(200)} == {0, 1, 2, 3}


def test_a_seed_determines_all() -> None:
    how = Sampling(temperature=1.5, top_p=0.95)
    assert draw_many(how, 7) == draw_many(how, 7)
    assert draw_many(how, 7) != draw_many(how, 8)
    sampler = Sampler(seed=8)
    lib.lc_sampler_reseed(sampler.handle, 7)
    assert [sampler.draw(random_logits(4), how) for _ in range(50)] == draw_many(how, 7)
    lib.lc_sampler_reseed(ffi.NULL, 7)


def test_greedy_uses_no_random_number() -> None:
    how = Sampling(temperature=1.5)
    one, other = Sampler(seed=3), Sampler(seed=3)
    one.draw(random_logits(4), Sampling(temperature=0.0))
    assert one.draw(random_logits(5), how) == other.draw(random_logits(5), how)


def test_random_numbers_are_those_of_the_papers() -> None:
    """xoshiro256++ seeded by SplitMix64, computed here in Python: with equal logits a draw tells the number."""
    mask = 2**64 - 1

    def splitmix(x: int) -> int:
        z = x
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
        z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
        return z ^ z >> 31

    def rotl(x: int, k: int) -> int:
        return (x << k | x >> (64 - k)) & mask

    seed = 2**63 + 12345
    s = [splitmix((seed + (i + 1) * 0x9E3779B97F4A7C15) & mask) for i in range(4)]
    sampler, logits = Sampler(1 << 16, seed), np.zeros(1 << 16, np.float32)
    for _ in range(100):
        number = (rotl((s[0] + s[3]) & mask, 23) + s[0]) & mask
        t = s[1] << 17 & mask
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotl(s[3], 45)
        assert sampler.draw(logits, Sampling()) == number >> 48


def test_refusals() -> None:
    out = ffi.new("lc_sampler **")
    for n in (0, -1, 2**24 + 1):
        assert lib.lc_sampler_create(n, 1, out) == lib.LC_ERR_ARGUMENT
    assert lib.lc_sampler_create(5, 1, ffi.NULL) == lib.LC_ERR_ARGUMENT
    lib.lc_sampler_free(ffi.NULL)
    sampler, logits, token = Sampler(), random_logits(1), ffi.new("int32_t *", -7)
    nan = float("nan")

    def draw(how: Any, window: Any = (), n: int | None = None, x: Any = None, to: Any = token) -> int:
        length = len(window) if n is None else n
        return int(lib.lc_sampler_draw(sampler.handle, floats(logits) if x is None else x, how, window, length, to))

    for bad in (
        Sampling(temperature=-0.1),
        Sampling(temperature=nan),
        Sampling(temperature=float("inf")),
        Sampling(top_p=-0.1),
        Sampling(top_p=1.1),
        Sampling(top_p=nan),
        Sampling(min_p=1.1),
        Sampling(min_p=nan),
        Sampling(repeat_penalty=0.0),
        Sampling(repeat_penalty=nan),
        Sampling(repeat_penalty=float("inf")),
        Sampling(top_k=-1),
    ):
        assert draw(bad.native()) == lib.LC_ERR_ARGUMENT, bad
    good = Sampling().native()
    assert draw(ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert draw(good, x=ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert draw(good, to=ffi.NULL) == lib.LC_ERR_ARGUMENT
    assert draw(good, ffi.NULL, 1) == lib.LC_ERR_ARGUMENT
    assert draw(good, (1,), -1) == lib.LC_ERR_ARGUMENT
    assert draw(good, (1, N)) == lib.LC_ERR_ARGUMENT
    assert draw(good, (-1,)) == lib.LC_ERR_ARGUMENT
    assert draw(good, ffi.NULL, 0) == lib.LC_OK
    token[0] = -7
    for bad_logit in (nan, float("inf"), float("-inf")):
        logits[3] = bad_logit
        assert draw(good) == lib.LC_ERR_NONFINITE
    assert token[0] == -7


# ---- shares ----


@pytest.mark.parametrize("how", [*SETTINGS, Sampling(temperature=0.0), Sampling(temperature=0.0, repeat_penalty=9.0)])
@pytest.mark.parametrize("n", [N, 30_000])
def test_shares_are_the_distribution(how: Sampling, n: int) -> None:
    logits = random_logits(8, n)
    ids = np.random.default_rng(1).permutation(n).astype(np.int32)
    if how.temperature == 0:
        expected = np.zeros(n)
        expected[Sampler(n).draw(logits, how, WINDOW)] = 1.0
    else:
        expected = distribution(logits, how, WINDOW)
    shares = Sampler(n).shares(logits, how, ids[:500], WINDOW)
    np.testing.assert_allclose(shares, expected[ids[:500]], rtol=2e-5, atol=1e-9)


def test_shares_use_no_random_number_and_change_no_logit() -> None:
    logits, how = random_logits(4), Sampling(temperature=1.5, repeat_penalty=1.3)
    one, other = Sampler(seed=3), Sampler(seed=3)
    before = logits.copy()
    assert one.shares(logits, how, np.arange(N, dtype=np.int32), WINDOW).sum() == pytest.approx(1.0, abs=1e-5)
    assert (logits == before).all()
    assert [one.draw(logits, how) for _ in range(20)] == [other.draw(logits, how) for _ in range(20)]


def test_shares_of_ids_that_are_none_are_none() -> None:
    ids = np.array([-1, N, 2**31 - 1, 3], np.int32)
    assert Sampler().shares(random_logits(4), Sampling(), ids)[:3].tolist() == [0.0, 0.0, 0.0]
    assert Sampler().shares(random_logits(4), Sampling(), ids[:0]).size == 0


def test_shares_refusals() -> None:
    sampler, logits, ids, out = Sampler(), random_logits(1), ffi.new("int32_t[2]"), ffi.new("float[2]", [7, 7])
    good, bad = Sampling().native(), Sampling(top_p=2.0).native()
    for arguments in (
        (ffi.NULL, floats(logits), good, (), 0, ids, 2, out),
        (sampler.handle, ffi.NULL, good, (), 0, ids, 2, out),
        (sampler.handle, floats(logits), ffi.NULL, (), 0, ids, 2, out),
        (sampler.handle, floats(logits), bad, (), 0, ids, 2, out),
        (sampler.handle, floats(logits), good, (N,), 1, ids, 2, out),
        (sampler.handle, floats(logits), good, (), 0, ffi.NULL, 2, out),
        (sampler.handle, floats(logits), good, (), 0, ids, 2, ffi.NULL),
        (sampler.handle, floats(logits), good, (), 0, ids, -1, out),
    ):
        assert lib.lc_sampler_shares(*arguments) == lib.LC_ERR_ARGUMENT
    logits[3] = np.nan
    assert lib.lc_sampler_shares(sampler.handle, floats(logits), good, (), 0, ids, 2, out) == lib.LC_ERR_NONFINITE
    assert list(out) == [7, 7]


# ---- log-probabilities ----


@pytest.mark.parametrize("n", [1, 5, 1000, 49_152])
def test_logprobs(n: int) -> None:
    logits = random_logits(6, n, 5.0)
    if n > 10:
        logits[[3, 4, 9]] = logits.max() + 1  # equals: lowest id first
    exact = logits.astype(np.float64)
    exact = exact - exact.max()
    exact -= np.log(np.exp(exact).sum())
    n_top = min(n, 20)
    one, ids, top = ffi.new("float *"), ffi.new("int32_t[]", n_top), ffi.new("float[]", n_top)
    for token in {0, n // 2, n - 1}:
        assert lib.lc_logprobs(floats(logits), n, token, one, n_top, ids, top) == lib.LC_OK
        assert abs(one[0] - exact[token]) < 1e-5
    order = np.argsort(-exact, kind="stable")[:n_top]
    assert list(ids) == list(order)
    np.testing.assert_allclose(list(top), exact[order], atol=1e-5)
    assert lib.lc_logprobs(floats(logits), n, 0, ffi.NULL, 0, ffi.NULL, ffi.NULL) == lib.LC_OK


def test_logprobs_refusals() -> None:
    logits = random_logits(7, 10)
    one, ids, top = ffi.new("float *"), ffi.new("int32_t[10]"), ffi.new("float[10]")
    for arguments in (
        (ffi.NULL, 10, 0, one, 0, ids, top),
        (floats(logits), 0, 0, one, 0, ids, top),
        (floats(logits), 10, -1, one, 0, ids, top),
        (floats(logits), 10, 10, one, 0, ids, top),
        (floats(logits), 10, 0, one, -1, ids, top),
        (floats(logits), 10, 0, one, 11, ids, top),
        (floats(logits), 10, 0, one, 1, ffi.NULL, top),
        (floats(logits), 10, 0, one, 1, ids, ffi.NULL),
    ):
        assert lib.lc_logprobs(*arguments) == lib.LC_ERR_ARGUMENT
    logits[0] = np.nan
    assert lib.lc_logprobs(floats(logits), 10, 0, one, 0, ids, top) == lib.LC_ERR_NONFINITE
