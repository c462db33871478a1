"""Working-day calendar, deadlines, reminder steps, escalation ladder."""
