"""One decoder in two dialects, its heads, its cache, its 4-bit linear; load and save."""
