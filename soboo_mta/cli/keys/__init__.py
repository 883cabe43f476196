"""Commands about DKIM keys: their life, their strength, what was signed with them."""
