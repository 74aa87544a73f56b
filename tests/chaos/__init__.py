"""The fault campaign: real releases under real traffic, while everything around the operator breaks.

``python -m localcluster exec -- .venv/bin/python -m tests.chaos`` runs it; docs/chaos.md says how to read its table.

A *story* (``stories.py``) is a release and how it should end; a *fault* (``faults.py``) is what goes wrong meanwhile. A
*trial* is one of each, on a *stage* (``stage.py``): a namespace with users, an operator of its own whose every request
to the API server and to Prometheus passes through a proxy (``proxy.py``), and a witness (``witness.py``) that writes
down every state of every object. When it is over, ``invariants.py`` judges what the witness saw, in the order in which
the API server committed it.
"""
