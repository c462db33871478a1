"""Shell of the pages: base page, components, today, map, board, sign-in, static files."""
