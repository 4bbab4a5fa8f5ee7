"""System tasks: what definitions in JSON can use without a function of the user's.

Each declares what it holds while it runs, and has a JSON Schema of its parameters.

Examples
--------
>>> import ferroflow as ff
>>> ff.library.compute("sum", [1, 2])
{'result': 3}
>>> ff.library.compute.schema()["required"]
['operation', 'values']
"""

from ferroflow.define.library.basic import compute, condition, data_process, delay
from ferroflow.define.library.program import command
from ferroflow.define.library.query import transform
from ferroflow.define.library.web import http, http_request

__all__ = ["command", "compute", "condition", "data_process", "delay", "http", "http_request", "transform"]
