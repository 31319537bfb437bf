"""Q of prefixes without sampling: every completion is listed, by its prefix tree."""

import torch
from torch import Tensor

from formula_env.errors import FormulaError
from formula_env.networks.policy import Policy, State, state_size
from formula_env.rollouts.monte_carlo import Score
from formula_env.rollouts.prefix_tree import Level
from formula_env.vocabulary import Vocabulary

TREE_LIMIT = 2**17
"""Prefixes of one length that `exact_q` will hold at most."""

TREE_STATE_LIMIT = 2**28
"""Numbers in the policy's states of these prefixes, at most: 1 GiB."""


@torch.no_grad()
def exact_q(policy: Policy, score: Score, vocabulary: Vocabulary, tokens: Tensor, first: Tensor) -> Tensor:
    """Q `(B, T+1)` without sampling: E[score] over all completions, by backward recursion over the prefix tree.

    Arguments and result as in `monte_carlo_q`. Raises FormulaError where the tree has more than `TREE_LIMIT`
    prefixes of one length (symbols of probability 0 do not count), or states beyond `TREE_STATE_LIMIT`.
    """
    if not len(tokens):
        return torch.zeros((0, tokens.shape[1] + 1), dtype=torch.float64, device=tokens.device)
    level = Level.root(policy, vocabulary, tokens.device)
    node = torch.zeros_like(first)  # (B,) where each formula stands
    follows = torch.ones_like(first, dtype=torch.bool)  # (B,) it has not come to an end
    is_open = torch.zeros(1, dtype=torch.bool, device=tokens.device)  # (nodes,) Q is wanted: branch fully
    nodes, steps = [node], list[tuple[Tensor, Tensor]]()
    for t, given in enumerate(tokens.T):
        is_open[node[follows & (first <= t)]] = True
        logits, state = level.step(policy)
        probs = _next_probs(logits, level.ended)
        branches = is_open[:, None] & (probs > 0)
        wanted = branches.view(-1).clone()
        follows = follows & ((given != vocabulary.pad) | level.ended[node])
        child = level.child(node, given)
        wanted[child[follows]] = True
        check_tree_size(int(wanted.sum()), state)
        level, index = level.children(wanted, state)
        is_open = branches.view(-1)[wanted]
        node = torch.where(follows, index[child], 0)
        nodes.append(node)
        steps.append((probs, index))
    values = score(level.prefixes.tokens()).double()
    q = [values[node]]
    for node, (probs, index) in zip(nodes[-2::-1], reversed(steps), strict=True):
        values = (probs * values[index.clamp(min=0)].view_as(probs)).sum(dim=1)
        q.append(values[node])
    return torch.stack(q[::-1], dim=1)


def check_tree_size(prefixes: int, state: State = ()) -> None:
    """Raise FormulaError where prefixes of one length, or their states, are too many for `exact_q`."""
    limit = min(TREE_LIMIT, TREE_STATE_LIMIT // max(1, state_size(state)))
    if prefixes > limit:
        raise FormulaError(
            f"exact Q needs a tree of more than {limit:,} prefixes; "
            'use q_estimator "monte-carlo" or a shorter task'
        )


def _next_probs(logits: Tensor, ended: Tensor) -> Tensor:
    """`(nodes, V+1)` float64: the policy's probabilities; after EOS, PAD for certain."""
    probs = torch.softmax(logits.double(), dim=-1).masked_fill(ended[:, None], 0.0)
    return torch.cat([probs, ended[:, None].double()], dim=1)
