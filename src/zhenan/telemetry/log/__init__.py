"""The durable log on NATS JetStream: what is written here is acknowledged, and everything else is made from it.

Streams: READINGS (`readings.<lane>.<source>`) and QUARANTINE (`quarantine.<source>`). A message is one commit of one
writer: it is there whole or not at all, and each writer's commits on a subject form a chain, so that neither a retry
nor a second writer can double one. The 64 partitions are spread over lanes (a power of two, one by default): few large
messages cost one flush to disk each, and a judge that owns some partitions takes only its lanes.
"""
