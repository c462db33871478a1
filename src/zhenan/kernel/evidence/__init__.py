"""Photos and files as proof: hash, time, place, thumbnails."""
