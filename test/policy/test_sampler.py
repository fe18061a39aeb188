# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from diffusers import DDIMScheduler

from resip_ros.policy.sampler import SamplerSpec, add_noise, compute_signal_levels, sample_ddim


def build_reference(clip_sample: bool = True) -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=100,
        beta_schedule="squaredcos_cap_v2",
        clip_sample=clip_sample,
        prediction_type="epsilon",
    )


def predict_noise(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """A stand-in network: not linear, depends on the step, and makes clipping happen."""
    return torch.sin(2.5 * noisy) + 0.01 * step[:, None, None]


def sample_diffusers(reference: DDIMScheduler, noise: torch.Tensor) -> torch.Tensor:
    x = noise
    for t in reference.timesteps:
        x = reference.step(predict_noise(x, t.expand(len(x))), t, x).prev_sample
    return x


@pytest.mark.parametrize("inference_steps", [1, 4, 10, 20])
def test_sampling_equals_diffusers(inference_steps: int) -> None:
    noise = torch.randn(3, 8, 10)
    reference, unclipped = build_reference(), build_reference(clip_sample=False)
    reference.set_timesteps(inference_steps)
    unclipped.set_timesteps(inference_steps)
    actual = sample_ddim(predict_noise, noise, reference.timesteps.tolist(), 100)
    torch.testing.assert_close(actual, sample_diffusers(reference, noise), rtol=1e-4, atol=1e-5)
    other = sample_diffusers(unclipped, noise)
    assert not torch.allclose(actual, other), "the case must exercise clipping"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (SamplerSpec(), (90, 60, 30, 0)),
        (SamplerSpec(inference_steps=1), (90,)),
        (SamplerSpec(inference_steps=10), tuple(range(90, -1, -10))),
        (SamplerSpec(train_steps=50, inference_steps=3), (45, 22, 0)),
    ],
)
def test_plans_start_at_nine_tenths_of_the_noise_and_end_clean(
    spec: SamplerSpec, expected: tuple[int, ...]
) -> None:
    assert spec.timesteps == expected


def test_noising_equals_diffusers() -> None:
    clean, noise = torch.randn(6, 8, 10), torch.randn(6, 8, 10)
    step = torch.tensor([0, 1, 50, 97, 98, 99])
    expected = build_reference().add_noise(clean, noise, step)
    torch.testing.assert_close(add_noise(clean, noise, step, 100), expected)


def test_a_perfect_noise_predictor_recovers_the_clean_chunk() -> None:
    clean = torch.rand(2, 8, 10) * 1.8 - 0.9
    levels = compute_signal_levels(100)

    def oracle(noisy: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        signal = levels[step][:, None, None]
        return (noisy - signal.sqrt() * clean) / (1 - signal).sqrt()

    sampled = sample_ddim(oracle, torch.randn(2, 8, 10), SamplerSpec().timesteps, 100)
    torch.testing.assert_close(sampled, clean, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("values", [(100, 91), (100, 0), (0, 1)])
def test_impossible_schedules_are_refused(values: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="steps"):
        SamplerSpec(*values)
