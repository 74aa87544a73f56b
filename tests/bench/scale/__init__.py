"""A rig that measures the operator with hundreds of rollouts in progress: `python -m tests.bench.scale`.

etcd, API server, controller manager, scheduler and Prometheus are the real ones; kwok plays the pods, and a process of
the rig (:mod:`tests.bench.scale.standin`) plays the users, the exporters and the gateway's answers.
"""
