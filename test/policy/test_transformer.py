# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from resip_ros.policy.transformer import TransformerSpec

TINY = TransformerSpec(layers=2, heads=2, width=16)


def test_a_step_of_the_plan_sees_itself_and_the_steps_before() -> None:
    network = TINY.build(10, 58, 6).eval()
    noisy, obs, step = torch.randn(1, 6, 10), torch.randn(1, 58), torch.tensor([7])
    changed = noisy.clone()
    changed[:, 3] += 1
    with torch.inference_mode():
        difference = (network(changed, step, obs) - network(noisy, step, obs)).abs().amax((0, 2))
    assert difference[:3].max() < 1e-6
    assert difference[3:].min() > 1e-4


def test_observation_and_noise_level_both_condition_the_output() -> None:
    network = TINY.build(10, 58, 6).eval()
    noisy, obs = torch.randn(1, 6, 10), torch.randn(1, 58)
    with torch.inference_mode():
        reference = network(noisy, torch.tensor([10]), obs)
        other_level = network(noisy, torch.tensor([60]), obs)
        other_obs = network(noisy, torch.tensor([10]), obs + 0.1)
    # in each step, the first as well as the last
    assert (other_level - reference).abs().amax((0, 2)).min() > 1e-4
    assert (other_obs - reference).abs().amax((0, 2)).min() > 1e-4


def test_equal_steps_differ_by_their_place() -> None:
    network = TINY.build(10, 58, 4).eval()
    with torch.inference_mode():
        output = network(torch.zeros(1, 4, 10), torch.tensor([0]), torch.zeros(1, 58))[0]
    assert (output[1:] - output[:-1]).abs().amax(1).min() > 1e-4


@pytest.mark.parametrize(
    "change",
    [
        {"layers": 0},
        {"heads": 0},
        {"width": 15},
        {"width": 2},
        {"heads": 3},
        {"attention_dropout": 1.0},
        {"embedding_dropout": -0.1},
    ],
)
def test_impossible_sizes_are_refused(change: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TransformerSpec(**{"layers": 2, "heads": 1, "width": 16} | change)
