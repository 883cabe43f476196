"""`POST /v1/messages`: the second door of submission, with the first one's policy.

`api` is the application and `openapi` its description; `login` says who speaks, `model`
and `compose` make a message of JSON, `submit` brings it to acceptance, `answers` tells
what came of it.
"""
