"""``ipcserver demo``: a guided tour of Sun RPC, with real calls between real programs on this machine."""
