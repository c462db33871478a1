"""Where vehicles are and were: positions as their own stream and table, trips and stops, fences. No Django.

columns: positions side by side · stream: the log they come through · table: the Delta table · writer: the log into the
table, once · last: where each vehicle is now · trips: trips, stops, jumps · fences, judge: who goes in, stays, leaves
"""
