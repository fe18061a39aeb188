# SPDX-License-Identifier: Apache-2.0
import numpy as np

from resip_ros.core.tasks import get_task
from resip_ros.nodes.faults.swaps import write_twin
from resip_ros.policy.bundle import load_policy
from resip_ros.policy.golden import plausible_observation


def test_a_twin_is_another_policy_that_acts_the_same(policies, tmp_path):
    policy, twin = (
        load_policy(policies[0]),
        load_policy(write_twin(policies[0], tmp_path / "twin")),
    )
    assert twin.base.card.weights_hash != policy.base.card.weights_hash
    assert twin.residual.card.base_hash == twin.base.card.weights_hash
    obs = plausible_observation(get_task("one_leg"))[None]
    chunks = [p.base.predict_chunk(obs) for p in (policy, twin)]
    # the last bit of a 16-bit weight, through a random network
    np.testing.assert_allclose(chunks[0], chunks[1], atol=1e-2)
