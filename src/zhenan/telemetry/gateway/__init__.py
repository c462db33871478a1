"""From devices to the log: TCP protocols and MQTT in, committed columns out, answers only for what is on disk.

Usable without Django: the registry of devices comes in through a callback.
"""
