"""List pages: filter, search, sort, page, export, bulk action, declared in one class."""
