"""What is needed to test workflows, and what surrounds them: executors, middleware, subscribers.

Examples
--------
>>> import ferroflow as ff
>>> from ferroflow.testing import diamond
>>> with ff.Engine() as engine:
...     engine.run(diamond(), [4, 1, 3, 2])
{'low': 3.0, 'high': 7.0, 'total': 10.0}
"""

from ferroflow.testing.diamond import diamond, expected

__all__ = ["diamond", "expected"]
