"""A yardstick: a new, minimal copy of the demo project that this server replaces.

It has the demo's tables, paths and permissions, Django's default middleware, and ModelSerializers
and ModelViewSets. Like the demo it checks a balance without a lock, so it loses money when requests
race. Never use it for anything but measurements.

Two things differ, to make it a fair yardstick: connections are kept, and passwords are hashed with
Argon2 as Django configures it, which is what this server did before it chose its own parameters.
"""
