"""``streamstack calibrate``: how many sessions at once a machine carries within a target of latency.

``search``, ``measures``, ``speaker`` and ``report`` decide and count without a network or a clock; ``load`` and
``link`` drive real sessions, ``command`` joins them.
"""
