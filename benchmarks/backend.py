"""A backend that costs next to nothing, so that what is measured is samovar. Loaded by the benchmarks' daemons.

`instant` replies "ok." at once; `again` says the prompt again, in one part; `sleep:S` replies after S seconds. The fake
backend of `samovard.testing` counts a whole history's words for its usage, as a provider does, and tells word by word:
a long conversation's figure would be that backend's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from samovard.model.backend import Capabilities, Finished, ModelSpec, Request, Settings, StreamEvent, TextDelta, Usage


class Instant:
    """Speaks to nobody."""

    name = "bench"
    capabilities = Capabilities()
    settings_type = Settings

    def models(self) -> Sequence[ModelSpec]:
        """The default alone."""
        return [ModelSpec("instant")]

    def find(self, model: str) -> ModelSpec | None:
        """Any of the three."""
        return ModelSpec(model) if model in ("instant", "again") or model.startswith("sleep:") else None

    async def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """What the model's id says."""
        if request.model.startswith("sleep:"):
            await asyncio.sleep(float(request.model.removeprefix("sleep:")))
        yield TextDelta(request.history.content if request.model == "again" else "ok.")
        yield Finished(Usage(1, 1))

    async def close(self) -> None:
        """There is nothing to let go of."""
