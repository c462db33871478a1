"""The pack contract: schema, loader, check, sync, scaffold, scenario runner."""
