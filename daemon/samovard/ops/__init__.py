"""The ops: every command of the daemon, declared once. `registry` reads them; the faces are made from them."""
