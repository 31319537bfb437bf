from math import sqrt

import numpy as np
import torch

from formula_env.rollouts.streams import derive_keys, stream_uniforms


def test_stream_uniforms_are_uniform_and_independent() -> None:
    streams = derive_keys(torch.arange(500)[:, None], torch.arange(40))
    assert len(streams.unique()) == streams.numel()
    draws = stream_uniforms(streams.view(-1), 5)
    assert draws.min() > 0
    assert draws.max() < 1
    counts = torch.histc(draws.float(), 50, 0, 1)
    expected = draws.numel() / 50
    assert ((counts - expected) ** 2 / expected).sum() < 49 + 5 * sqrt(2 * 49)
    draws = draws.view(5, 500, 40)
    neighbours = [
        np.corrcoef(draws[0].ravel(), draws[1].ravel())[0, 1],
        np.corrcoef(draws[0, :-1].ravel(), draws[0, 1:].ravel())[0, 1],
        np.corrcoef(draws[0, :, :-1].ravel(), draws[0, :, 1:].ravel())[0, 1],
    ]
    assert max(map(abs, neighbours)) < 5 / sqrt(500 * 39)


def test_pairs_and_triples_of_one_stream_fill_the_cube() -> None:
    """Chi-square over 8 x 8 x 8 cells of three numbers in a row, for keys that are neighbours."""
    draws = stream_uniforms(torch.arange(60_000), 3)
    cell = ((draws * 8).long() * torch.tensor([[64], [8], [1]])).sum(dim=0)
    counts = torch.bincount(cell, minlength=512)
    expected = 60_000 / 512
    assert abs(((counts - expected) ** 2 / expected).sum() - 511) < 5 * sqrt(2 * 511)


def test_a_stream_depends_on_its_key_alone() -> None:
    keys = torch.tensor([5, -7, 2**62])
    together = stream_uniforms(keys, 6)
    for i in range(3):
        assert torch.equal(stream_uniforms(keys[[i]], 4)[:, 0], together[:4, i])


def test_the_largest_and_the_smallest_number_are_inside() -> None:
    """The last step, from int64 to (0, 1), at both ends of int64."""
    from formula_env.rollouts import streams

    ends = torch.tensor([-(2**63), 2**63 - 1]).double() * streams._SCALE + 0.5
    assert 0 < ends[0] < ends[1] < 1
