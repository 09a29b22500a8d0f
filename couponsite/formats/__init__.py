"""How numbers, money and days are written, where Django's own formats are not what people write."""
