"""The contract that every backend keeps, as tests: subclass `BackendContract`, name a model, run pytest.

```python
class TestMine(BackendContract):
    model = "tiny"

    def backend(self) -> Backend:
        return MyBackend(endpoint=...)
```

Each behaviour has an id in `BEHAVIOURS`, exactly one test names it, and a failure tells it. The tests ask for some
fifty short replies, and need nothing but the standard library and a runner that collects classes. What is said of time
is a bound on waiting, never a figure to reach.
"""

from .asking import Reply
from .behaviours import BEHAVIOURS, ContractBroken
from .company import Company
from .declarations import Declarations
from .streams import Streams

__all__ = ["BEHAVIOURS", "BackendContract", "ContractBroken", "Reply"]


class BackendContract(Declarations, Streams, Company):
    """Every test of the contract, on `model` of what `backend` makes. See `Asking` for what a subclass may say."""
