"""One decoder in two dialects: its families, heads, adapters, 4-bit linear; loading and saving."""
