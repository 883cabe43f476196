# A peer of the bench rig: this project with one worker.
PORT=26180
HOUSE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
clean(){ "$HOUSE/.venv/bin/python" "$HOUSE/bench/prepare.py" "$RIG/data/soboo-26180" 26180 1 "$RIG/keys/rig.pem"; }
start(){ cd "$RIG/data/soboo-26180" && exec "$HOUSE/.venv/bin/python" -m soboo_mta serve --config soboo.toml; }
