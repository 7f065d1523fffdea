"""What a request means, on any wire. Knows no JSON, no status line, no header."""
