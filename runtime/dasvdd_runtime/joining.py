"""Messages of a capture -> fewer, longer ones, so that a turn of the service costs little. Pure."""

from __future__ import annotations

import numpy as np

from .message_queue import Message, Samples


def joined(messages: list[Message]) -> list[Message]:
    """`messages` with samples that follow each other in one piece."""
    shorter: list[Message] = []
    run: list[Samples] = []
    for message in [*messages, None]:
        if run and not (isinstance(message, Samples) and not message.gap):
            first = run[0]
            whole = first.samples if len(run) == 1 else np.concatenate([part.samples for part in run])
            shorter.append(Samples(whole, gap=first.gap, lost=first.lost, dropped=first.dropped))
            run = []
        if isinstance(message, Samples):
            run.append(message)
        elif message is not None:
            shorter.append(message)
    return shorter
