"""Is a template as the public repository and the DNS hosts want it?"""
