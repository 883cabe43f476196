"""A settings file whose resolver answers nothing, soon."""

SETTINGS = """
[secrets]
master_key_file = "master.key"
[server]
data_directory = "var"
[operator]
domain = "esp.example"
[[listeners]]
address = "127.0.0.1"
port = 2525
tls = "none"
[[sources]]
name = "default"
public_address = "8.8.8.8"
ehlo_name = "mta1.esp.example"
[dns]
resolvers = ["127.0.0.1:9"]
timeout = "100ms"
lifetime = "100ms"
"""
