"""Who may see and do what: scopes from posts, applied to querysets."""
