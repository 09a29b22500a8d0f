"""What a coupon may be used for and what it takes off: plain Python over frozen rows, no Django, no database."""
