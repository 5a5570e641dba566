"""What is to be done for a stack, decided from facts alone: no I/O, no clock, no randomness (DESIGN 8).

``planner.plan`` composes. What each part knows is in its module: ``revisions`` (which generation of a template takes
new sessions), ``draining`` (when an old one may go), ``retained``, ``scale``, ``leftovers``, ``credential``,
``deletion``; then what a person is told: ``availability``, ``licensing``, ``progress``, ``readiness``, ``summary``,
``events``, put together by ``report``.
"""
