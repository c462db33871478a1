"""The pack contract: what a programme pack may say, how it is read, checked, synced and tried out.

Schema, loader and check need no Django; ``models`` and ``sync`` do.
"""
