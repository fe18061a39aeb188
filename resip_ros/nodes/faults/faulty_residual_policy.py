# SPDX-License-Identifier: Apache-2.0
"""The residual policy, whose actions can be made wrong on their way out."""

from __future__ import annotations

import sys
from typing import Any

from resip_ros.nodes.faults.corruption import KINDS, Corruption
from resip_ros.nodes.faults.switch import listen
from resip_ros.nodes.node_main import POLICY_NICE, run_node
from resip_ros.nodes.residual_policy_node import ResidualPolicyNode


class FaultyPublisher:
    """A publisher whose messages can be made wrong."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher
        self.corruption = Corruption("")

    def publish(self, message: Any) -> None:
        """Publishes what the corruption leaves of a message."""
        sent = self.corruption.apply(message)
        if sent is not None:
            self._publisher.publish(sent)


class FaultyResidualPolicyNode(ResidualPolicyNode):
    """The real node while no fault is on."""

    def configure(self) -> None:
        """As the real one; then listens for faults."""
        super().configure()
        faulty = FaultyPublisher(self._net)
        self._net = faulty

        def switch(kind: str) -> None:
            faulty.corruption = Corruption(kind if kind in KINDS else "")

        listen(self, switch)


if __name__ == "__main__":
    sys.exit(run_node(FaultyResidualPolicyNode, nice=POLICY_NICE))
