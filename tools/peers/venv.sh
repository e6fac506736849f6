# Sourced by the commands here: makes the virtual environment once, brings it up to requirements.txt, and sets $venv.
# ALUDEL_PEERS_VENV names its folder; without it, it lies in the user's cache (about 5 GB).
venv=${ALUDEL_PEERS_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/aludel/peers-venv}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
if ! cmp -s "$here/requirements.txt" "$venv/aludel-requirements.txt"; then
    "$venv/bin/python" -m pip install --quiet --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/aludel-requirements.txt"
fi
