"""Hours of releases and faults, and then a look for anything that grew or was left over: `python -m tests.bench.soak`.

The rig is that of :mod:`tests.bench.scale`.
"""
