# A peer of the bench rig: this project with its default workers, one a core.
PORT=26181
HOUSE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clean(){ "$HOUSE/.venv/bin/python" "$HOUSE/bench/prepare.py" "$RIG/data/soboo-26181" 26181 "$(nproc)" "$RIG/keys/rig.pem"; }
start(){ cd "$RIG/data/soboo-26181" && exec "$HOUSE/.venv/bin/python" -m soboo_mta serve --config soboo.toml; }
