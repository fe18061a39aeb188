# SPDX-License-Identifier: Apache-2.0
"""The base policy on a machine that is too slow for it."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from resip_ros.nodes.base_policy_node import BasePolicyNode
from resip_ros.nodes.node_main import POLICY_NICE, run_node
from resip_ros.policy.runtime import BasePolicy

SLOW_VARIABLE = "RESIP_SLOW_S"
"""Environment: what every inference takes longer, s."""


class SlowBasePolicyNode(BasePolicyNode):
    """The real node; inference sleeps first, as one that waits for another device."""

    def configure(self) -> None:
        """As the real one, slower from the first inference on."""
        seconds = float(os.environ.get(SLOW_VARIABLE, "0"))
        predict = BasePolicy.predict_chunk

        def predict_slowly(*args: Any, **kwargs: Any) -> Any:
            time.sleep(seconds)
            return predict(*args, **kwargs)

        BasePolicy.predict_chunk = predict_slowly
        super().configure()


if __name__ == "__main__":
    sys.exit(run_node(SlowBasePolicyNode, nice=POLICY_NICE))
